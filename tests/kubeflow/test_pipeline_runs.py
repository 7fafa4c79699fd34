"""The compiled pipeline at work: equal to the one-machine run in its results, cached, refused in its first task."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_pipeline import compile_here, run_here, runs

from realfeatures.experiment.presets import load_preset
from realfeatures.kubeflow.batches import Granularity
from realfeatures.running.local import run_experiment
from realfeatures.running.plan import make_plan
from realfeatures.science.artifacts import read_manifest

MAX_PAGE_BYTES = 2_000_000
"""Kubeflow's page reads a report whole before it shows it."""

TINY = (
    "experiments=E2",
    "data.train_size=120",
    "data.test_size=40",
    "supervised.optimizer.epochs=2",
    "supervised.optimizer.warmup_epochs=0",
    "contrastive.optimizer.epochs=2",
    "contrastive.optimizer.warmup_epochs=0",
    "non_robust.steps=3",
    "probe.epochs=2",
    "attack.images=20",
    "attack.pgd_steps=2",
    "attack.autoattack=[]",
    "attack.autoattack_images=20",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("granularity", [Granularity.STAGE, Granularity.SET])
def test_two_repetitions_by_the_run_form_give_the_bytes_of_the_one_machine_run(granularity, tmp_path):
    """Every stage: test_docker_pipeline.py, in containers."""
    settings = [*TINY, "paradigms=supervised", "features=natural"]
    paper = compile_here(load_preset("digits", settings), tmp_path, repetitions=2, granularity=granularity)
    run = run_here(paper, tmp_path, seed=3, overrides={"attack.pgd_steps": 3})
    same = load_preset("digits", [*settings, "attack.pgd_steps=3"])
    run_experiment(same, seeds=[3, 4], out=tmp_path / "out", jobs=1)

    expected = dict(artifacts(tmp_path / "out", "cells/*/manifest.json"))
    assert set(expected) == set(make_plan(same, seeds=[3, 4]).addresses.values())
    assert dict(artifacts(run, "*/*/cells/*/manifest.json")) == expected
    assert numbers(run / "report" / "results") == numbers(tmp_path / "out" / "results.json")
    page = run / "report" / "html"
    assert re.search("<svg", page.read_text())
    assert page.stat().st_size < MAX_PAGE_BYTES


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_override_runs_again_only_the_cells_that_it_touches(tmp_path):
    preset = load_preset("digits", [*TINY, "paradigms=supervised,contrastive", "features=natural"])
    paper = compile_here(preset, tmp_path)
    first, again = run_here(paper, tmp_path), run_here(paper, tmp_path, report_name="again")
    other = run_here(paper, tmp_path, overrides={"probe.epochs": 3})
    inside = "repetition-1-natural-contrastive"
    assert tasks_run(again) == {"configure", "report"}
    assert tasks_run(other) == {"configure", f"{inside}-probe", f"{inside}-attack", "repetition-1-results", "report"}
    assert tasks_run(other) < tasks_run(first)
    assert {"prepare-data", f"{inside}-pretrain"} <= tasks_run(first)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"overrides": {"probe.epoch": 3}}, "probe.epoch: unknown key 'epoch'; probe has: epochs"),
        pytest.param({"seed": -1}, "seed -1: expected a whole number of at least 0", marks=pytest.mark.slow),
        pytest.param({"report_name": "Monday's run"}, 'run name "Monday\'s run": expected', marks=pytest.mark.slow),
    ],
)
def test_a_wrong_value_in_the_run_form_fails_in_the_first_task(form, expected, tmp_path, capfd):
    """All of them: test_tasks.py."""
    paper = compile_here(load_preset("digits", [*TINY, "paradigms=supervised", "features=natural"]), tmp_path)
    with pytest.raises(RuntimeError, match="configure"):
        run_here(paper, tmp_path, **form)
    lines = [line.strip() for line in capfd.readouterr().out.splitlines()]
    assert any(line.startswith("error: ") and expected in line for line in lines)
    assert not any(tasks_run(run) - {"configure"} for run in runs(tmp_path))


def tasks_run(run: Path) -> set[str]:
    """Return the tasks that were not taken from the cache: each of them has a folder."""
    return {folder.name for folder in run.iterdir()}


def artifacts(root: Path, pattern: str) -> Iterator[tuple[str, dict]]:
    """Yield the address and the files, with their digests, of every artifact."""
    for path in root.glob(pattern):
        yield read_manifest(path.parent)["address"], read_manifest(path.parent)["files"]


def numbers(results: Path) -> dict[str, Any]:
    """Return a results.json without its times and the run's name."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: timeless(one) for name, one in value.items() if name not in ("seconds", "name")}
        return [timeless(one) for one in value] if isinstance(value, list) else value

    return timeless(json.loads(results.read_text()))
