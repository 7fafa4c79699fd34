import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

from realfeatures.kubeflow.tasks import supervisor
from realfeatures.kubeflow.tasks.supervisor import DONE, FAILED, MENDABLE, TERMINATED, supervise, used_share

CHILD = """
import os, resource, signal, sys, time
from pathlib import Path
from realfeatures.kubeflow.tasks.position import Position

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
folder, position = Path(sys.argv[1]), Position.inherited()
with (folder / "attempts").open("a") as attempts:
    attempts.write(f"{os.getpid()}\\n")
attempt = len((folder / "attempts").read_text().split())

def die(number):
    os.kill(os.getpid(), number)
    time.sleep(60)

"""
SUPERVISOR = """
import sys
from realfeatures.kubeflow.tasks.supervisor import supervise
sys.exit(supervise(sys.argv[1:], retries=3))
"""
PATIENCE_SECONDS = 30.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.01)


def child(folder: Path, body: str) -> list[str]:
    """The command of a child that notes its process and then does what `body` says."""
    return [sys.executable, "-c", CHILD + body, str(folder)]


def attempts(folder: Path) -> list[int]:
    """The processes of all attempts that came so far as to run."""
    path = folder / "attempts"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def started(folder: Path, body: str) -> subprocess.Popen[str]:
    """A supervisor in a process of its own, whose child is ready."""
    command = [sys.executable, "-c", SUPERVISOR, *child(folder, body)]
    found = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for((folder / "ready").exists)
    return found


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def lines(capfd) -> list[str]:
    return capfd.readouterr().err.splitlines()


def container(folder: Path, *, used: int, limit: str = "1000", **stat: int) -> Path:
    """The files of a container's control group."""
    cgroup = folder / "cgroup"
    cgroup.mkdir(exist_ok=True)
    (cgroup / "memory.max").write_text(f"{limit}\n")
    (cgroup / "memory.current").write_text(f"{used}\n")
    (cgroup / "memory.stat").write_text("".join(f"{name} {value}\n" for name, value in stat.items()))
    return cgroup


def test_a_child_that_ends_well_runs_once_and_nothing_is_said(tmp_path, capfd):
    assert supervise(child(tmp_path, "sys.exit(0)"), retries=3) == DONE
    assert len(attempts(tmp_path)) == 1
    assert lines(capfd) == []


def test_what_a_person_must_mend_is_not_tried_again(tmp_path, capfd):
    said = "print('error: wrong', file=sys.stderr); sys.exit(2)"
    assert supervise(child(tmp_path, said), retries=3) == MENDABLE
    assert len(attempts(tmp_path)) == 1
    assert lines(capfd) == ["error: wrong"]


def test_a_child_that_is_killed_at_other_steps_goes_on_until_it_ends_well(tmp_path, capfd):
    body = """
signals = [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]
position.write(2, 100 * attempt)
sys.exit(0) if attempt == 4 else die(signals[attempt - 1])
"""
    assert supervise(child(tmp_path, body), retries=3) == DONE
    assert len(attempts(tmp_path)) == 4
    rest = "starting again from the last checkpoint"
    assert lines(capfd) == [
        f"attempt 1 of 4 was killed (SIGKILL) at step 100 of cell 2; {rest}",
        f"attempt 2 of 4 was killed (SIGSEGV) at step 200 of cell 2; {rest}",
        f"attempt 3 of 4 was killed (SIGABRT) at step 300 of cell 2; {rest}",
    ]


def test_a_second_crash_at_the_same_step_is_the_last_one(tmp_path, capfd):
    assert supervise(child(tmp_path, "position.write(3, 7); sys.exit(1)"), retries=9) == FAILED
    assert len(attempts(tmp_path)) == 2
    assert lines(capfd)[-1] == (
        "error: attempt 2 of 10 crashed (exit code 1) at step 7 of cell 3, as the one before it did; the log above"
        " says more"
    )


def test_a_server_that_is_away_again_and_again_at_the_same_step_is_waited_for(tmp_path, capfd):
    body = "sys.exit(75 if attempt < 4 else 0)"
    assert supervise(child(tmp_path, body), retries=3, pause_seconds=0.01) == DONE
    assert len(attempts(tmp_path)) == 4
    assert "error:" not in capfd.readouterr().err


def test_a_crash_before_the_first_step_is_not_one_at_the_step_of_the_attempt_before_it(tmp_path, capfd):
    body = """
if attempt == 1: position.write(1, 50)
sys.exit(0 if attempt == 3 else 1)
"""
    assert supervise(child(tmp_path, body), retries=3) == DONE
    assert [line.partition(";")[0].rpartition(") ")[2] for line in lines(capfd)] == [
        "at step 50 of cell 1",
        "at step 0 of cell 0",
    ]


