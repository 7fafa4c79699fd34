"""From a run's artifacts to results.json: flat lists of what was measured, one entry a cell; imports no torch.

The form is documented in docs/results.schema.json.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realfeatures.errors import ArtifactError
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import DATA, Cell
from realfeatures.results.statistics.intervals import wilson_interval
from realfeatures.science.artifacts import RUN, read_manifest, read_record
from realfeatures.science.data.sources import title

SCHEMA_VERSION = 2
RESULTS = "results.json"

MEASURED_ROLES = ("attack", "knn")
"""Roles whose cells measure accuracies."""


@dataclass(frozen=True)
class Finished:
    """A cell whose artifact is there and whose bytes are what its manifest says."""

    folder: Path
    manifest: dict[str, Any]
    record: dict[str, Any]
    run: dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """A grid with what was found of it; a cell that has not run yet is missing in `finished`."""

    preset: Preset
    seeds: tuple[int, ...]
    grid: tuple[Cell, ...]
    addresses: Mapping[str, str]
    finished: Mapping[str, Finished]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by label; empty where the data set is missing."""
        data = self.finished.get(DATA)
        return tuple(data.manifest["attributes"]["classes"]) if data else ()

    @property
    def title(self) -> str:
        """What a person calls the data set."""
        return title(self.preset.data)

    def with_role(self, *roles: str) -> Iterator[tuple[Cell, Finished]]:
        """Yield the finished cells of some roles, in the grid's order."""
        for cell in self.grid:
            if cell.labels["role"] in roles and cell.key in self.finished:
                yield cell, self.finished[cell.key]


def read_experiment(
    out: Path, *, preset: Preset, seeds: Sequence[int], grid: Sequence[Cell], addresses: Mapping[str, str]
) -> Experiment:
    """Read and verify every finished cell under `out`/cells.

    Raises:
        ArtifactError: a cell's artifact was changed.
    """
    folders = {cell.key: out / "cells" / addresses[cell.key] for cell in grid}
    finished = {key: _read(folder) for key, folder in folders.items() if folder.is_dir()}
    return Experiment(preset, tuple(seeds), tuple(grid), addresses, finished)


def results_of(experiment: Experiment) -> dict[str, Any]:
    """Return all of results.json but its decomposition and its claims, which are computed from the rows."""
    return {
        "schema_version": SCHEMA_VERSION,
        "preset": {"name": experiment.preset.name, "config": experiment.preset.model_dump(mode="json")},
        "data": _data(experiment),
        "seeds": list(experiment.seeds),
        "device": _device(experiment),
        "versions": library_versions(),
        "code": code_digest(),
        "rows": _collect(experiment, MEASURED_ROLES, _rows),
        "transfer": _collect(experiment, ("transfer",), _transfers),
        "loss_curves": _collect(experiment, ("loss_curves",), _loss_curves),
        "masking": _collect(experiment, MEASURED_ROLES, _masking),
        "cells": [_cell(experiment, cell) for cell in experiment.grid],
    }


def load_results(out: Path) -> dict[str, Any]:
    """Return the results.json of a run's folder.

    Raises:
        ArtifactError: missing or not readable.
    """
    try:
        return dict(json.loads((out / RESULTS).read_bytes()))
    except FileNotFoundError:
        raise ArtifactError(f"{out}: holds no {RESULTS}; run the experiment to its end first") from None
    except ValueError:
        raise ArtifactError(f"{out}/{RESULTS}: not JSON; run the same command again to rewrite it") from None


def _read(folder: Path) -> Finished:
    manifest = read_manifest(folder)
    try:
        run = json.loads((folder / RUN).read_bytes())
    except (FileNotFoundError, ValueError):
        run = {}  # no digest covers it: a time that was lost takes no result away
    return Finished(folder, manifest, read_record(folder), run)


Entries = Iterator[dict[str, Any]]


