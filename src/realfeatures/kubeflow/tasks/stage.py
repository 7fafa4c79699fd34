"""A task that computes cells: each from the artifacts at the task's ports and from the cells before it."""

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from realfeatures.errors import ArtifactError, Interrupted
from realfeatures.experiment.address import SHOWN_DIGITS
from realfeatures.experiment.codec import Order, decode, digest_of_addresses
from realfeatures.experiment.grid import Cell
from realfeatures.kubeflow.batches import choose, port_of
from realfeatures.kubeflow.tasks.bundles import Bundle, cell_folder, close_bundle, find
from realfeatures.kubeflow.tasks.executor import ExecutorInput
from realfeatures.kubeflow.tasks.position import Position
from realfeatures.logs import Pace
from realfeatures.science.artifacts import Artifact, open_artifact
from realfeatures.store.cells import CellStore
from realfeatures.store.client import ObjectStore

logger = logging.getLogger(__name__)


def run_cells(told: ExecutorInput) -> None:
    """Compute a task's cells; those that an earlier attempt finished are taken as they are.

    Raises:
        RealFeaturesError: an input is not what the cells were planned with, or a stage refuses.
        Interrupted: the pod was asked to go.
    """
    order = decode(str(told.parameter("cells")), choose)
    inputs = [Bundle(path) for path in told.inputs.values()]
    addresses = addresses_of(order, inputs)
    order.require([addresses[cell.key] for cell in order.cells])
    places = {cell.key: cell_folder(told.outputs[port_of(cell)], addresses[cell.key]) for cell in order.cells}
    known = {key: place for bundle in inputs for key, place in bundle.known().items()} | places
    parents = _Parents(inputs, addresses, places)
    parents.verify(order)
    position, store, stop = Position.inherited(), cell_store(), _stop_on_sigterm()
    for number, cell in enumerate(order.cells, start=1):
        if stop():
            raise Interrupted("stopped between two cells")
        logger.info("%s: cell %d of %d", cell.key, number, len(order.cells))
        if position is not None:
            position.write(number, 0)
        if not _is_done(place := places[cell.key]):
            progress = _progress(cell.key, number, position)
            _execute(order, cell, parents.of(cell), place, progress=progress, stop=stop, store=store)
    told.answer({}, {port: _close(port, told, order, addresses, known) for port in told.outputs})
    if store is not None:
        # Last: a pod that is lost in a later cell goes on in each one from its checkpoint.
        for cell in order.cells:
            store.checkpoint(addresses[cell.key]).discard()


def addresses_of(order: Order, inputs: Sequence[Bundle]) -> dict[str, str]:
    """Return the address of each cell, by key, and of those that it reads from, as this code would compute them.

    Raises:
        ArtifactError: a cell that one of them reads from is not among the inputs.
    """
    addresses = {key: address for bundle in inputs for key, address in bundle.addresses.items()}
    for cell in order.cells:
        missing = [key for key in cell.inputs.values() if key not in addresses]
        if missing:
            raise ArtifactError(f"{cell.key}: needs {missing[0]}, which none of the task's inputs has; compile again")
        addresses[cell.key] = order.address(cell, {port: addresses[key] for port, key in cell.inputs.items()})
    return addresses


class _Parents:
    """The artifacts that a task's cells read: each is verified once."""

    def __init__(self, inputs: Sequence[Bundle], addresses: Mapping[str, str], places: Mapping[str, Path]) -> None:
        self.inputs, self.addresses, self.places = inputs, addresses, places
        self.opened: dict[str, Artifact] = {}

    def verify(self, order: Order) -> None:
        """Open whatever the cells read from other tasks.

        Raises:
            ArtifactError: one is missing, or its bytes were changed.
        """
        for key in {key for cell in order.cells for key in cell.inputs.values()} - self.places.keys():
            self._open(key)

    def of(self, cell: Cell) -> dict[str, Artifact]:
        return {port: self._open(key) for port, key in cell.inputs.items()}

    def _open(self, key: str) -> Artifact:
        if key not in self.opened:
            place = self.places.get(key)
            self.opened[key] = open_artifact(place) if place else find(key, self.addresses[key], self.inputs)
        return self.opened[key]


def _execute(
    order: Order,
    cell: Cell,
    inputs: Mapping[str, Artifact],
    destination: Path,
    *,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
    store: CellStore | None,
) -> None:
    from realfeatures.science.execution import execute

    execute(
        cell,
        runtime=order.preset.runtime,
        inputs=inputs,
        destination=destination,
        # Beside the destination: it may be a mount of its own, and a retry finds its checkpoint there.
        work=destination.with_name(f".{destination.name}.partial"),
        stop=stop,
        progress=progress,
        store=store,
    )


def _close(
    port: str, told: ExecutorInput, order: Order, addresses: Mapping[str, str], known: Mapping[str, Path]
) -> dict[str, str]:
    """Make the folder of a port a bundle, of records alone where no cell leaves; return what Kubeflow shows of it."""
    made = {cell.key: addresses[cell.key] for cell in order.cells if port_of(cell) == port}
    close_bundle(told.outputs[port], made=made, known=known)
    alone = len(made) == 1
    address = next(iter(made.values()))[:SHOWN_DIGITS] if alone else digest_of_addresses(made.values())
    return {"address": address, "kind": port}


def _is_done(place: Path) -> bool:
    """Return whether an earlier attempt in this pod finished a cell."""
    try:
        open_artifact(place)
    except ArtifactError:
        return False
    return True


def cell_store() -> CellStore | None:
    """Return the object store that the pod's environment names, or None."""
    objects = ObjectStore.from_environment()
    return None if objects is None else CellStore(objects)


def _progress(key: str, number: int, position: Position | None) -> Callable[[int, int], None]:
    """Return a callback that logs a line now and then, and tells the supervisor where a cell is."""
    pace = Pace()

    def progress(done: int, total: int) -> None:
        if position is not None:
            position.write(number, done)
        if pace.is_due():
            logger.info("%s: %d of %d steps", key, done, total)

    return progress


def _stop_on_sigterm() -> Callable[[], bool]:
    """Return a function that tells whether the pod was asked to go; the stage then saves its checkpoint."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    return lambda: bool(asked)
