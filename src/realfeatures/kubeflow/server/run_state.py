"""How far a run on Kubeflow is, in the words of its pipeline.

States of tasks come from the run's Argo Workflow, as the API server keeps it. The tasks that version 2beta1 of the API
lists with a run end once Argo compresses the Workflow's nodes (kubeflow/pipelines 2.17.0,
backend/src/apiserver/server/report_server.go:53), so that they would stand still in the middle of a large run.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from realfeatures.errors import ClusterError, RunFailed, one_line
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
from realfeatures.kubeflow.server.reasons import reason_of
from realfeatures.kubeflow.server.run_records import workflow_of
from realfeatures.kubeflow.server.task_states import (
    FINISHED,
    State,
    Task,
    TaskState,
    ended,
    failures,
    pipeline_tasks,
    seen_tasks,
    task_states,
)
from realfeatures.kubeflow.server.workflow import NoNodesError, Workflow, parse_workflow

POLL_SECONDS = 5.0
"""chosen: between two looks at a run, whose shortest task takes longer."""
LONGEST_POLL_SECONDS = 60.0
POLL_SHARE = 0.01
"""chosen: of a run's time so far; a Workflow has up to 1 MiB, which days of looking every few seconds would add up."""
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
UNKNOWN = (None, "", "RUNTIME_STATE_UNSPECIFIED")
SHARE_BEFORE_ESTIMATE = 0.02
"""chosen: no time left is told before this share of the tasks has shown its speed."""
EXPLAINED = 20
"""chosen: failed tasks whose logs are read; the first ones tell what is wrong."""
NO_TASKS = "Kubeflow reports no single tasks of this run"


@dataclass(frozen=True)
class RunState:
    """A run, as one look at it shows it."""

    run_id: str
    name: str
    state: str
    """Kubeflow's word for it, such as RUNNING."""
    error: str = ""
    tasks: tuple[TaskState, ...] = ()
    unread: str = ""
    """Why its tasks cannot be read, in one line; there are none then."""
    elapsed_seconds: float = 0.0
    report: str = ""
    """The run's name in the object store."""
    total: int = 0
    """How many tasks its pipeline has, nested pipelines not counted; 0: not known."""

    @property
    def finished(self) -> bool:
        """Whether it will change no more."""
        return self.state in ENDED

    @property
    def steps(self) -> tuple[TaskState, ...]:
        """The tasks that are no pipelines themselves."""
        return tuple(task for task in self.tasks if not task.nested)

    @property
    def failures(self) -> tuple[TaskState, ...]:
        """The tasks that failed by themselves, nested pipelines whose driver failed among them."""
        return failures(self.tasks)

    def seconds_left(self) -> float | None:
        """Return about how long the rest takes, by the share of tasks that are finished; None: too early to tell.

        Tasks whose results come from the cache took no time, and count for nothing.
        """
        fresh = [task for task in self.steps if task.state is not State.CACHED]
        share = sum(task.state in FINISHED for task in fresh) / len(fresh) if self.total and fresh else 0.0
        if self.finished or share < SHARE_BEFORE_ESTIMATE:
            return None
        return self.elapsed_seconds * (1 - share) / share


