"""The states of a pipeline's tasks, from the nodes of its Workflow.

Kubeflow makes of each task a driver (a pod, at the task's path with `-driver`), and the task itself: of a nested
pipeline a level with its tasks in it, of all others a level with one `executor`, a pod, or none where the results come
from the cache (kubeflow/pipelines 2.17.0, backend/src/v2/compiler/argocompiler/dag.go:249-336, container.go).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from realfeatures.errors import one_line
from realfeatures.kubeflow.server.workflow import Node, Path, Workflow
from realfeatures.kubeflow.spec import levels

ROOT = "root"
"""What the engine calls the pipeline itself."""
EXECUTOR = "executor"
DRIVER = "-driver"
"""How the key of a task's driver ends."""
BROKEN = ("Failed", "Error")
LEFT_OUT = ("Skipped", "Omitted")
"""Phases of nodes that never begin: of a condition, of the cache, after a failure."""


class State(StrEnum):
    """How far a task is, as a person reads it."""

    WAITING = "waiting"
    STARTING = "starting"
    """Its driver is at work, or its pod waits for a node or for its next try."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CACHED = "from the cache"
    FAILED = "failed"
    SKIPPED = "not run"
    """What it reads from failed, or the run ended before."""
    STOPPED = "stopped"
    """The run ended while it was at work."""


FINISHED = (State.SUCCEEDED, State.CACHED)


class Task(NamedTuple):
    """A task of a pipeline."""

    path: Path
    """Its key, after those of the pipelines that it is in: keys may repeat in nested pipelines."""
    name: str
    """What a person reads on it, with the pipelines that it is in."""
    nested: bool = False
    """Whether it is a pipeline itself."""


PIPELINE = Task((), "the pipeline", nested=True)
"""The pipeline itself, whose driver may fail as any other."""


@dataclass(frozen=True)
class TaskState:
    """A task of a run."""

    path: Path
    name: str
    state: State
    message: str = ""
    """Why it failed, or why it does not start."""
    nested: bool = False
    tries: int = 1
    driver_failed: bool = False
    """Whether it is not the task that failed, but what Kubeflow runs before it."""
    failed_node: Node | None = None
    """The pod that failed last."""

    def because(self, reason: str) -> "TaskState":
        """Return it with the reason of its failure; a driver's failure is told as such."""
        what = "Kubeflow's driver failed before it began" if self.driver_failed else ""
        return replace(self, message=": ".join(part for part in (what, reason) if part))


def pipeline_tasks(spec: Mapping[str, Any]) -> tuple[Task, ...]:
    """Return the tasks of a compiled pipeline, itself and nested pipelines included; empty where it cannot be read."""
    tasks = [PIPELINE]
    try:
        for level in levels(spec):
            for key, task in level.tasks.items():
                name = " / ".join([*level.path, task["taskInfo"]["name"]])
                component = spec["components"][task["componentRef"]["name"]]
                tasks.append(Task((*level.keys, key), name, "dag" in component))
    except (KeyError, TypeError, AttributeError):
        return ()
    return _told_apart(tasks)


def seen_tasks(workflow: Workflow) -> tuple[Task, ...]:
    """Return the tasks that the Workflow has begun, named by their keys, for a pipeline that the server has no more."""
    paths = [
        (*path[1:-1], path[-1].removesuffix(DRIVER))
        for path in workflow.nodes
        if len(path) > 1 and path[0] == ROOT and path[-1].endswith(DRIVER)
    ]
    holders = {path[:-1] for path in paths}
    return (PIPELINE, *(Task(path, " / ".join(path), path in holders) for path in paths))


def task_states(workflow: Workflow, tasks: Iterable[Task]) -> tuple[TaskState, ...]:
    """Return the state of each task; none is older than the Workflow."""
    return tuple(_state(workflow, task) for task in tasks)


def ended(task: TaskState) -> TaskState:
    """Return a task's state after the end of its run, with which whatever was at work stopped."""
    stops = {State.WAITING: State.SKIPPED, State.STARTING: State.STOPPED, State.RUNNING: State.STOPPED}
    return replace(task, state=stops.get(task.state, task.state))


def failures(tasks: Sequence[TaskState]) -> tuple[TaskState, ...]:
    """Return the tasks that failed by themselves, not for what is in them."""
    failed = [task for task in tasks if task.state is State.FAILED]
    return tuple(
        task for task in failed if not any(_is_in(other.path, task.path) for other in failed if other is not task)
    )


def _state(workflow: Workflow, task: Task) -> TaskState:
    path = (ROOT, *task.path)
    driver_path = (*path[:-1], path[-1] + DRIVER)
    found = TaskState(task.path, task.name, State.WAITING, nested=task.nested)
    node, driver = workflow.whole(path), workflow.whole(driver_path)
    if driver is not None and driver.phase in BROKEN:
        return _failed(replace(found, driver_failed=True), driver, workflow.last_try(driver_path))
    if node is not None:
        return _own_state(workflow, found, node, path)
    if driver is None:
        return found
    return replace(
        found,
        state=State.SKIPPED if driver.phase in LEFT_OUT else State.STARTING,
        message=_message(workflow.last_try(driver_path)),
    )


def _own_state(workflow: Workflow, found: TaskState, node: Node, path: Path) -> TaskState:
    """Return the state of a task whose driver is done."""
    executor = workflow.last_try((*path, EXECUTOR))
    found = replace(found, tries=workflow.count_tries((*path, EXECUTOR)))
    if node.phase == "Succeeded":
        cached = executor is not None and executor.phase in LEFT_OUT
        return replace(found, state=State.CACHED if cached else State.SUCCEEDED)
    if node.phase in BROKEN:
        return _failed(found, node, executor or workflow.last_try(path))
    if node.phase in LEFT_OUT:
        return replace(found, state=State.SKIPPED)
    if found.nested or (executor is not None and executor.phase in ("Running", "Succeeded")):
        return replace(found, state=State.RUNNING)
    waits = workflow.whole((*path, EXECUTOR)) or executor
    return replace(found, state=State.STARTING, message=_message(executor) or _message(waits))


def _failed(found: TaskState, node: Node, pod: Node | None) -> TaskState:
    message = _message(pod) or _message(node)
    return replace(found, state=State.FAILED, message=message, failed_node=pod if pod and pod.kind == "Pod" else None)


def _message(node: Node | None) -> str:
    return one_line(node.message) if node is not None else ""


def _is_in(path: Path, outer: Path) -> bool:
    return len(path) > len(outer) and path[: len(outer)] == outer


def _told_apart(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return tasks of which no two have one name: those that had are named with their keys, too."""
    counts = Counter(task.name for task in tasks)
    return tuple(
        task if counts[task.name] == 1 else task._replace(name=f"{task.name} ({'.'.join(task.path)})") for task in tasks
    )
