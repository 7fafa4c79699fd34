"""How far a run on Kubeflow is, in the words of its pipeline.

Kubeflow up to 2.17 tells the nodes of its workflow engine: of each task a driver, a node named by the task's key,
and in it one named `executor` (kubeflow/pipelines, backend/src/v2/compiler/argocompiler). It tells no failure's reason.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from realfeatures.errors import RunFailed, one_line
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
from realfeatures.kubeflow.spec import levels

POLL_SECONDS = 5.0
"""chosen: between two looks at a run, whose shortest task takes longer."""
FINISHED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
UNKNOWN = {None, "", "RUNTIME_STATE_UNSPECIFIED"}
DRIVER = "-driver"
"""How the name of the node ends that prepares a task."""
ENGINE = {"", "root", "executor"}
"""Names of nodes that are no task."""


@dataclass(frozen=True)
class TaskName:
    """What a person reads on a task."""

    text: str
    """With the nested pipelines that it is in."""
    nested: bool = False
    """Whether it is a pipeline itself."""


@dataclass(frozen=True)
class TaskState:
    """A task of a run."""

    name: str
    state: str
    error: str = ""
    nested: bool = False


@dataclass(frozen=True)
class RunState:
    """A run, as one look at it shows it."""

    run_id: str
    name: str
    state: str
    error: str
    tasks: tuple[TaskState, ...]
    report: str = ""
    """The run's name in the object store."""
    total: int = 0
    """How many tasks its pipeline has; 0: not known."""

    @property
    def finished(self) -> bool:
        """Whether it will change no more."""
        return self.state in FINISHED

    @property
    def steps(self) -> tuple[TaskState, ...]:
        """The tasks that are no pipelines themselves."""
        return tuple(task for task in self.tasks if not task.nested)


def task_names(spec: Mapping[str, Any]) -> dict[str, TaskName]:
    """Return what a person reads on each task of a compiled pipeline, by its key; a key that two share names itself."""
    names: dict[str, TaskName] = {}
    for level in levels(spec) if spec else ():
        for key, task in level.tasks.items():
            text = " / ".join([*level.path, task["taskInfo"]["name"]])
            component = spec["components"][task["componentRef"]["name"]]
            names[key] = TaskName(key if key in names else text, "dag" in component)
    return names


def state_of(run: Any, names: Mapping[str, TaskName]) -> RunState:
    """Return the state of a run, a V2beta1Run, whose pipeline has these tasks."""
    parameters = (run.runtime_config and run.runtime_config.parameters) or {}
    return RunState(
        run_id=str(run.run_id),
        name=str(run.display_name),
        state=_known(run.state),
        error=_message(run.error),
        tasks=tuple(_tasks(run, names).values()),
        report=str(parameters.get("run_name") or run.display_name),
        total=sum(not name.nested for name in names.values()),
    )


def watch(kubeflow: Kubeflow, run_id: str, *, pause: Callable[[float], None] = time.sleep) -> Iterator[RunState]:
    """Yield the run's state every few seconds, the last one when it is finished.

    Raises:
        ClusterError: the server refuses, or does not answer for longer than a request is tried.
    """
    run = kubeflow.get_run(run_id)
    names = task_names(kubeflow.pipeline_spec(run))
    while not (state := state_of(run, names)).finished:
        yield state
        pause(POLL_SECONDS)
        run = kubeflow.get_run(run_id)
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
    tasks = [task for task in state.tasks if task.state == "FAILED"]
    steps = [task for task in tasks if not task.nested] or tasks
    if not steps:
        return "", ""
    first = next((task for task in steps if task.error), steps[0])
    more = f" and {len(steps) - 1} more" if len(steps) > 1 else ""
    return f" in task {first.name!r}{more}", first.error


def _tasks(run: Any, names: Mapping[str, TaskName]) -> dict[str, TaskState]:
    """Return the tasks by name; one whose driver failed has failed."""
    tasks: dict[str, TaskState] = {}
    for node in (run.run_details and run.run_details.task_details) or ():
        label, state = str(node.display_name or ""), _known(node.state)
        key = label.removesuffix(DRIVER)
        if label in ENGINE or label.startswith("executor(") or (names and key not in names):
            continue
        name = names.get(key, TaskName(key))
        failed = name.text in tasks and tasks[name.text].state == "FAILED"
        if state == "FAILED" or (key == label and not failed):
            tasks[name.text] = TaskState(name.text, state, _message(node.error), name.nested)
    return tasks


def _known(state: str | None) -> str:
    return "PENDING" if state in UNKNOWN else str(state)


def _message(status: Any) -> str:
    return one_line(status.message or "") if status is not None else ""
