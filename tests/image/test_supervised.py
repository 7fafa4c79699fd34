"""A task's supervisor in a hardened container: what a crash leads to where a pod has no rights and no disk but /tmp."""

import pytest
from docker_daemon import HARDENED, docker, image

__all__ = ["image"]

pytestmark = pytest.mark.docker

PROGRAM = """
import os, signal, sys
from pathlib import Path
from realfeatures.kubeflow.tasks.position import Position
from realfeatures.kubeflow.tasks.supervisor import supervise

if sys.argv[1:2] == ["child"]:
    ends = sys.argv[2].split(",")
    counter = Path("/tmp/attempts")
    attempt = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(attempt + 1))
    Position.inherited().write(1, 10 * (attempt + 1))
    end = ends[attempt]
    if end.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[end])
    sys.exit(int(end))
sys.exit(supervise([sys.executable, "-c", os.environ["PROGRAM"], "child", sys.argv[1]], retries=3))
"""


def ended(image: str, ends: str) -> tuple[int, list[str]]:
    """Run a task whose attempts end like that; return its exit code and its log."""
    options = (*HARDENED, "--env", f"PROGRAM={PROGRAM}", "--entrypoint=python3")
    done = docker("run", *options, image, "-c", PROGRAM, ends, check=False)
    return done.returncode, done.stderr.splitlines()


def test_a_stage_that_is_killed_three_ways_ends_well(image):
    code, log = ended(image, "SIGKILL,SIGSEGV,SIGABRT,0")
    assert code == 0
    assert [name in line for name, line in zip(("SIGKILL", "SIGSEGV", "SIGABRT"), log, strict=True)] == [True] * 3
    assert not any(line.startswith("error:") for line in log)


def test_what_a_person_must_mend_ends_the_task_at_once(image):
    code, log = ended(image, "2")
    assert (code, log) == (2, [])


def test_a_crash_that_comes_again_ends_the_task_with_one_last_line(image):
    code, log = ended(image, "1,1,1,1")
    assert code == 1
    assert log[-1].startswith("error: ")
    assert sum(line.startswith("error:") for line in log) == 1
