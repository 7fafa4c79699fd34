"""A pretraining in a container of its own, asked to stop and then killed: it ends with the bytes that it would have."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from executor_inputs import Pods, smallest

from realfeatures.kubeflow.tasks.supervisor import DONE, TERMINATED
from realfeatures.science.artifacts import MANIFEST, RUN

PRETRAIN, ENCODER = "natural/supervised/pretrain", "seed0/natural/supervised/encoder"
PATIENCE_SECONDS = 120.0


def started(pods: Pods) -> subprocess.Popen[str]:
    """The container of a pretraining that has begun."""
    unfinished = f"*/cells/.{pods.plan.addresses[ENCODER]}.partial/output"
    for left in pods.folder(PRETRAIN).glob(unfinished):
        left.rmdir()
    command = [sys.executable, "-m", "realfeatures.kubeflow.tasks", "pretrain", pods.input(PRETRAIN)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(pods.folder(PRETRAIN).glob(unfinished)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    time.sleep(0.5)  # into its first epochs
    return process


@pytest.mark.slow  # torch is loaded three times
def test_a_task_that_is_stopped_and_then_killed_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("REALFEATURES_RETRIES", "1")
    plan = smallest("supervised.optimizer.epochs=400")
    whole, pods = (Pods(tmp_path / name, plan).run_all("data") for name in ("whole", "pods"))

    stopped = started(pods)
    stopped.terminate()
    _, stderr = stopped.communicate(timeout=PATIENCE_SECONDS)
    assert stopped.returncode == TERMINATED
    assert stderr.splitlines()[-1].startswith("error: asked to stop (SIGTERM) at step ")
    (checkpoint,) = pods.folder(PRETRAIN).glob("*/cells/.*.partial/checkpoint.safetensors")

    killed = started(pods)
    (child,) = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    _, stderr = killed.communicate(timeout=PATIENCE_SECONDS)
    assert killed.returncode == DONE, stderr
    assert re.search(r"^attempt 1 of 2 was killed \(SIGKILL\) at step [1-9]\d* of cell 1; ", stderr, re.MULTILINE)
    assert not checkpoint.exists()

    whole.run_all(PRETRAIN)
    found, expected = (one.cell(PRETRAIN, ENCODER) for one in (pods, whole))
    assert (found / MANIFEST).read_bytes() == (expected / MANIFEST).read_bytes()
    assert json.loads((found / RUN).read_bytes())["resumed"] is True
