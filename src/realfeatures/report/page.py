"""The report: results.json, report.html and report.md of a run, each written whole; imports no torch."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from realfeatures.experiment.about import MEASURED_ROLES
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell
from realfeatures.experiment.presets import PRESETS
from realfeatures.report.rendering import environment
from realfeatures.report.section import Section
from realfeatures.report.sections import diagram, drift, gallery, masking, sections, training
from realfeatures.results.build import results_of
from realfeatures.results.drift import parse_drift
from realfeatures.results.earlier import NamedRun
from realfeatures.results.reading import RESULTS
from realfeatures.results.records import Records, read_records
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
    records = read_records(out, preset=preset, seeds=seeds, grid=grid, addresses=addresses)
    results = results_of(records, earlier=earlier, name=name)
    _draw(out, records, results)
    # Last: whoever finds results.json finds its reports beside it.
    write_bytes(out / RESULTS, (json.dumps(results, indent=1, allow_nan=False) + "\n").encode())


def _draw(out: Path, records: Records, results: Mapping[str, Any]) -> None:
    """Write both reports of a results.json, with the pictures and times that the records alone have."""
    found = parse_drift(results["drift"]) if "drift" in results else None
    content = {
        "results": results,
        "drift": found,
        "origins": list(_origins(records)),
        "missing": [cell.key for cell in records.grid if cell.key not in records.finished],
        "command": reproduce_command(records.preset, seeds=records.seeds),
    }
    claims, *others = _sections(records, results)
    for file, escape, news in ((HTML, True, drift.detailed), (MARKDOWN, False, drift.section)):
        shown = [claims, *([news(found)] if found else []), *others]
        page = environment(escape=escape).get_template(f"{file}.jinja")
        write_bytes(out / file, page.render(**content, sections=shown).encode())


def reproduce_command(preset: Preset, *, seeds: Sequence[int]) -> str:
    """Return the command line that runs this experiment again, with every value that differs from its preset."""
    words = ["realfeatures", "run", "--preset", preset.name]
    for seed in seeds:
        words += ["--seed", str(seed)]
    if preset.name in PRESETS:
        base = PRESETS[preset.name]().model_dump(mode="json")
        for path, value in _differences(base, preset.model_dump(mode="json")):
            words += ["--set", f"{path}={value if path == 'data.source' else json.dumps(value)}"]
    return shlex.join([*words, "--out", "OUT"])


def _sections(records: Records, results: Mapping[str, Any]) -> list[Section]:
    """Return all sections but drift, those that need more than results.json last."""
    details = (masking.autoattack, gallery.section, training.section, diagram.section)
    return [*sections(results), *(section for build in details if (section := build(records)))]


def _origins(records: Records) -> Iterator[tuple[str, str, str]]:
    """Yield (what, its experiments, key of the cell) for each cell that measured accuracies."""
    for cell, _ in records.with_role(*MEASURED_ROLES):
        yield cell.title, ", ".join(cell.experiments), cell.key


def _differences(base: Any, value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(base, dict) and isinstance(value, dict):
        for key in value:
            yield from _differences(base.get(key), value[key], f"{path}.{key}" if path else key)
    # A folder's digest is found again from its content.
    elif base != value and path != "data.sha256":
        yield path, value
