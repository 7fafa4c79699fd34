"""A run on Kubeflow while it goes on: the states of its tasks by their names, how it failed, and what is shown."""

import pytest
from kfp_http import Fault
from kfp_workflow import task_keys
from small_pipeline import compile_small, started

from realfeatures.cli.watching import follow, table_of
from realfeatures.errors import RunFailed
from realfeatures.kubeflow.server.run_state import RunState, TaskState, require_success, task_names, watch


def test_a_run_is_watched_to_its_end(kubeflow, paper):
    states = list(watch(kubeflow, started(kubeflow, paper), pause=lambda _seconds: None))
    assert states[-1].state == "SUCCEEDED"
    assert {task.state for task in states[-1].tasks} == {"SUCCEEDED"}
    names = [task.name for task in states[-1].steps]
    assert {"configure", "prepare data", "report", "natural: evaluate / superv own head"} < {*names}
    assert len(set(names)) == len(names) == states[-1].total
    require_success(states[-1])


def test_tasks_of_several_nested_pipelines_are_told_apart(kubeflow, tmp_path):
    path = compile_small(tmp_path / "paper.yaml", "features=[natural, robust]")
    state = follow(kubeflow, started(kubeflow, path), pause=lambda _seconds: None)
    names = [task.name for task in state.steps]
    assert {f"{kind}: evaluate / superv own head" for kind in ("natural", "robust")} < {*names}
    assert len(names) == state.total


@pytest.mark.parametrize("driver_fails", [False, True])
def test_a_run_that_fails_midway_names_the_innermost_task(driver_fails, kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    spec = server.spec_of(server.runs[run_id])
    task = "natural: evaluate / superv own head"
    server.fails_at = next(key for key, name in task_names(spec).items() if name.text == task)
    server.driver_fails = driver_fails
    state = follow(kubeflow, run_id, pause=lambda _seconds: None)
    expected = rf"run first \({run_id}\) failed in task '{task}': the reason is in the task's log"
    with pytest.raises(RunFailed, match=expected) as raised:
        require_success(state)
    assert "\n" not in str(raised.value)


def test_a_reason_that_a_newer_server_gives_is_told_in_one_line():
    tasks = (TaskState("a", "FAILED"), TaskState("b", "FAILED", "error: probe.epochs: expected at least 1"))
    with pytest.raises(RunFailed, match=r"in task 'b' and 1 more: error: probe\.epochs"):
        require_success(RunState("id", "first", "FAILED", "", tasks))


def test_a_run_whose_version_was_deleted_is_watched_by_the_keys_of_its_tasks(kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    server.faults = [Fault("GET /apis/v2beta1/pipelines/", 404)]
    names = {task.name for task in list(watch(kubeflow, run_id, pause=lambda _seconds: None))[-1].tasks}
    assert names == set(task_keys(server.spec_of(server.runs[run_id])))


def test_progress_elsewhere_than_on_a_terminal_is_one_line_a_change(kubeflow, paper, caplog):
    caplog.set_level("INFO", logger="realfeatures")
    follow(kubeflow, started(kubeflow, paper), pause=lambda _seconds: None)
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("prepare data: running") == 1
    assert lines.count("prepare data: succeeded") == 1
    assert lines[-1] == "run first: succeeded"


def test_a_terminal_shows_counts_and_what_runs_or_failed():
    tasks = (TaskState("a", "SUCCEEDED"), TaskState("b", "RUNNING"), TaskState("c", "FAILED", "out of memory"))
    table = table_of(RunState("id", "first", "RUNNING", "", tasks, total=5))
    assert str(table.title) == "first: running; 1 failed, 1 running, 1 succeeded, 2 waiting"
    assert table.row_count == 2
