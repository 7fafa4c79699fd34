"""Stable names for a compiled pipeline's components, tasks and executors.

kfp 2.17 numbers those of nested pipelines in an order that changes from process to process. kfp.local
keys its cache, and names a task's folder, by the component: the same experiment must have the same names.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from realfeatures.kubeflow.spec import levels


def name_components(spec: dict[str, Any]) -> None:
    """Name every component, in place, after what a person reads on its task and on those around it."""
    named: dict[str, Any] = {}
    for level in levels(spec):
        for task in level.tasks.values():
            name = _component_name((*level.path, task["taskInfo"]["name"]))
            named[name] = spec["components"][task["componentRef"]["name"]]
            task["componentRef"]["name"] = name
    spec["components"] = named


def number_tasks(spec: dict[str, Any]) -> None:
    """Give the tasks of every nested pipeline keys that no other level has, in place.

    Kubeflow tells a run's tasks by their keys alone, and kfp calls the first attack of each level `attack`. A number
    is short: a key stands in the workflow a dozen times, and the workflow's size is limited.
    """
    nested = sorted(levels(spec)[1:], key=lambda level: _component_name(level.path))
    for number, level in enumerate(nested, start=1):
        keys = {key: f"{key}-l{number}" for key in level.tasks}
        level.component["dag"] = _renamed(level.component["dag"], keys)


def _component_name(path: Sequence[str]) -> str:
    return "-".join(["comp", *map(slug, path)])


def _renamed(value: Any, keys: Mapping[str, str], field: str = "") -> Any:
    """Return a part of a pipeline with other keys of tasks, wherever one stands."""
    if isinstance(value, dict):
        return {keys[name] if field == "tasks" else name: _renamed(inner, keys, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, keys, field) for inner in value]
    return keys[value] if field in ("producerTask", "producerSubtask", "dependentTasks") else value


def share_executors(spec: dict[str, Any]) -> None:
    """Let all components with equal containers name one executor, in place.

    kfp gives each task an executor of its own. Where it renames those of nested pipelines, it leaves some
    unused and gives theirs to others; here every executor is equal to the one that its task had.
    """
    executors = spec["deploymentSpec"]["executors"]
    labels: dict[str, str] = {}
    for _, component in sorted(spec["components"].items()):
        if "executorLabel" in component:
            executor = executors[component["executorLabel"]]
            text = json.dumps(executor, sort_keys=True)
            function = slug(executor["container"]["args"][-1])
            component["executorLabel"] = labels.setdefault(text, f"exec-{function}-{len(labels) + 1}")
    spec["deploymentSpec"]["executors"] = {label: json.loads(text) for text, label in labels.items()}


def executor_functions(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of the component function that each executor runs, by the executor's label."""
    executors = spec["deploymentSpec"]["executors"]
    return {label: str(executor["container"]["args"][-1]) for label, executor in executors.items()}


def slug(name: str) -> str:
    """Return a name in lower case, digits and hyphens, as Kubernetes wants it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
