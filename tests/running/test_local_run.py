import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_for

from realfeatures.experiment.presets import load_preset
from realfeatures.running.folder import RunFolder
from realfeatures.running.local import _stop_signals, default_jobs
from realfeatures.running.opening import open_results
from realfeatures.running.plan import Plan, make_plan
from realfeatures.science.artifacts import RUN

TINY = [
    "paradigms=supervised",
    "features=natural,d_rand",
    "experiments=E1,E2",
    "data.train_size=256",
    "data.test_size=100",
    "supervised.optimizer.epochs=30",
    "d_rand.steps=2",
    "probe.epochs=2",
    "attack.images=20",
    "attack.autoattack_images=10",
    "attack.autoattack=[]",
]
"""Fifteen cells of the digits preset, two of them trainings that take a second or two."""

SCRIPT = """
import sys
from realfeatures import load_preset, run_experiment
run_experiment(load_preset("digits", {assignments}), out=sys.argv[1], jobs=1)
"""

LONG_CELL = "seed0/natural/supervised/encoder"
PATIENCE_SECONDS = 120.0


def command(out: Path, *arguments: str) -> list[str]:
    settings = [word for assignment in TINY for word in ("--set", assignment)]
    return [sys.executable, "-m", "realfeatures.cli.main", "run", "--out", str(out), *settings, *arguments]


def run(out: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out, *arguments), capture_output=True, text=True, timeout=PATIENCE_SECONDS, **options)


