"""Cells in tasks: what a Kubeflow task computes at each granularity, and what it takes from which other task.

A task starts two pods and leaves six nodes in a Workflow that holds 1 MiB (docs/kubeflow.md), so a task is a list of
cells. Whatever the granularity, the tasks form a DAG: an encoder that sets are made with is pretrained in a task of its
own, since its set's other cells read those sets. Imports neither torch nor kfp.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from realfeatures.errors import ConfigError
from realfeatures.experiment.about import Role, encoder_name, set_name
from realfeatures.experiment.codec import name_of
from realfeatures.experiment.config import AttackConfig
from realfeatures.experiment.grid import Cell
from realfeatures.experiment.vocabulary import NONE, UNTRAINED, Features


class Granularity(StrEnum):
    """How much of an experiment is one task; the finest first."""

    CELL = "cell"
    STAGE = "stage"
    """All probes of an encoder are one task, and so are all its attacks."""
    ENCODER = "encoder"
    """An encoder, from its pretraining to its attacks."""
    SET = "set"
    """All encoders of a set."""


PRETRAIN, PROBE, ATTACK, SYNTHESIZE, TRANSFER = "pretrain", "probe", "attack", "synthesize", "transfer"
MEASURE, ENCODER, SET = "measure", "encoder", "set"
PREPARE_DATA, RESULTS, REPORT, CONFIGURE = "prepare_data", "results", "report", "configure"
NAMES = frozenset(
    (PREPARE_DATA, PRETRAIN, SYNTHESIZE, PROBE, ATTACK, TRANSFER, MEASURE, ENCODER, SET, RESULTS, REPORT, CONFIGURE)
)
"""Of all components."""

ALL = "/all"
"""How the key of a task ends that computes more than one stage."""

COMPONENT_OF = {
    "prepare_data": PREPARE_DATA,
    "pretrain": PRETRAIN,
    "at_timestep": PRETRAIN,
    "match_representations": SYNTHESIZE,
    "perturb_towards_targets": SYNTHESIZE,
    "relabel": SYNTHESIZE,
    "linear_probe": PROBE,
    "attack": ATTACK,
    "nearest_neighbours": ATTACK,
    "loss_curves": ATTACK,
    "transfer": TRANSFER,
}
"""The component that runs a stage in a task of its own, by the stage."""

PORT_OF = {PREPARE_DATA: "images", SYNTHESIZE: "images", PRETRAIN: "encoder", PROBE: "probes"}
"""The port at which a cell's artifact leaves its task, by the component of its stage; else `results`."""


@dataclass(frozen=True)
class Batch:
    """The cells of one task."""

    key: str
    """Unique below a seed: `robust/contrastive/probe`."""
    component: str
    """What runs it."""
    cells: tuple[Cell, ...]
    """In the order in which they are computed."""
    encoder: str | None = None
    """The encoder's name in the keys of cells, `robust/contrastive`, where all cells are of one; else None."""
    nested: bool = False
    """Whether it stands in a nested pipeline with its encoder's other tasks."""

    @property
    def title(self) -> str:
        """What a person reads on the task, where it stands beside those of other encoders."""
        first = self.cells[0]
        if self.component == SET:
            encoders = [cell for cell in self.cells if cell.role is Role.ENCODER]
            return self.encoder_title if len(encoders) == 1 else set_name(self.key.partition("/")[0])
        if self.component in (ENCODER, MEASURE):
            return self.encoder_title
        if self.component == PRETRAIN and first.role is Role.ENCODER and first.features != Features.NATURAL:
            return self.encoder_title
        return first.short

    @property
    def step(self) -> str:
        """What a person reads on the task in its encoder's nested pipeline, which other encoders may share."""
        if self.key != f"{self.encoder}/{self.component}":
            return self.title
        if self.component == PRETRAIN:
            return "take as it is" if self.cells[0].features in (NONE, UNTRAINED) else PRETRAIN
        attacked = any(isinstance(cell.config, AttackConfig) and cell.config.pgd for cell in self.cells)
        return "accuracy" if self.component == ATTACK and not attacked else self.component

    @property
    def encoder_title(self) -> str:
        """What a person reads on the nested pipeline of the task's encoder."""
        last = [cell for cell in self.cells if cell.paradigm is not None][-1]
        return encoder_name(str(last.paradigm), str(last.features))

    @property
    def path(self) -> tuple[str, ...]:
        """Its key in its pipeline, after that of the encoder's nested pipeline where it is in one."""
        if not self.nested:
            return (slug(self.key),)
        return slug(str(self.encoder)), slug(self.key.removeprefix(f"{self.encoder}/"))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The ports at which its artifacts leave it."""
        return tuple(dict.fromkeys(port_of(cell) for cell in self.cells))


Place = tuple[str, str | None, bool]
"""Of a cell: the key of its task, the encoder that the task is about, and whether it stands apart from its others."""


@dataclass(frozen=True)
class Source:
    """An artifact that a task reads: what another one returns at a port."""

    batch: str
    port: str


def port_of(cell: Cell) -> str:
    """Return the port at which a cell's artifact leaves its task."""
    return PORT_OF.get(COMPONENT_OF[cell.stage], "results")


