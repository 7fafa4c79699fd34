"""How a run of the tests' Kubeflow server goes on: the Argo Workflow that its engine makes of a pipeline's tasks.

Of the nodes it has what a watcher reads, under the names and ids that Argo gives them (kubeflow/workflows/ holds real
ones). KFP 2.17 wraps each driver, level and executor into a node of tries, older releases do not.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

from realfeatures.kubeflow.server.workflow import fnv1a32

Path = tuple[str, ...]
DRIVERS, EXECUTORS = "system-container-driver", "system-container-impl"
"""Templates."""


class Engine:
    """A run's tasks, a few of which go on at every look."""

    def __init__(self, name: str, spec: dict[str, Any], *, wrapped: bool) -> None:
        self.name, self.wrapped = name, wrapped
        self.paths = list(_paths(spec, spec["root"], ()))
        self.steps = [path for path in self.paths if not any(_inside(other, path) for other in self.paths)]
        self.phases: dict[Path, str] = {}
        """Of the steps that began, and of their drivers, under the key of a driver."""

    def advance(self, fails_at: str | None, *, driver_fails: bool) -> str:
        """Finish what runs and start the next steps; return the run's state."""
        for path, phase in self.phases.items():
            if phase == "Running":
                self.phases[path] = "Failed" if ".".join(path).removesuffix("-driver") == fails_at else "Succeeded"
        waiting = [step for step in self.steps if driver_of(step) not in self.phases]
        if "Failed" in self.phases.values():
            return "FAILED"
        if not waiting:
            return "SUCCEEDED"
        for step in waiting[: 1 + len(self.steps) // 4]:
            if driver_fails and ".".join(step) == fails_at:
                self.phases[driver_of(step)] = "Running"
            else:
                self.phases |= {driver_of(step): "Succeeded", step: "Running"}
        return "RUNNING"

    def manifest(self, *, packed: bool) -> str:
        """Return the Workflow as JSON; packed: as one whose nodes were too many."""
        nodes = {node["id"]: node for node in self._nodes()}
        content = base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()
        return json.dumps(
            {
                "metadata": {"name": self.name, "namespace": "kubeflow"},
                "status": {"compressedNodes": content} if packed else {"nodes": nodes},
            }
        )

    def pod_of(self, path: str) -> str:
        """Return the name of the pod of what is at a path, such as `report.executor`."""
        template = DRIVERS if path.endswith("-driver") else EXECUTORS
        (name,) = {node["name"] for node in self._nodes() if node["type"] == "Pod" and _plain(node["name"]) == path}
        return f"{self.name}-{template}-{fnv1a32(name)}"

    def _nodes(self) -> Iterator[dict[str, Any]]:
        phase = "Failed" if "Failed" in self.phases.values() else "Running"
        level = yield from self._tries("", "", "DAG", phase)
        yield from self._tries(level, "root-driver", "Pod", "Succeeded")
        root = yield from self._tries(level, "root", "DAG", phase)
        names: dict[Path, str] = {(): root}
        for path in self.paths:
            outer = names.get(path[:-1])
            if outer is None:
                continue
            began = path not in self.steps and self._phase(path)
            if driver := "Succeeded" if began else self.phases.get(driver_of(path)):
                yield from self._tries(outer, driver_of(path)[-1], "Pod", driver)
            if phase := self._phase(path):
                names[path] = yield from self._tries(outer, path[-1], "DAG", phase)
                if path in self.steps:
                    yield from self._tries(names[path], "executor", "Pod", phase)

    def _phase(self, path: Path) -> str:
        """Return a step's phase, or of a nested pipeline the one that its steps make; empty: not begun."""
        if path in self.phases or path in self.steps:
            return self.phases.get(path, "")
        inside = [step for step in self.steps if _inside(step, path)]
        phases = {self.phases.get(step) or self.phases.get(driver_of(step), "") for step in inside}
        found = next((phase for phase in ("Failed", "Running") if phase in phases), "")
        return found or ("Succeeded" if phases == {"Succeeded"} else "Running" if "Succeeded" in phases else "")

    def _tries(self, outer: str, key: str, kind: str, phase: str) -> Iterator[dict[str, Any]]:
        """Yield the nodes of one thing; return the name by which what is in it is called."""
        name = f"{outer}.{key}" if key else self.name
        if not self.wrapped:
            yield self._node(name, kind, phase)
            return name
        yield self._node(name, "Retry", phase)
        yield self._node(f"{name}(0)", kind, phase)
        return f"{name}(0)"

    def _node(self, name: str, kind: str, phase: str) -> dict[str, Any]:
        message = {"message": "main: Error (exit code 1)"} if phase == "Failed" and kind != "DAG" else {}
        template = DRIVERS if "-driver" in name.rpartition(".")[2] else EXECUTORS
        return {
            "id": f"{self.name}-{fnv1a32(name)}",
            "name": name,
            "type": kind,
            "templateName": template,
            "phase": phase,
            **message,
        }


def driver_of(path: Path) -> Path:
    return (*path[:-1], f"{path[-1]}-driver")


def _paths(spec: dict[str, Any], component: dict[str, Any], outer: Path) -> Iterator[Path]:
    for key, task in component["dag"]["tasks"].items():
        yield (*outer, key)
        inner = spec["components"][task["componentRef"]["name"]]
        if "dag" in inner:
            yield from _paths(spec, inner, (*outer, key))


def _inside(path: Path, outer: Path) -> bool:
    return len(path) > len(outer) and path[: len(outer)] == outer


def _plain(name: str) -> str:
    """Return the path in a node's name, below the pipeline."""
    return ".".join(name.replace("(0)", "").split(".")[2:])