def start(out: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(out, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def artifact_bytes(out: Path) -> dict[str, bytes]:
    """Every file of every finished artifact but run.json, which holds times."""
    cells = out / "cells"
    return {
        path.relative_to(cells).as_posix(): path.read_bytes()
        for path in sorted(cells.rglob("*"))
        if path.is_file() and path.name != RUN
    }


def identities(out: Path) -> dict[str, tuple[int, int]]:
    cells = out / "cells"
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in cells.rglob("*")}


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(load_preset("digits", TINY), seeds=[0])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of one uninterrupted run with two jobs."""
    out = tmp_path_factory.mktemp("finished") / "run"
    done = run(out, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    return out


def test_a_run_computes_every_cell_and_writes_the_report(finished, plan):
    assert {path.name for path in (finished / "cells").iterdir()} == set(plan.addresses.values())
    assert list((finished / "partial").iterdir()) == []
    for name in ("report.html", "report.md", "results.json", "experiment.json", "log.txt"):
        assert (finished / name).stat().st_size > 0


def test_a_finished_run_opens_by_its_folder_s_name_with_the_report_s_tables(finished, monkeypatch):
    monkeypatch.chdir(finished.parent)
    results = open_results(finished.name)
    assert results.report == finished / "report.html"
    assert "supervised" in str(results.table("usefulness"))
    assert results.accuracy(paradigm="supervised", features="natural").seeds == 1


def test_a_rerun_computes_nothing_and_imports_no_torch(copy):
    before = identities(copy)
    program = (
        "import sys; from realfeatures.cli.main import main; code = main(); sys.exit('torch' in sys.modules or code)"
    )
    arguments = command(copy)[3:]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert identities(copy) == before


def test_what_a_kill_left_of_a_cell_on_its_way_to_a_store_is_removed(copy):
    before = identities(copy)
    (copy / "cells" / ".packed").write_bytes(b"half")
    (copy / "cells" / ".unpacked").mkdir()
    done = run(copy)
    assert done.returncode == 0, done.stderr
    assert identities(copy) == before


@pytest.mark.slow  # a run that is stopped and goes on, below, compares the same bytes
def test_one_job_and_two_give_the_same_bytes(finished, tmp_path):
    out = tmp_path / "run"
    done = run(out, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert artifact_bytes(out) == artifact_bytes(finished)


def test_a_run_that_is_stopped_and_then_killed_ends_with_the_same_bytes(finished, plan, tmp_path):
    out = tmp_path / "run"
    work = out / "partial" / plan.addresses[LONG_CELL]

    stopped = start(out, "--jobs", "1")
    wait_for((work / "output").exists)
    time.sleep(0.3)  # into its first epochs
    os.killpg(stopped.pid, signal.SIGINT)  # as a terminal does: the run and its workers
    _, stderr = stopped.communicate(timeout=PATIENCE_SECONDS)
    assert stopped.returncode == 130
    assert f"of {len(plan.grid)} cells are done; go on with: realfeatures run" in stderr
    assert "Traceback" not in stderr
    assert (work / "checkpoint.safetensors").exists()

    killed = start(out, "--jobs", "1")
    wait_for((work / "output").exists)
    workers = workers_of(killed.pid)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=PATIENCE_SECONDS)
    wait_for(lambda: not any(is_running(worker) for worker in workers))
    assert (work / "checkpoint.safetensors").exists()

    done = run(out, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "cells" / plan.addresses[LONG_CELL] / RUN).read_bytes())["resumed"] is True
    assert artifact_bytes(out) == artifact_bytes(finished)
    assert list((out / "partial").iterdir()) == []


def test_an_interrupt_of_a_script_says_how_to_go_on(plan, tmp_path):
    words = [sys.executable, "-c", SCRIPT.format(assignments=TINY), str(tmp_path / "run")]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for((tmp_path / "run" / "partial" / plan.addresses[LONG_CELL] / "output").exists)
    os.killpg(running.pid, signal.SIGINT)
    _, stderr = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 1
    last = stderr.splitlines()[-1]
    assert last.startswith("realfeatures.errors.Interrupted: ")
    assert last.endswith(
        f" of {len(plan.grid)} cells are done; checkpoints are saved; run the same call again to go on"
    )


def test_a_second_interrupt_says_how_to_go_on_too():
    with _stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt, match="are kept; run the same call again to go on"):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_a_second_interrupt_ends_the_run_at_once(plan, tmp_path):
    out = tmp_path / "run"
    running = start(out, "--jobs", "1")
    wait_for((out / "partial" / plan.addresses[LONG_CELL] / "output").exists)
    workers = workers_of(running.pid)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # a stage that does not come to its next step
    os.killpg(running.pid, signal.SIGINT)
    time.sleep(0.5)
    assert running.poll() is None
    os.killpg(running.pid, signal.SIGINT)
    _, stderr = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 130
    assert "interrupted; go on with: realfeatures run" in stderr
    assert "Traceback" not in stderr
    wait_for(lambda: not any(is_running(worker) for worker in workers))


def test_a_worker_that_dies_is_one_line_that_names_its_cell(plan, tmp_path):
    out = tmp_path / "run"
    running = start(out, "--jobs", "1")
    wait_for((out / "partial" / plan.addresses[LONG_CELL] / "output").exists)
    for worker in workers_of(running.pid):
        os.kill(worker, signal.SIGKILL)
    _, stderr = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 75
    assert stderr.startswith(f"error: {LONG_CELL}: its process died (SIGKILL)")
    assert stderr.count("\n") == 1


def test_a_full_disk_leaves_nothing_half_written(plan, tmp_path):
    out = tmp_path / "run"

    def allow_small_files() -> None:
        # The data fits, an encoder does not; what a write then meets is an OSError, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    failed = run(out, "--jobs", "1", preexec_fn=allow_small_files)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: cannot write ")
    assert failed.stderr.count("\n") == 1
    assert {path.name for path in (out / "cells").iterdir()} == {plan.addresses["data"]}
    leftovers = [path for path in out.rglob("*") if path.is_file() and "cells" not in path.parts]
    assert {path.name for path in leftovers} == {"experiment.json", "log.txt", ".lock"}


def test_a_changed_artifact_is_refused(copy, plan):
    path = copy / "cells" / plan.addresses["data"] / "train.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    failed = run(copy)
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"error: {plan.addresses['data']}/train.safetensors: sha256 does not match")
    assert failed.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_missing_cell_alone_is_computed_again(copy, plan, finished):
    lost = copy / "cells" / plan.addresses["seed0/controls/pixels/attack/natural"]
    before = identities(copy)
    shutil.rmtree(lost)
    done = run(copy)
    assert done.returncode == 0, done.stderr
    kept = {path: identity for path, identity in before.items() if not path.startswith(str(lost))}
    kept.pop(str(copy / "cells"), None)
    assert kept.items() <= identities(copy).items()
    assert artifact_bytes(copy) == artifact_bytes(finished)


def test_one_run_at_a_time_uses_a_folder(copy):
    with (copy / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = run(copy)
    assert refused.returncode == 2
    assert "another run uses this folder" in refused.stderr


def test_a_folder_of_another_experiment_is_refused(copy):
    before = identities(copy)
    refused = run(copy, "--set", "probe.epochs=3")
    assert refused.returncode == 2
    assert "holds another experiment: probe.epochs is 2 there and 3 here; choose another --out" in refused.stderr
    assert identities(copy) == before


def test_an_experiment_can_be_added_in_the_same_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    for names in ("E1", "E1,E3"):
        preset = load_preset("digits", [f"experiments={names}"])
        with folder.claim(preset, seeds=[0]):
            pass
        assert folder.require_experiment()[0] == preset


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    refused = run(tmp_path)
    assert refused.returncode == 2
    assert "'thesis.tex' and no experiment" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("below", ["", "below"], ids=["a file", "below a file"])
def test_an_output_that_is_no_folder_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    refused = run(tmp_path / "file" / below)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: cannot write {tmp_path / 'file'}")
    assert refused.stderr.count("\n") == 1


def test_a_damaged_experiment_file_is_refused(copy):
    (copy / "experiment.json").write_text("{")
    refused = run(copy)
    assert refused.returncode == 2
    assert "experiment.json: is damaged" in refused.stderr


def test_the_cells_of_a_gpu_run_one_at_a_time():
    assert default_jobs(load_preset("paper")) == 1
    assert default_jobs(load_preset("digits")) == len(os.sched_getaffinity(0))
    assert default_jobs(load_preset("digits", ["runtime.threads=1000"])) == 1
