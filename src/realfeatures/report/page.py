"""The report: results.json, report.html and report.md of a run, each written whole; imports no torch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from realfeatures.experiment.command import command_of
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell
from realfeatures.report.rendering import environment
from realfeatures.report.section import Section
from realfeatures.report.sections import diagram, drift, gallery, masking, sections, training
from realfeatures.report.tables import control_name
from realfeatures.results.build import (
    MEASURED_ROLES,
    RESULTS,
    Experiment,
    experiments_of,
    read_experiment,
    results_of,
)
from realfeatures.results.contrasts import contrasts
from realfeatures.results.drift import drift_json, drift_of
from realfeatures.results.earlier import NamedRun, parse_results
from realfeatures.results.flags import Flags
from realfeatures.results.rows import subject_of
from realfeatures.results.verdicts import as_json, judge_all
from realfeatures.science.artifacts import write_bytes

HTML, MARKDOWN = "report.html", "report.md"


def write_report(
    out: Path,
    *,
    preset: Preset,
    seeds: Sequence[int],
    grid: Sequence[Cell],
    addresses: Mapping[str, str],
    earlier: Sequence[NamedRun] = (),
    name: str | None = None,
) -> None:
    """Write results.json, report.html and report.md of the finished cells under `out`/cells.

    Args:
        out: the run's folder.
        preset, seeds: the experiment.
        grid: its cells.
        addresses: each cell's address by key, which names its folder.
        earlier: runs that this one is compared with, the newest last; see `earlier_results`. None: no such section.
        name: what the run is called.

    Raises:
        ArtifactError: an artifact's bytes were changed.
        StorageError: a file cannot be written.
    """
    experiment = read_experiment(out, preset=preset, seeds=seeds, grid=grid, addresses=addresses)
    results = results_of(experiment)
    flags = Flags(experiment)
    results["decomposition"] = contrasts(results, flags)
    results["claims"] = list(map(as_json, judge_all(results["rows"], classes=len(experiment.classes), flags=flags)))
    if name is not None:
        results["name"] = name
    found = drift_of(parse_results(results, name=name or "this run"), earlier) if earlier else None
    if found is not None:
        results["drift"] = drift_json(found)
    content = {
        "results": results,
        "drift": found,
        "origins": list(_origins(experiment)),
        "missing": [cell.key for cell in experiment.grid if cell.key not in experiment.finished],
        "command": command_of(preset, seeds=experiment.seeds, out="OUT"),
    }
    claims, *others = _sections(experiment, results)
    for file, escape, news in ((HTML, True, drift.detailed), (MARKDOWN, False, drift.section)):
        shown = [claims, *([news(found)] if found else []), *others]
        page = environment(escape=escape).get_template(f"{file}.jinja")
        write_bytes(out / file, page.render(**content, sections=shown).encode())
    # Last: whoever finds results.json finds its reports beside it.
    write_bytes(out / RESULTS, (json.dumps(results, indent=1, allow_nan=False) + "\n").encode())


def _sections(experiment: Experiment, results: Mapping[str, Any]) -> list[Section]:
    """Return all sections but drift, those that need more than results.json last."""
    details = (masking.autoattack, gallery.section, training.section, diagram.section)
    return [*sections(results), *(section for build in details if (section := build(experiment)))]


def _origins(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    """Yield (what, its experiments, key of the cell) for each cell that measured accuracies."""
    for cell, _ in experiment.with_role(*MEASURED_ROLES):
        one = subject_of(cell.labels)
        fitted = "" if one.matched else f" → {one.probe_features}"
        what = f"{one.paradigm} on {one.features}{fitted}, {control_name(one.readout)}, {one.protocol}"
        yield what, ", ".join(experiments_of(cell.labels)), cell.key
