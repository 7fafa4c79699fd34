"""The compiled pipeline at work: equal to the one-machine run in its results, cached, refused in its first task."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kfp import components, local

from realfeatures.experiment.config import Preset
from realfeatures.experiment.presets import load_preset
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import load_profile
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


def run_in_kfp(preset: Preset, folder: Path, *, repetitions: int = 1, **form: Any) -> None:
    """Run a pipeline's tasks as processes of this machine; `form`: what the run form says."""
    path, profile = folder / "paper.yaml", load_profile("cpu")
    compile_pipeline(preset, seed=0, repetitions=repetitions, image="python", profile=profile, path=path)
    root = str(folder / "kfp")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=root, enable_caching=True)
    components.load_component_from_file(str(path))(**form)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_repetitions_by_the_run_form_give_the_bytes_of_the_one_machine_run(tmp_path):
    """Every stage: test_docker_pipeline.py, in containers."""
    settings = [*TINY, "paradigms=supervised", "features=natural"]
    run_in_kfp(load_preset("digits", settings), tmp_path, repetitions=2, seed=3, overrides='{"attack.pgd_steps": 3}')
    same = load_preset("digits", [*settings, "attack.pgd_steps=3"])
    run_experiment(same, seeds=[3, 4], out=tmp_path / "out", jobs=1)

    in_kfp = dict(artifacts(tmp_path / "kfp", "*/*/*/manifest.json"))
    expected = dict(artifacts(tmp_path / "out", "cells/*/manifest.json"))
    assert set(expected) == set(make_plan(same, seeds=[3, 4]).addresses.values())
    assert in_kfp == expected
    (page,) = (tmp_path / "kfp").glob("*/report/html")
    assert re.search("<svg", page.read_text())
    assert page.stat().st_size < MAX_PAGE_BYTES
    assert "<script" not in page.read_text()
    for attack in (tmp_path / "kfp").glob("*/*attack*/confusion"):
        assert sum(sum(row["row"]) for row in json.loads(attack.read_text())["confusionMatrix"]["rows"]) == 40


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_override_runs_again_only_the_cells_that_it_touches(tmp_path):
    preset = load_preset("digits", [*TINY, "paradigms=supervised,contrastive", "features=natural"])
    run_in_kfp(preset, tmp_path)
    (first,) = runs(tmp_path)

    run_in_kfp(preset, tmp_path, overrides='{"probe.epochs": 3}')
    (second,) = set(runs(tmp_path)) - {first}
    assert tasks_run(second) == {
        "configure",
        "natural-evaluate-contr-own-probe",
        "natural-evaluate-contr-own-pgd",
        "natural-evaluate-collect-records",
        "report",
    }
    assert tasks_run(first) == tasks_run(second) | {
        "prepare-data",
        "natural-evaluate-supervised-train",
        "natural-evaluate-contrastive-train",
        "natural-evaluate-superv-own-head",
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"overrides": '{"probe.epoch": 3}'}, "probe.epoch: unknown key 'epoch'; probe has: epochs"),
        ({"overrides": '{"probe.epochs": 0}'}, "probe.epochs: Input should be greater than 0"),
        ({"overrides": '{"paradigms": ["masked"]}'}, "they change which cells there are"),
        ({"overrides": "probe.epochs=3"}, "expected a JSON object"),
        ({"seed": -1}, "--seed -1: expected a whole number of at least 0"),
        ({"run_name": "Monday's run"}, 'run name "Monday\'s run": expected'),
    ],
)
def test_a_wrong_value_in_the_run_form_fails_in_the_first_task(form, expected, tmp_path, capfd):
    preset = load_preset("digits", [*TINY, "paradigms=supervised", "features=natural"])
    with pytest.raises(RuntimeError, match="configure"):
        run_in_kfp(preset, tmp_path, **form)
    lines = [line.strip() for line in capfd.readouterr().out.splitlines()]
    assert any(line.startswith("error: ") and expected in line for line in lines)
    (run,) = runs(tmp_path)
    assert tasks_run(run) == {"configure"}


def runs(folder: Path) -> list[Path]:
    """Return the folder of each run; the cache is hidden among them."""
    return [run for run in (folder / "kfp").iterdir() if not run.name.startswith(".")]


def tasks_run(run: Path) -> set[str]:
    """Return the tasks that were not taken from the cache: each of them has a folder."""
    return {folder.name for folder in run.iterdir()}


def artifacts(root: Path, pattern: str) -> Iterator[tuple[str, dict]]:
    """Yield the address and the files, with their digests, of every artifact; gathered records lie deeper."""
    for path in root.glob(pattern):
        manifest = read_manifest(path.parent)
        if manifest["files"]:
            yield manifest["address"], manifest["files"]
