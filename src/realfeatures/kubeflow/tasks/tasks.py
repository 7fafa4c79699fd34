"""What a Kubeflow task does: a component's body is one call into this module."""

import json
import logging
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from realfeatures.errors import RealFeaturesError
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.codec import Order, decode
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import cell_addresses, cells
from realfeatures.experiment.vocabulary import canonical_json
from realfeatures.kubeflow.spec import port_name
from realfeatures.kubeflow.tasks.cells import require_code, resolve
from realfeatures.kubeflow.tasks.metrics import ConfusionMatrix, log_confusion, log_metrics
from realfeatures.kubeflow.tasks.records import KFPArtifact, gather, pack_record
from realfeatures.logs import Pace, log_to_stderr
from realfeatures.running.names import check_run_name, timed_name
from realfeatures.science.artifacts import Artifact, empty_folder, open_artifact, read_record, write_bytes
from realfeatures.store.cells import CellStore
from realfeatures.store.client import ObjectStore
from realfeatures.store.reports import publish

logger = logging.getLogger(__name__)


def configure_run(
    preset: str, *, seed: int, repetitions: int, overrides: str, run_name: str, structure: str, code: str, **files: str
) -> None:
    """Resolve what a run form asks for into the text of every cell, or refuse it, before anything is computed.

    Args:
        preset: the preset that the pipeline was compiled with, as JSON.
        seed, overrides, run_name: of the run form.
        repetitions, structure, code: of the pipeline; see `resolve`.
        files: the file of each output port: `resolved` takes the preset, `seeds` a JSON list, `cells` all texts by
            slot, and every other one the text of the cell that the port is named after, or nothing where there is none.

    Raises:
        SystemExit: with one line that says what is wrong.
    """
    with one_line_errors():
        require_code(code)
        check_run_name(timed_name(run_name))
        store = cell_store()
        if store is not None:
            store.provide(Preset.model_validate_json(preset).data)
        found = resolve(preset, seed=seed, repetitions=repetitions, overrides=overrides, expected_structure=structure)
        texts = {
            **{port_name(slot): text for slot, text in found.texts.items()},
            "resolved": canonical_json(found.preset.model_dump(mode="json")),
            "seeds": canonical_json(list(found.seeds)),
            "cells": canonical_json(found.texts),
        }
        for port, file in files.items():
            write_bytes(Path(file), texts.get(port, "").encode())


def run_stage(
    cell: str,
    *,
    inputs: Mapping[str, KFPArtifact],
    output: KFPArtifact,
    record: str,
    metrics: KFPArtifact | None = None,
    confusion: ConfusionMatrix | None = None,
) -> None:
    """Run a cell as a Kubeflow task.

    Args:
        cell: its text, which the first task wrote.
        inputs: the artifact of each of the stage's input ports.
        output: the stage's output port.
        record: the file of the output parameter that the report is made of.
        metrics: receives an attack's accuracies under names that are the same in every run.
        confusion: receives an attack's confusion matrix of the clean test images.

    Raises:
        SystemExit: with one line that says what is wrong.
    """
    with one_line_errors():
        opened = {port: open_artifact(Path(artifact.path)) for port, artifact in inputs.items()}
        result = _execute(decode(cell), inputs=opened, output=output)
        folder = Path(output.path)
        if metrics is not None:
            log_metrics(metrics, read_record(folder)["measurements"])
        if confusion is not None:
            log_confusion(confusion, result=result, test_set=opened["test_set"])
        write_bytes(Path(record), pack_record(folder).encode())


def collect_records(
    version: str, *, records: Sequence[str], parts: Sequence[KFPArtifact | None], output: KFPArtifact
) -> None:
    """Gather the records of a pipeline's tasks and of the pipelines nested in it into one artifact.

    Args:
        version: changes with what the cache does not see, the content of `parts`; noted in the artifact.
        records: of the pipeline's tasks.
        parts: the gathered records of nested pipelines.
        output: takes them all.

    Raises:
        SystemExit: with one line that says what is wrong.
    """
    with one_line_errors():
        gather(records, parts, empty_folder(Path(output.path)))
        output.metadata["version"] = version