def test_when_no_attempt_is_left_the_last_line_says_so_with_the_child_s_own_reason(tmp_path, capfd):
    body = "position.write(1, attempt); position.tell('store s3://x: away'); sys.exit(1)"
    assert supervise(child(tmp_path, body), retries=1) == FAILED
    assert lines(capfd)[-1] == (
        "error: attempt 2 of 2 crashed (store s3://x: away) at step 2 of cell 1; no attempt is left"
    )


def test_without_retries_the_first_crash_is_the_last(tmp_path, capfd):
    assert supervise(child(tmp_path, "die(signal.SIGKILL)"), retries=0) == FAILED
    assert lines(capfd) == ["error: attempt 1 of 1 was killed (SIGKILL) at step 0 of cell 0; no attempt is left"]


def test_a_child_near_the_container_s_memory_is_ended_and_started_again(tmp_path, capfd, monkeypatch):
    container(tmp_path, used=100)

    def freed_by_the_dead(cgroup: Path) -> float:
        first, *_ = attempts(tmp_path) or [os.getpid()]
        if not is_running(first):
            container(tmp_path, used=100)
        return used_share(cgroup)

    monkeypatch.setattr(supervisor, "used_share", freed_by_the_dead)
    body = """
if attempt == 1:
    (folder / "more").write_text("951")
    (folder / "more").rename(folder / "cgroup" / "memory.current")
    time.sleep(60)
"""
    assert supervise(child(tmp_path, body), retries=1, cgroup=tmp_path / "cgroup") == DONE
    (line,) = lines(capfd)
    assert line.startswith("attempt 1 of 2 was ended at 95% of the container's memory at step 0 of cell 0; ")


def test_memory_again_at_the_same_step_is_the_reason_on_the_last_line(tmp_path, capfd):
    cgroup = container(tmp_path, used=951)
    assert supervise(child(tmp_path, "time.sleep(60)"), retries=5, cgroup=cgroup) == FAILED
    assert lines(capfd)[-1].startswith("error: attempt 2 of 6 was ended at 95% of the container's memory")


@pytest.mark.parametrize(
    ("used", "limit", "stat", "share"),
    [
        (500, "1000", {}, 0.5),
        (990, "1000", {"active_file": 200, "inactive_file": 300, "anon": 490}, 0.49),
        (10**12, "max", {}, 0.0),
    ],
)
def test_files_that_the_kernel_drops_fill_no_memory(tmp_path, used, limit, stat, share):
    assert used_share(container(tmp_path, used=used, limit=limit, **stat)) == pytest.approx(share)


def test_without_a_control_group_there_is_no_limit(tmp_path):
    assert used_share(tmp_path) == 0


def test_a_termination_reaches_the_child_which_saves_and_no_attempt_follows(tmp_path):
    body = """
def save(*_):
    (folder / "saved").touch()
    sys.exit(128 + signal.SIGTERM)

signal.signal(signal.SIGTERM, save)
position.write(1, 20)
(folder / "ready").touch()
time.sleep(60)
"""
    process = started(tmp_path, body)
    process.terminate()
    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == TERMINATED
    assert (tmp_path / "saved").exists()
    assert len(attempts(tmp_path)) == 1
    assert stderr.splitlines()[-1].startswith("error: asked to stop (SIGTERM) at step 20 of cell 1; ")


@pytest.mark.parametrize(
    "what",
    [
        # Also while it loads its libraries: it has no handler yet.
        "time.sleep(60)",
        "os.kill(os.getppid(), signal.SIGTERM); die(signal.SIGKILL)",
    ],
)
def test_a_child_that_dies_of_a_termination_or_after_one_is_not_started_again(tmp_path, what):
    process = started(tmp_path, f"(folder / 'ready').touch(); {what}")
    process.terminate()
    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == TERMINATED
    assert len(attempts(tmp_path)) == 1
    assert stderr.startswith("error: asked to stop (SIGTERM)")


def test_the_supervisor_gives_the_signal_back_when_it_is_done(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    supervise(child(tmp_path, "sys.exit(0)"), retries=0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_child_dies_with_its_supervisor(tmp_path):
    process = started(tmp_path, "(folder / 'ready').touch(); time.sleep(60)")
    (pid,) = attempts(tmp_path)
    assert is_running(pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
    wait_for(lambda: not is_running(pid))


def test_the_supervisor_of_a_task_imports_no_torch(tmp_path):
    program = (
        "import json, sys; from realfeatures.kubeflow.tasks.__main__ import main; code = main(sys.argv[1:]);"
        " print(json.dumps([code, 'torch' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "pretrain", "no executor input"], capture_output=True, text=True, cwd=tmp_path
    )
    assert json.loads(done.stdout) == [MENDABLE, False]
    assert done.stderr.startswith("error: 'no executor input': expected Kubeflow's executor input")
