"""Runs with a store: what is killed goes on elsewhere, and a store that fails is told before anything is computed."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import realfeatures
from seaweedfs import STORE, needs_s3

from realfeatures.experiment.presets import load_preset
from realfeatures.running.local import run_experiment
from realfeatures.science.artifacts import read_manifest
from realfeatures.store.cells import CellStore
from realfeatures.store.client import ObjectStore

pytestmark = [*needs_s3, pytest.mark.usefixtures("s3_environment")]

TINY = (
    "experiments=E2",
    "paradigms=supervised",
    "features=natural",
    "data.train_size=1297",
    "supervised.optimizer.epochs=12",
    "attack.images=20",
    "attack.pgd_steps=2",
    "attack.autoattack=[]",
)


def settings() -> list[str]:
    # One worker: the cells are a chain, nearly, and a second one costs seconds to start.
    return ["--jobs", "1", *(word for assignment in TINY for word in ("--set", assignment))]


def digests(out: Path) -> dict[str, dict]:
    return {path.parent.name: read_manifest(path.parent)["files"] for path in out.glob("cells/*/manifest.json")}


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, dict]:
    out = tmp_path_factory.mktemp("expected") / "run"
    run_experiment(load_preset("digits", TINY), seeds=[0], out=out, jobs=1)
    return digests(out)


def test_a_stage_killed_at_random_steps_resumes_on_empty_disks(store, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("REALFEATURES_STORE", STORE)
    seed = time.time_ns()
    print(f"pauses from seed {seed}")
    pauses = [random.Random(seed + number).uniform(0.0, 1.0) for number in range(3)]
    kills = sum(killed_stage(store, tmp_path / f"disk{number}", pause) for number, pause in enumerate(pauses))
    last = tmp_path / "last"
    assert start_stage(last).wait(120) == 0
    manifest = read_manifest(last / "encoder")
    assert kills > 0
    assert json.loads((last / "encoder" / "run.json").read_text())["resumed"]
    assert manifest["files"] == expected[manifest["address"]]
    # It is there until the artifact is: whoever dies between the two has lost nothing.
    assert len(list(store.list("checkpoints/"))) == 1
    CellStore(store).keep(manifest["address"], last / "encoder")
    assert list(store.list("checkpoints/")) == []


def start_stage(disk: Path) -> subprocess.Popen:
    disk.mkdir()
    program = Path(__file__).parents[1] / "resumable_stage.py"
    return subprocess.Popen([sys.executable, str(program), str(disk), json.dumps(TINY)])


def killed_stage(store: ObjectStore, disk: Path, pause: float) -> bool:
    """Start the stage, and kill it so many seconds after a new checkpoint of it is in the store."""
    before = [one.modified for one in store.list("checkpoints/")]
    process = start_stage(disk)
    while process.poll() is None and [one.modified for one in store.list("checkpoints/")] == before:
        time.sleep(0.05)
    time.sleep(pause)
    process.kill()
    return process.wait() == -signal.SIGKILL


@pytest.mark.usefixtures("store")
def test_a_run_on_an_empty_disk_takes_all_from_the_store_and_computes_nothing(expected, tmp_path):
    command = ["run", "--preset", "digits", *settings(), "--store", STORE, "--name", "first"]
    first = realfeatures(*command, "--out", str(tmp_path / "a"))
    assert first.returncode == 0, first.stderr
    second = realfeatures(*command, "--out", str(tmp_path / "b"))
    assert second.returncode == 0, second.stderr
    assert "cells come from s3://" in second.stderr
    assert digests(tmp_path / "a") == digests(tmp_path / "b") == expected
    started = [json.loads(path.read_text())["seconds"] for path in (tmp_path / "b").glob("cells/*/run.json")]
    assert sorted(started) == sorted(
        json.loads(path.read_text())["seconds"] for path in (tmp_path / "a").glob("cells/*/run.json")
    )
    shown = realfeatures("store", "get", "runs/first/", str(tmp_path / "report"), "--store", STORE)
    assert shown.returncode == 0, shown.stderr
    assert json.loads((tmp_path / "report" / "results.json").read_text())["seeds"] == [0]


def test_a_run_that_is_asked_to_stop_leaves_its_checkpoint_in_the_store(store, expected, tmp_path):
    command = [
        sys.executable,
        "-m",
        "realfeatures.cli.main",
        "run",
        "--preset",
        "digits",
        *settings(),
        "--store",
        STORE,
    ]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "a")])
    while not any((tmp_path / "a" / "partial").glob("*/output")) or len(list(store.list("cells/"))) < 1:
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, 130)
    stopped = len(list(store.list("checkpoints/")))
    done = realfeatures(*command[3:], "--out", str(tmp_path / "b"))
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "b") == expected
    assert stopped == 1 or process.returncode == 0


def test_a_server_that_is_away_is_another_exit_code_than_a_mistake(tmp_path):
    """A Job tries again after the one, and gives up after the other."""
    words = ("run", *settings(), "--store", STORE, "--out", str(tmp_path / "out"))
    done = realfeatures(*words, AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert done.returncode == 75
    assert done.stderr.splitlines()[-1].startswith(f"error: {STORE} at 127.0.0.1:1: look for the bucket:")
    assert not (tmp_path / "out").exists()


def test_a_wrong_store_stops_a_run_before_anything_is_computed(tmp_path):
    out = tmp_path / "out"
    done = realfeatures("run", *settings(), "--store", "s3://nowhere", "--out", str(out))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: s3://nowhere")
    assert not out.exists()
