"""The last tasks: the results of a repetition are joined, and those of all repetitions become the report."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from realfeatures.errors import ArtifactError, ConfigError
from realfeatures.experiment.codec import Order, decode
from realfeatures.experiment.grid import Cell, cells
from realfeatures.kubeflow.batches import choose
from realfeatures.kubeflow.tasks.bundles import Bundle, close_bundle, write_record
from realfeatures.kubeflow.tasks.executor import ExecutorInput
from realfeatures.kubeflow.tasks.scores import scores_of
from realfeatures.kubeflow.tasks.stage import cell_store
from realfeatures.running.names import timed_name
from realfeatures.science.artifacts import write_bytes, write_json


def join_results(told: ExecutorInput) -> None:
    """Join the records of all cells of a repetition into one artifact.

    Raises:
        ArtifactError: a cell is missing, or is not the one that was planned.
    """
    order = decode(str(told.parameter("cells")), choose)
    known = _known(told.inputs)
    _require_all(order, order.cells, known)
    (folder,) = told.outputs.values()
    close_bundle(folder, made={}, known=known)
    told.answer({}, {port: {"address": order.digest, "kind": port} for port in told.outputs})


def write_report_of(told: ExecutorInput) -> None:
    """Write the report of all repetitions to the artifacts that Kubeflow shows, and to the object store.

    Raises:
        RealFeaturesError: a cell is missing, or the store refuses.
    """
    from realfeatures.report.page import write_report
    from realfeatures.results.earlier import earlier_results
    from realfeatures.store.reports import publish

    order = decode(str(told.parameter("cells")), choose)
    # Once: the report names, reads and publishes the same run.
    name = timed_name(str(told.parameter("report_name")))
    seeds = _seeds(order)
    grid, known = cells(order.preset, seeds), _known(told.inputs)
    _require_all(order, grid, known)
    store = cell_store()
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        for place in known.values():
            write_record(place, out / "cells" / place.name)
        write_report(
            out,
            preset=order.preset,
            seeds=seeds,
            grid=grid,
            addresses={key: place.name for key, place in known.items()},
            earlier=earlier_results(store.objects, name) if store is not None else (),
            name=name,
        )
        for port, file in FILES.items():
            write_bytes(told.outputs[port], (out / file).read_bytes())
        scores = scores_of(out / FILES["results"])
        write_json(told.outputs["metrics"], scores)  # the page shows the metadata; the file is for whoever downloads it
        told.answer({}, {"metrics": scores})
        if store is not None:
            publish(out, name, store.objects)


FILES = {"html": "report.html", "markdown": "report.md", "results": "results.json"}
"""The report's files, by the port that takes each."""


def _known(inputs: Mapping[str, Path]) -> dict[str, Path]:
    return {key: place for path in inputs.values() for key, place in Bundle(path).known().items()}


def _seeds(order: Order) -> range:
    """Return the seeds of all repetitions: their number stands in the name, `report:3`."""
    count = order.name.partition(":")[2]
    if not count.isdecimal():
        raise ConfigError(f"cells {order.name!r}: expected report:REPETITIONS; compile again")
    return range(order.seed, order.seed + int(count))


def _require_all(order: Order, wanted: Sequence[Cell], known: Mapping[str, Path]) -> None:
    missing = [cell.key for cell in wanted if cell.key not in known]
    if missing:
        raise ArtifactError(f"{missing[0]}: no task's results have it ({len(missing)} missing); compile again")
    order.require([known[cell.key].name for cell in order.cells])