def batches(grid: Sequence[Cell], granularity: Granularity) -> dict[str, Batch]:
    """Return the tasks of one seed's cells by their keys, each after those that it reads from.

    Raises:
        ValueError: they read from one another in a circle.
    """
    waiting, ordered = _grouped(grid, granularity), {}
    task_of = {cell.key: key for key, batch in waiting.items() for cell in batch.cells}
    reads = {
        key: {task_of[parent] for cell in batch.cells for parent in cell.inputs.values()} - {key}
        for key, batch in waiting.items()
    }
    while waiting:
        ready = [key for key in waiting if not reads[key] & waiting.keys()]
        if not ready:
            raise ValueError(f"tasks that wait for one another: {', '.join(waiting)}")
        ordered.update({key: waiting.pop(key) for key in ready})
    return ordered


def sources(batch: Batch, of: Mapping[str, Batch]) -> dict[Source, list[Cell]]:
    """Return each artifact that a task reads from others, with the cells in it that it reads, in a fixed order."""
    made_in = {cell.key: (other, cell) for other in of.values() for cell in other.cells}
    found: dict[Source, list[Cell]] = {}
    for cell in batch.cells:
        for key in cell.inputs.values():
            other, parent = made_in[key]
            if other is not batch and parent not in (read := found.setdefault(Source(other.key, port_of(parent)), [])):
                read.append(parent)
    return found


def choose(name: str, grid: Mapping[str, Cell]) -> Sequence[Cell]:
    """Return the cells of a task's name, `stage:robust/contrastive/probe`, or all of a seed's for `results`.

    Raises:
        ConfigError: there is no such task.
    """
    if name == RESULTS or name.startswith(f"{REPORT}:"):
        return tuple(grid.values())
    granularity, _, key = name.partition(":")
    known = granularity in tuple(Granularity)
    found = _grouped(tuple(grid.values()), Granularity(granularity)) if known else {}
    if key not in found:
        raise ConfigError(f"there is no task {name!r}")
    return found[key].cells


def _grouped(grid: Sequence[Cell], granularity: Granularity) -> dict[str, Batch]:
    makers = {key for cell in grid if cell.role is Role.IMAGES for key in cell.inputs.values()}
    places = {cell.key: _place(cell, granularity, makers) for cell in grid}
    if granularity in (Granularity.ENCODER, Granularity.SET):
        places |= _joined(grid, places)
    grouped: dict[Place, list[Cell]] = {}
    for cell in grid:
        grouped.setdefault(places[cell.key], []).append(cell)
    together = Counter(encoder for _, encoder, apart in grouped if not apart)
    return {
        key: Batch(key, _component(key, chosen), tuple(chosen), encoder, not apart and together[encoder] > 1)
        for (key, encoder, apart), chosen in grouped.items()
    }


def _place(cell: Cell, granularity: Granularity, makers: set[str]) -> Place:
    """Return the key of the task that computes a cell, the encoder that the task is about, and whether it is apart."""
    name, component = name_of(cell), COMPONENT_OF[cell.stage]
    if component in (PREPARE_DATA, SYNTHESIZE):
        return name, None, True
    folder, who, *_ = name.split("/")
    encoder = f"{folder}/{who}"
    # Whoever makes a set is pretrained apart: the encoder's other tasks read sets, and a set waits for no other task.
    apart = component == PRETRAIN and cell.key.removesuffix(name) + f"{encoder}/encoder" in makers
    if component == TRANSFER:
        return (f"{folder}{ALL}" if granularity is Granularity.SET else name), None, True
    if granularity is Granularity.CELL:
        return name, encoder, apart
    if granularity is Granularity.STAGE or apart:
        return f"{encoder}/{component}", encoder, apart
    if cell.features in (NONE, UNTRAINED):  # seconds of work each
        return f"{UNTRAINED}{ALL}", None, True
    if granularity is Granularity.ENCODER:
        return f"{encoder}{ALL}", encoder, True
    return f"{folder}{ALL}", None, True


def _joined(grid: Sequence[Cell], places: Mapping[str, Place]) -> dict[str, Place]:
    """Return the place of each set that one task alone reads: it makes the set itself."""
    readers: dict[str, set[Place]] = {cell.key: set() for cell in grid if cell.role is Role.IMAGES}
    for cell in grid:
        for key in readers.keys() & set(cell.inputs.values()):
            readers[key].add(places[cell.key])
    alone = {key: place for key, found in readers.items() if len(found) == 1 for place in found}
    return {key: place for key, place in alone.items() if place[0].endswith(ALL)}


def _component(key: str, chosen: Sequence[Cell]) -> str:
    kinds = {COMPONENT_OF[cell.stage] for cell in chosen}
    if key.endswith(ALL):
        encoders = {(cell.features, cell.paradigm) for cell in chosen if cell.paradigm is not None}
        if len(encoders) > 1 or kinds & {SYNTHESIZE, TRANSFER}:
            return SET
        return ENCODER if PRETRAIN in kinds else MEASURE
    (kind,) = kinds
    return kind


def slug(key: str) -> str:
    """Return a key as the name of a task: lower case, digits and hyphens, as Kubernetes wants it."""
    return re.sub(r"[^a-z0-9]+", "-", key).strip("-")
