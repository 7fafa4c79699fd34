"""The report: results.json, report.html and report.md of a run, each written whole; imports no torch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from realfeatures.experiment.command import command_of
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell
from realfeatures.experiment.vocabulary import ADVERSARIAL
from realfeatures.report import diagram, figures, tables
from realfeatures.report.deviations import DEVIATIONS
from realfeatures.report.gallery import gallery
from realfeatures.report.rendering import environment
from realfeatures.report.sections import sections
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
from realfeatures.results.judging import seed_allowance
from realfeatures.results.rows import subject_of
from realfeatures.results.verdicts import RULE, as_json, judge_all
from realfeatures.science.artifacts import write_bytes

HTML, MARKDOWN = "report.html", "report.md"
SYNTHESIS_ORDER = (
    "distance_before",
    "distance_after",
    "distance_quantised",
    "target_rate",
    "target_rate_quantised",
    "mean_l2_perturbation",
)
"""Columns of the synthesis table as they are read; a record's keys are sorted by name."""
FOLDER = Path(__file__).parent / "templates"


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
    verdicts = judge_all(results["rows"], classes=len(experiment.classes), flags=flags)
    results["claims"] = [as_json(verdict) for verdict in verdicts]
    if name is not None:
        results["name"] = name
    drift = drift_of(parse_results(results, name=name or "this run"), earlier) if earlier else None
    if drift is not None:
        results["drift"] = drift_json(drift)
    content = {**_content(experiment, results), "verdicts": verdicts, "drift": drift}
    page = environment(escape=True).get_template("report.html.jinja")
    text = environment(escape=False).get_template("report.md.jinja")
    write_bytes(out / HTML, page.render(**content, **_pictures(experiment)).encode())
    write_bytes(out / MARKDOWN, text.render(**content).encode())
    # Last: whoever finds results.json finds its reports beside it.
    write_bytes(out / RESULTS, (json.dumps(results, indent=1, allow_nan=False) + "\n").encode())


def _content(experiment: Experiment, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return what both reports show."""
    return {
        "results": results,
        "classes": len(experiment.classes),
        "rule": RULE,
        "allowances": _allowances(),
        "minus": tables.MINUS,
        "sections": sections(results),
        "synthesis": _synthesis(experiment),
        "checks": list(_checks(experiment)),
        "checked": _autoattacks(experiment),
        "origins": list(_origins(experiment)),
        "stages": diagram.stage_times(experiment),
        "missing": [cell.key for cell in experiment.grid if cell.key not in experiment.finished],
        "command": command_of(experiment.preset, seeds=experiment.seeds, out="OUT"),
        "deviations": DEVIATIONS,
    }


def _allowances() -> str:
    """Return how the rule treats too few seeds, in words."""
    one, two, both = (
        f"{100 * seed_allowance(seeds, varying=varying):.0f}" for seeds, varying in ((1, 1), (2, 1), (1, 2))
    )
    return (
        f"One seed decides only where the interval lies {one} points beyond the threshold, two where it lies {two}"
        f" points beyond it ({both} and {one} where two paradigms are compared, as both vary): so few cannot show how"
        " much seeds differ. From three on, the interval holds their spread."
    )


def _pictures(experiment: Experiment) -> dict[str, Any]:
    curves = _curves(experiment)
    return {
        "training_curves": figures.training_curves(curves) if curves else "",
        "gallery": gallery(experiment),
        "diagram": diagram.diagram(experiment),
        "css": (FOLDER / "report.css").read_text(encoding="utf-8"),
    }


def _synthesis(experiment: Experiment) -> tables.Table:
    """How well the crafted sets came out, each figure averaged over the seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell, done in experiment.with_role("images"):
        figures_of = found.setdefault(str(cell.labels["features"]), {})
        for name, value in done.record.get("synthesis", {}).items():
            figures_of.setdefault(name, []).append(float(value))
    known = {name: place for place, name in enumerate(SYNTHESIS_ORDER)}
    names = sorted({name for one in found.values() for name in one}, key=lambda n: (known.get(n, len(known)), n))
    body = [
        (features, *(f"{fmean(one[name]):.3g}" if name in one else None for name in names))
        for features, one in found.items()
    ]
    return tables.Table(("set", *(name.replace("_", " ") for name in names)), tuple(body))


def _autoattacks(experiment: Experiment) -> int:
    return sum(
        measured["attack"] == "autoattack"
        for _, found in experiment.with_role("attack")
        for measured in found.record["measurements"]
    )


def _checks(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    """Yield (cell, threat, check) for each of AutoAttack's sanity checks that found something."""
    for cell, found in experiment.with_role("attack"):
        for measured in found.record["measurements"]:
            for check, raised in measured.get("details", {}).get("checks", {}).items():
                if raised:
                    threat = (measured["attack"], measured["norm"], measured["epsilon"])
                    yield cell.key, tables.threat_name(threat), check


def _origins(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    """Yield (what, its experiments, key of the cell) for each cell that measured accuracies."""
    for cell, _ in experiment.with_role(*MEASURED_ROLES):
        one = subject_of(cell.labels)
        fitted = "" if one.matched else f" → {one.probe_features}"
        what = f"{one.paradigm} on {one.features}{fitted}, {tables.control_name(one.readout)}, {one.protocol}"
        yield what, ", ".join(experiments_of(cell.labels)), cell.key


def _curves(experiment: Experiment) -> dict[str, dict[str, list[list[tuple[float, float]]]]]:
    """Return every encoder's loss over its epochs, by paradigm and feature set."""
    curves: dict[str, dict[str, list[list[tuple[float, float]]]]] = {}
    for cell, found in experiment.with_role("source", "encoder"):
        points = [(row["epoch"], row["loss"]) for row in found.record.get("history", ()) if "loss" in row]
        if points:
            panel = curves.setdefault(str(cell.labels["paradigm"]), {})
            panel.setdefault(str(cell.labels["features"]), []).append(points)
    order = [*experiment.preset.paradigms, ADVERSARIAL]
    return {name: curves[name] for name in order if name in curves}
