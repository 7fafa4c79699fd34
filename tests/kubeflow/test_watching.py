"""A run on Kubeflow while it goes on: the states of its tasks by their names, how it failed, and what is shown."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from kept_workflows import put
from kfp_http import Fault
from rich.console import Console
from small_pipeline import compile_small, started

from realfeatures.cli import watching
from realfeatures.cli.watching import follow, line_of, summary_of, table_of
from realfeatures.errors import RunFailed
from realfeatures.kubeflow.server.run_state import LONGEST_POLL_SECONDS, NO_TASKS, RunState, require_success, watch
from realfeatures.kubeflow.server.task_states import State, TaskState, pipeline_tasks

WORKFLOWS = "GET /apis/v1beta1/runs/"


def task(name: str, state: State, message: str = "", **rest) -> TaskState:
    return TaskState((name,), name, state, message, **rest)


RUN = RunState(
    "id",
    "first",
    "RUNNING",
    tasks=(
        task("a", State.SUCCEEDED),
        task("b", State.CACHED),
        task("c", State.RUNNING, tries=2),
        task("d", State.FAILED, "out of memory"),
        task("e", State.STARTING, "Unschedulable: Insufficient cpu"),
        task("f", State.WAITING),
    ),
    elapsed_seconds=60.0,
    total=6,
)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_run_is_watched_to_its_end(wrapped, packed, kubeflow, server, paper):
    server.wrapped, server.packed = wrapped, packed
    states = list(watch(kubeflow, started(kubeflow, paper), pause=lambda _seconds: None))
    assert State.RUNNING in {task.state for task in states[0].steps}
    assert states[-1].state == "SUCCEEDED"
    assert {task.state for task in states[-1].steps} == {State.SUCCEEDED}
    names = [task.name for task in states[-1].steps]
    assert {"configure", "prepare data", "report", "repetition 1 / natural supervised / superv own head"} < {*names}
    assert len(set(names)) == len(names) == states[-1].total
    require_success(states[-1])


def test_tasks_of_several_nested_pipelines_are_told_apart(kubeflow, tmp_path):
    path = compile_small(tmp_path / "paper.yaml", "features=[natural, robust]")
    state = follow(kubeflow, started(kubeflow, path), pause=lambda _seconds: None)
    names = [task.name for task in state.steps]
    assert {f"repetition 1 / {kind} supervised / superv own head" for kind in ("natural", "robust")} < {*names}
    assert len(names) == state.total


@pytest.mark.parametrize("driver_fails", [False, True])
def test_a_run_that_fails_midway_names_the_innermost_task(driver_fails, kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    name = "repetition 1 / natural supervised / superv own head"
    found = next(one for one in pipeline_tasks(server.spec_of(server.runs[run_id])) if one.name == name)
    server.fails_at, server.driver_fails = ".".join(found.path), driver_fails
    state = follow(kubeflow, run_id, pause=lambda _seconds: None)
    why = r"Kubeflow's driver failed before it began: main: Error" if driver_fails else "main: Error"
    with pytest.raises(RunFailed, match=rf"run first \({run_id}\) failed in task '{name}': {why}") as raised:
        require_success(state)
    assert "\n" not in str(raised.value)
    assert not {task.state for task in state.tasks} & {State.WAITING, State.STARTING, State.RUNNING}


def test_the_first_reason_is_told_with_how_many_failed():
    failed = (task("a", State.FAILED), task("b", State.FAILED, "probe.epochs: expected at least 1"))
    with pytest.raises(RunFailed, match=r"in task 'b' and 1 more: probe\.epochs"):
        require_success(RunState("id", "first", "FAILED", tasks=failed))
    with pytest.raises(RunFailed, match=r"run first \(id\) failed: workflow is longer than"):
        require_success(RunState("id", "first", "FAILED", error="workflow is longer than maximum allowed size."))


@pytest.mark.parametrize("status", [403, 404])
def test_a_run_whose_version_is_not_shown_is_watched_by_the_keys_of_its_tasks(status, kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    server.faults = [Fault("GET /apis/v2beta1/pipelines/", status)]
    state = list(watch(kubeflow, run_id, pause=lambda _seconds: None))[-1]
    assert {".".join(task.path) for task in state.tasks} == {"", *map(".".join, server.engines[run_id].paths)}
    assert len(state.steps) == len(server.engines[run_id].steps)
    assert f"; {len(state.steps)} tasks finished; " in summary_of(state)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(WORKFLOWS, 403), "may not do that (403)"),
        (Fault(WORKFLOWS, 404), "there is none (404)"),
        (Fault(WORKFLOWS, 500), "answered 500"),
        (Fault(WORKFLOWS, 200, page=True), "wants a sign-in"),
        (Fault(WORKFLOWS, 200), "the server has no Workflow of it"),
        (Fault(WORKFLOWS, drop=True), "no answer"),
    ],
)
def test_tasks_that_cannot_be_read_are_one_line_and_never_old_rows(fault, expected, kubeflow, server, paper, caplog):
    caplog.set_level("INFO", logger="realfeatures")
    run_id = started(kubeflow, paper)
    states = watch(kubeflow, run_id, pause=lambda _seconds: None)
    assert next(states).tasks
    server.faults = [fault]
    blind = next(states)
    assert blind.tasks == ()
    assert blind.unread.startswith(NO_TASKS)
    assert expected in blind.unread
    assert "\n" not in blind.unread
    assert table_of(blind).row_count == 0
    last = follow(kubeflow, run_id, pause=lambda _seconds: None)
    lines = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert [line for line in lines if NO_TASKS in line] == [last.unread]
    assert lines[-1].startswith("run first: succeeded; ")
    assert "tasks finished" not in lines[-1]


def test_progress_elsewhere_than_on_a_terminal_is_one_line_a_change(kubeflow, paper, caplog, monkeypatch):
    caplog.set_level("INFO", logger="realfeatures")
    follow(kubeflow, started(kubeflow, paper), pause=lambda _seconds: None)
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("prepare data: running") == 1
    assert lines.count("prepare data: succeeded") == 1
    assert lines[-1].startswith("run first: succeeded; ")
    assert not any("so far" in line for line in lines)
    monkeypatch.setattr(watching.Pace, "is_due", lambda _self: True)
    follow(kubeflow, started(kubeflow, paper), pause=lambda _seconds: None)
    assert any("tasks finished" in record.getMessage() for record in caplog.records[len(lines) : -1])


def test_a_failure_is_told_with_its_reason_as_soon_as_it_is_seen(kubeflow, server, caplog):
    caplog.set_level("INFO", logger="realfeatures")
    put(server, "failures", state="FAILED")
    follow(kubeflow, "failures", pause=lambda _seconds: None)
    lines = [record.getMessage() for record in caplog.records]
    probe = "evaluate non-robust features / supervised: probe on natural: failed: main: Error (exit code 1)"
    assert probe in lines
    attack = "evaluate non-robust features / supervised: attack, own head: failed: Kubeflow's driver failed before it"
    assert any(line.startswith(attack) for line in lines)
    assert lines[-1] == "run failures: failed; 0 of 5 tasks finished, 2 failed, 1 not run, 2 stopped; 0.0 s"


def test_a_terminal_shows_how_far_a_run_is_and_what_failed_runs_or_starts():
    assert summary_of(RUN) == (
        "first: running; 2 of 6 tasks finished (1 from the cache), 1 waiting, 1 starting, 1 running, 1 failed;"
        " 1 min 0 s so far, about 4 min 0 s left"
    )
    table = table_of(RUN)
    assert str(table.title) == summary_of(RUN)
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table)
    rows = [" ".join(line.split()) for line in captured.get().splitlines()][-3:]
    assert rows == ["failed d out of memory", "running c (try 2)", "starting e Unschedulable: Insufficient cpu"]
    assert line_of(RUN.tasks[3]) == "d: failed: out of memory"


def test_the_time_left_is_told_once_tasks_have_shown_their_speed():
    assert RUN.seconds_left() == pytest.approx(60.0 * 4)  # of five that were not in the cache one is done
    assert replace(RUN, tasks=RUN.tasks[1:]).seconds_left() is None
    assert replace(RUN, total=0).seconds_left() is None
    assert replace(RUN, state="FAILED").seconds_left() is None
    assert "left" not in summary_of(replace(RUN, unread="why", tasks=()))


def test_a_long_run_is_looked_at_less_often(kubeflow, server):
    pauses: list[float] = []
    put(server, "failures")
    for hours in (0.0, 0.5, 48.0):
        server.runs["failures"].created_at = datetime.now(UTC) - timedelta(hours=hours)
        states = watch(kubeflow, "failures", pause=lambda seconds: pauses.append(round(seconds)))
        next(states)
        next(states)
    assert pauses == [5, 18, LONGEST_POLL_SECONDS]