def publish_report(
    preset: str,
    seeds: str,
    run_name: str,
    code: str,
    *,
    records: Sequence[str],
    parts: Sequence[KFPArtifact | None],
    images: Sequence[KFPArtifact | None],
    outputs: Mapping[str, KFPArtifact],
) -> None:
    """Write the report of all cells to the artifacts that Kubeflow shows, and to the object store.

    Args:
        preset: the preset as JSON.
        seeds: the seeds as a JSON list.
        run_name: of the run form; names the report in the object store.
        code: the code digest that the pipeline was compiled with.
        records: of the tasks beside this one.
        parts: the gathered records of nested pipelines.
        images: image sets of which the report shows a few.
        outputs: the artifact that takes each of the report's files.

    Raises:
        SystemExit: with one line that says what is wrong.
    """
    from realfeatures.report.page import write_report
    from realfeatures.results.earlier import earlier_results

    with one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        require_code(code)
        # Once: the report names, reads and publishes the same run.
        run_name = timed_name(run_name)
        experiment, numbers = Preset.model_validate_json(preset), json.loads(seeds)
        out = Path(temporary)
        gather(records, parts, out / "cells")
        for image_set in images:
            if image_set is not None:
                _link_image_set(Path(image_set.path), out / "cells")
        grid = cells(experiment, numbers)
        addresses = cell_addresses(grid, runtime=experiment.runtime, code=code_digest(), versions=library_versions())
        store = cell_store()
        earlier = earlier_results(store.objects, run_name) if store is not None else ()
        write_report(
            out, preset=experiment, seeds=numbers, grid=grid, addresses=addresses, earlier=earlier, name=run_name
        )
        for name, artifact in outputs.items():
            write_bytes(Path(artifact.path), (out / name).read_bytes())
        if store is not None:
            publish(out, run_name, store.objects)


def cell_store() -> CellStore | None:
    """Return the object store that the pod's environment names, or None."""
    objects = ObjectStore.from_environment()
    return None if objects is None else CellStore(objects)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the task with one line, where an error is one that a person can mend."""
    log_to_stderr()
    try:
        yield
    except RealFeaturesError as error:
        raise SystemExit(f"error: {error}") from None


def _execute(order: Order, *, inputs: Mapping[str, Artifact], output: KFPArtifact) -> Artifact:
    from realfeatures.science.execution import execute

    destination = Path(output.path)
    (cell,) = order.cells
    order.require([order.address(cell, {port: artifact.address for port, artifact in inputs.items()})])
    store = cell_store()
    result = execute(
        cell,
        runtime=order.runtime,
        inputs=inputs,
        destination=destination,
        # Beside the destination: it may be a mount of its own, and a retry finds its checkpoint there.
        work=destination.with_name(f".{destination.name}.partial"),
        stop=_stop_on_sigterm(),
        progress=_log_progress(cell.key),
        store=store,
    )
    if store is not None:
        store.checkpoint(result.address).discard()
    output.metadata.update({"title": cell.title, "address": result.address, "kind": result.kind})
    return result


def _log_progress(key: str) -> Callable[[int, int], None]:
    """Return a callback that logs a line now and then, since a pod's log has no terminal."""
    pace = Pace()

    def log(done: int, total: int) -> None:
        if pace.is_due():
            logger.info("%s: %d of %d steps", key, done, total)

    return log


def _stop_on_sigterm() -> Callable[[], bool]:
    """Return a function that tells whether the pod was asked to go; the stage then saves its checkpoint."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    return lambda: bool(asked)


def _link_image_set(image_set: Path, folder: Path) -> None:
    """Put a whole image set in the place of its record; a link, since it may hold many megabytes."""
    place = folder / open_artifact(image_set).require("image_set").address
    empty_folder(place).rmdir()
    place.symlink_to(image_set.resolve(), target_is_directory=True)
