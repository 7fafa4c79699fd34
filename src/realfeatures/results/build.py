"""From a run's artifacts to results.json whole: what was measured, the contrasts, the verdicts and the drift.

One entry a measurement and a cell; the form is documented in docs/results.schema.json. Imports no torch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from realfeatures.experiment.about import MEASURED_ROLES, Role
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.grid import DATA, Cell
from realfeatures.experiment.measurement import Measurement
from realfeatures.results.contrasts import contrasts
from realfeatures.results.drift import drift_json, drift_of
from realfeatures.results.earlier import NamedRun, parse_results
from realfeatures.results.flags import Flags
from realfeatures.results.reading import SCHEMA_VERSION
from realfeatures.results.records import Finished, Records
from realfeatures.results.rows import Rows
from realfeatures.results.statistics.intervals import wilson_interval
from realfeatures.results.verdicts import as_json, judge_all


def results_of(records: Records, *, earlier: Sequence[NamedRun] = (), name: str | None = None) -> dict[str, Any]:
    """Return all of results.json.

    Args:
        records: of the run.
        earlier: runs that this one is compared with, the newest last; see `earlier_results`. Empty: with none.
        name: what the run is called.

    Raises:
        ArtifactError: verdicts on single images are not what their record counts.
    """
    results = measured(records)
    rows, flags = Rows.of(results), Flags(records)
    results["decomposition"] = contrasts(rows, flags)
    results["claims"] = [as_json(verdict) for verdict in judge_all(rows, classes=len(records.classes), flags=flags)]
    if name is not None:
        results["name"] = name
    if earlier:
        results["drift"] = drift_json(drift_of(parse_results(results, name=name or "this run"), earlier))
    return results


def measured(records: Records) -> dict[str, Any]:
    """Return what results.json has without judging: the set-up, what was measured, and the cells."""
    return {
        "schema_version": SCHEMA_VERSION,
        "preset": {"name": records.preset.name, "config": records.preset.model_dump(mode="json")},
        "data": _data(records),
        "seeds": list(records.seeds),
        "device": _device(records),
        "versions": library_versions(),
        "code": code_digest(),
        "rows": _collect(records, MEASURED_ROLES, _rows),
        "transfer": _collect(records, (Role.TRANSFER,), _transfers),
        "loss_curves": _collect(records, (Role.LOSS_CURVES,), _loss_curves),
        "masking": _collect(records, MEASURED_ROLES, _masking),
        "cells": [_cell(records, cell) for cell in records.grid],
    }


Entries = Iterator[dict[str, Any]]


def _collect(
    records: Records, roles: Sequence[Role], entries: Callable[[Cell, Finished], Entries]
) -> list[dict[str, Any]]:
    return [one for cell, found in records.with_role(*roles) for one in entries(cell, found)]


def _rows(cell: Cell, found: Finished) -> Entries:
    for one in found.record["measurements"]:
        accuracy = wilson_interval(one["correct"], one["n"])
        yield {
            "experiments": list(cell.experiments),
            **asdict(_read(cell).under(one["attack"], one["norm"], one["epsilon"])),
            "metric": one["metric"],
            "value": accuracy.value,
            "n": one["n"],
            "low": accuracy.low,
            "high": accuracy.high,
            "seconds": found.run.get("seconds"),
            **_origin(cell, found),
        }


def _read(cell: Cell) -> Measurement:
    """Return what a cell that measures reads."""
    if cell.measurement is None:
        raise ValueError(f"{cell.key}: a cell of role {cell.role} has no measurement")
    return cell.measurement


def _transfers(cell: Cell, found: Finished) -> Entries:
    names = ("source", "target", "norm", "epsilon", "n", "transferred", "same_mistake", "different_mistake")
    for one in found.record["transfer"]:
        yield {"features": cell.features, **{name: one[name] for name in names}, **_origin(cell, found)}


def _loss_curves(cell: Cell, found: Finished) -> Entries:
    names = ("attacked", "norm", "epsilon", "step_size", "info_nce", "cross_entropy", "accuracy", "n")
    for one in found.record["loss_curves"]:
        encoder = {"paradigm": cell.paradigm, "features": cell.features}
        yield {**encoder, **{name: one[name] for name in names}, **_origin(cell, found)}


def _masking(cell: Cell, found: Finished) -> Entries:
    masking = found.record.get("masking")
    if masking:
        findings = {"checks": dict(masking["checks"]), "details": dict(masking.get("details", {}))}
        yield {"measurement": asdict(_read(cell)), **findings, **_origin(cell, found)}


def _origin(cell: Cell, found: Finished) -> dict[str, Any]:
    return {"seed": cell.run_seed, "cell": found.manifest["address"]}


def _cell(records: Records, cell: Cell) -> dict[str, Any]:
    found = records.finished.get(cell.key)
    return {
        "key": cell.key,
        "title": cell.title,
        "role": cell.role,
        "stage": cell.stage,
        "address": records.addresses[cell.key],
        "config": cell.config.model_dump(mode="json"),
        "inputs": {port: records.addresses[key] for port, key in cell.inputs.items()},
        "seed": cell.seed,
        "run_seed": cell.run_seed,
        "seconds": found.run.get("seconds") if found else None,
        "experiments": list(cell.experiments),
        "paradigm": cell.paradigm,
        "features": cell.features,
        "measurement": asdict(cell.measurement) if cell.measurement else None,
    }


def _data(records: Records) -> dict[str, Any]:
    found = records.finished.get(DATA)
    return {
        "title": records.title,
        "classes": list(records.classes),
        "train_images": _length(found, "train"),
        "test_images": _length(found, "test"),
    }


def _length(found: Finished | None, split: str) -> int | None:
    tensors = found.files.get(f"{split}.safetensors", {}).get("tensors", {}) if found else {}
    return int(tensors["labels"]["shape"][0]) if "labels" in tensors else None


def _device(records: Records) -> dict[str, Any]:
    """Return on what the cells ran, which need not be the machine that writes the report."""
    runtime = records.preset.runtime
    named = {str(found.run["processor"]) for found in records.finished.values() if "processor" in found.run}
    return {
        "name": runtime.device,
        "precision": runtime.precision,
        "threads": runtime.threads,
        "processor": ", ".join(sorted(named)) or "unknown",
    }
