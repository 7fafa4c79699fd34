"""How a run of the tests' Kubeflow server goes on: the nodes that Argo makes of a pipeline's tasks."""

import uuid
from typing import Any

import kfp_server_api as api


def advance(run: Any, keys: list[str], *, fails_at: str | None) -> None:
    """Finish the running tasks and start the next ones, as the workflow engine does.

    Each task has three nodes: its driver, the task, and in it its executor.

    Args:
        run: a V2beta1Run.
        keys: of the pipeline's tasks, in the order in which they start.
        fails_at: name of the node that fails.
    """
    nodes = run.run_details.task_details
    for driver, task, executor in zip(nodes[::3], nodes[1::3], nodes[2::3], strict=True):
        for node in (driver, task):
            if node.state == "RUNNING":
                node.state = "FAILED" if node.display_name == fails_at else "SUCCEEDED"
        executor.state = task.state
    waiting = keys[len(nodes) // 3 :]
    if any(node.state == "FAILED" for node in nodes):
        run.state = "FAILED"
    elif not waiting:
        run.state = "SUCCEEDED"
    else:
        run.state = "RUNNING"
        for key in waiting[: 1 + len(keys) // 4]:
            nodes.extend(_started(key, broken=fails_at == f"{key}-driver"))


def _started(key: str, *, broken: bool) -> list[Any]:
    states = ("RUNNING", "SKIPPED", "SKIPPED") if broken else ("SUCCEEDED", "RUNNING", "RUNNING")
    return [
        api.V2beta1PipelineTaskDetail(display_name=name, task_id=str(uuid.uuid4()), state=state)
        for name, state in zip((f"{key}-driver", key, "executor"), states, strict=True)
    ]


def task_keys(spec: dict[str, Any]) -> list[str]:
    levels = [spec["root"], *(one for one in spec["components"].values() if "dag" in one)]
    return [key for level in levels for key in level["dag"]["tasks"]]