def _collect(
    experiment: Experiment, roles: Sequence[str], entries: Callable[[Cell, Finished], Entries]
) -> list[dict[str, Any]]:
    return [one for cell, found in experiment.with_role(*roles) for one in entries(cell, found)]


def _rows(cell: Cell, found: Finished) -> Entries:
    for measured in found.record["measurements"]:
        accuracy = wilson_interval(measured["correct"], measured["n"])
        yield {
            "experiments": experiments_of(cell.labels),
            **_names(cell, "paradigm", "features", "probe_features", "readout"),
            **{name: measured[name] for name in ("attack", "norm", "epsilon", "protocol", "metric")},
            "value": accuracy.value,
            "n": measured["n"],
            "low": accuracy.low,
            "high": accuracy.high,
            "seconds": found.run.get("seconds"),
            **_origin(cell, found),
        }


def _transfers(cell: Cell, found: Finished) -> Entries:
    for one in found.record["transfer"]:
        yield {
            "source": one["source"],
            "target": one["target"],
            **_names(cell, "features"),
            **{
                name: one[name] for name in ("norm", "epsilon", "n", "transferred", "same_mistake", "different_mistake")
            },
            **_origin(cell, found),
        }


def _loss_curves(cell: Cell, found: Finished) -> Entries:
    fields = ("attacked", "norm", "epsilon", "step_size", "info_nce", "cross_entropy", "accuracy", "n")
    for one in found.record["loss_curves"]:
        names = _names(cell, "paradigm", "features")
        yield {**names, **{name: one[name] for name in fields}, **_origin(cell, found)}


def _masking(cell: Cell, found: Finished) -> Entries:
    masking = found.record.get("masking")
    if masking:
        names = _names(cell, "paradigm", "features", "probe_features", "readout", "protocol")
        findings = {"checks": dict(masking["checks"]), "details": dict(masking.get("details", {}))}
        yield {**names, **findings, **_origin(cell, found)}


def experiments_of(labels: Mapping[str, str | int]) -> list[str]:
    """Return the experiments that a cell belongs to; a cell's label names them in one text."""
    return str(labels.get("experiments", "")).split()


def _names(cell: Cell, *labels: str) -> dict[str, str]:
    return {name: str(cell.labels[name]) for name in labels}


def _origin(cell: Cell, found: Finished) -> dict[str, Any]:
    return {"seed": cell.labels["run_seed"], "cell": found.manifest["address"]}


def _cell(experiment: Experiment, cell: Cell) -> dict[str, Any]:
    found = experiment.finished.get(cell.key)
    return {
        "key": cell.key,
        "stage": cell.stage,
        "address": experiment.addresses[cell.key],
        "config": cell.config.model_dump(mode="json"),
        "inputs": {port: experiment.addresses[key] for port, key in cell.inputs.items()},
        "seed": cell.seed,
        "seconds": found.run.get("seconds") if found else None,
        "labels": {name: value if isinstance(value, int) else str(value) for name, value in cell.labels.items()},
    }


def _data(experiment: Experiment) -> dict[str, Any]:
    found = experiment.finished.get(DATA)
    return {
        "title": experiment.title,
        "classes": list(experiment.classes),
        "train_images": _length(found, "train"),
        "test_images": _length(found, "test"),
    }


def _length(found: Finished | None, split: str) -> int | None:
    tensors = found.manifest["files"].get(f"{split}.safetensors", {}).get("tensors", {}) if found else {}
    return int(tensors["labels"]["shape"][0]) if "labels" in tensors else None


def _device(experiment: Experiment) -> dict[str, Any]:
    """Return on what the cells ran, which need not be the machine that writes the report."""
    runtime = experiment.preset.runtime
    named = {str(found.run["processor"]) for found in experiment.finished.values() if "processor" in found.run}
    return {
        "name": runtime.device,
        "precision": runtime.precision,
        "threads": runtime.threads,
        "processor": ", ".join(sorted(named)) or "unknown",
    }