class Watcher:
    """Looks at a run; each look stands for itself, so that nothing old is shown.

    Args:
        kubeflow: the API server.
        run_id: of the run.
    """

    def __init__(self, kubeflow: Kubeflow, run_id: str) -> None:
        self.kubeflow, self.run_id = kubeflow, run_id
        self._pipeline: tuple[Task, ...] | None = None
        self._reasons: dict[str, str] = {}
        """Of failed tasks, by the id of the node that failed: logs are read once."""

    def look(self) -> RunState:
        """Return the run's state.

        Raises:
            ClusterError: the server refuses, or does not answer for longer than a request is tried.
        """
        run = self.kubeflow.get_run(self.run_id)
        if self._pipeline is None:
            self._pipeline = pipeline_tasks(self.kubeflow.pipeline_spec(run))
        state, error = _known(run.state), _message(run.error)
        tasks: tuple[TaskState, ...] = ()
        unread = ""
        try:
            # After the run: what is told of a run that has ended is its end.
            workflow = self._workflow()
            tasks = task_states(workflow, self._pipeline or seen_tasks(workflow))
            tasks = self._explained(workflow, tuple(map(ended, tasks)) if state in ENDED else tasks)
            error = error or one_line(workflow.message)
        except ClusterError as failure:
            unread = f"{NO_TASKS}: {failure}"
        return RunState(
            run_id=str(run.run_id),
            name=str(run.display_name),
            state=state,
            error=error,
            tasks=tasks,
            unread=unread,
            elapsed_seconds=_elapsed_seconds(run, state),
            report=_report(run),
            total=sum(not task.nested for task in self._pipeline),
        )

    def _workflow(self) -> Workflow:
        manifest = workflow_of(self.kubeflow, self.run_id)
        if not manifest:
            raise NoNodesError("the server has no Workflow of it")
        return parse_workflow(manifest)

    def _explained(self, workflow: Workflow, tasks: tuple[TaskState, ...]) -> tuple[TaskState, ...]:
        """Return the tasks, those that failed with the reason that stands in their logs."""
        failed = failures(tasks)
        explained = {task.path: task.because(task.message) for task in failed[EXPLAINED:]}
        explained |= {task.path: self._with_reason(workflow, task) for task in failed[:EXPLAINED]}
        return tuple(explained.get(task.path, task) for task in tasks)

    def _with_reason(self, workflow: Workflow, task: TaskState) -> TaskState:
        node = task.failed_node
        key = node.id if node is not None else ""
        if node is not None and key not in self._reasons:
            self._reasons[key] = reason_of(self.kubeflow, self.run_id, workflow, task)
        return task.because(self._reasons.get(key, task.message))


def watch(kubeflow: Kubeflow, run_id: str, *, pause: Callable[[float], None] = time.sleep) -> Iterator[RunState]:
    """Yield the run's state every few seconds, the last one when it is finished; of a long run, less often.

    Raises:
        ClusterError: the server refuses, or does not answer for longer than a request is tried.
    """
    watcher = Watcher(kubeflow, run_id)
    while not (state := watcher.look()).finished:
        yield state
        pause(min(max(POLL_SECONDS, POLL_SHARE * state.elapsed_seconds), LONGEST_POLL_SECONDS))
    yield state


def require_success(state: RunState) -> None:
    """Refuse a run that ended without success.

    Raises:
        RunFailed: it did; names the task and what it said.
    """
    if state.state == "SUCCEEDED":
        return
    where, error = _failure(state)
    why = error or state.error or "the reason is in the task's log"
    raise RunFailed(f"run {state.name} ({state.run_id}) {state.state.lower()}{where}: {why}")


def _failure(state: RunState) -> tuple[str, str]:
    """Return in which tasks a run failed, in words, and what the first of them said that said something."""
    failed = state.failures
    if not failed:
        return "", ""
    first = next((task for task in failed if task.message), failed[0])
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f" in task {first.name!r}{more}", first.message


def _elapsed_seconds(run: Any, state: str) -> float:
    if run.created_at is None:
        return 0.0
    # One that goes on has the year 1970.
    end = run.finished_at if state in ENDED and run.finished_at is not None else datetime.now(UTC)
    return max(0.0, float((end - run.created_at).total_seconds()))


def _report(run: Any) -> str:
    parameters = (run.runtime_config and run.runtime_config.parameters) or {}
    return str(parameters.get("report_name") or run.display_name)


def _known(state: str | None) -> str:
    return "PENDING" if state in UNKNOWN else str(state)


def _message(status: Any) -> str:
    return one_line(status.message or "") if status is not None else ""
