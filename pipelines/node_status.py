"""The nodes of an Argo Workflow at the end of a run: what its `status.compressedNodes` holds.

Every node repeats its inputs with their values, and a Retry node its child's outputs too, so that the patch of a task's
pod stands in all nodes of the task. Follows argoproj/argo-workflows v4.0.5, workflow/controller/operator.go
(2339-2357, 2784-2786, getOutboundNodes) and NodeStatus in pkg/apis/workflow/v1alpha1/workflow_types.go.
"""

import base64
import gzip
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realfeatures.pipelines.drivers import Step
from realfeatures.pipelines.go_json import go_json
from realfeatures.pipelines.workflow import Installation, Workflow, retry_arguments, runtime_config

GZIP_LEVEL = 5
"""workflow/packer: Go's default would be 6."""

GO_TO_ZLIB = 1.02
"""Bytes that Argo's gzip makes for one of zlib's. The nodes of three real Workflows, compressed again, gave 0.5 % to
2.7 % less than Argo had."""

SUFFIX = "x7q2k"
"""Five letters at the end of a Workflow's name, which Kubernetes draws."""

_EXECUTOR = "system-container-executor"


def node_status(
    workflow: Workflow, root: Step, *, values: Mapping[str, Any], installation: Installation, suffix: str = SUFFIX
) -> dict[str, dict[str, Any]]:
    """Return the nodes of a run by their ids, as JSON, sorted.

    Args:
        workflow: the compiled pipeline.
        root: all that ran.
        values: of the pipeline's own parameters.
        installation: on what it ran.
        suffix: the Workflow's name is the pipeline's and this. The ids follow from it, and so the order of the nodes:
            gzip finds repeated text in 32 KiB alone, and by its name a run of 20 tasks is up to 6 % larger or smaller.
    """
    nodes = _Nodes(workflow, installation, runtime_config(values), f"{workflow.name}-{suffix}")
    nodes.add_run(root)
    return dict(sorted((nodes.id_of(name), nodes.written(node)) for name, node in nodes.nodes.items()))


def compressed_bytes(nodes: Mapping[str, Any]) -> int:
    """Return the bytes of `status.compressedNodes`: base64 of gzip of the nodes' JSON."""
    packed = gzip.compress(go_json(nodes, in_order=True).encode(), GZIP_LEVEL)
    return math.ceil(len(base64.b64encode(packed)) * GO_TO_ZLIB)


@dataclass
class _Nodes:
    workflow: Workflow
    installation: Installation
    config: str
    """The values of the pipeline's own parameters, as JSON."""
    run: str
    """The Workflow's name."""
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name; they are tied to each other by names."""

    def add_run(self, root: Step) -> None:
        inner = self._wrapped(self.run, "DAG", "entrypoint", boundary="")
        self._add_task(root, "root", inner, parent=0)
        self._tie([inner], f"{inner}.root-driver")
        self.nodes[inner]["outboundNodes"] = self._ends(f"{inner}.root")

    def id_of(self, name: str) -> str:
        """Return a node's id: the Workflow's name and FNV-1a, 32 bits, of the node's (operator.go, NodeID)."""
        digest = 0x811C9DC5
        for byte in name.encode():
            digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
        return self.run if name == self.run else f"{self.run}-{digest}"

    def written(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Return a node as JSON: tied by ids, without empty fields."""
        tied = {name: [self.id_of(other) for other in node[name]] for name in ("children", "outboundNodes")}
        return {name: value for name, value in {**node, **tied}.items() if value not in (None, "", [])}

    def _add_level(self, step: Step, boundary: str) -> None:
        """Add the tasks of a pipeline, whose own node is `boundary`, and tie each to those that it waits for."""
        steps = step.steps or ()
        for inner in steps:
            key = inner.path[-1]
            self._add_task(inner, key, boundary, parent=step.execution)
            waits = [end for other in inner.task.get("dependentTasks", []) for end in self._ends(f"{boundary}.{other}")]
            self._tie(waits or [boundary], f"{boundary}.{key}-driver")
        read = {other for inner in steps for other in inner.task.get("dependentTasks", [])}
        last = [inner.path[-1] for inner in steps if inner.path[-1] not in read]
        self.nodes[boundary]["outboundNodes"] = [end for key in last for end in self._ends(f"{boundary}.{key}")]

    def _add_task(self, step: Step, key: str, boundary: str, *, parent: int) -> None:
        """Add a task's driver, and the pipeline or the container that the driver prepared."""
        name = f"{boundary}.{key}"
        if step.steps is None:
            template, given = "system-container-driver", self._container_driver_inputs(step, parent)
            found = _container_driver_outputs(step.patch)
        else:
            template, given = "system-dag-driver", self._dag_driver_inputs(step, parent)
            found = _dag_driver_outputs(step.execution)
        driver = self._wrapped(f"{name}-driver", "Pod", template, boundary=boundary, inputs=given, outputs=found)
        self._tie([driver], name)
        if step.steps is None:
            self._add_executor(step, name, boundary)
        else:
            given = [_given("parent-dag-id", str(step.execution))]
            self._add_level(step, self._wrapped(name, "DAG", step.component, boundary=boundary, inputs=given))

    def _add_executor(self, step: Step, name: str, boundary: str) -> None:
        """Add the nodes of a task's own pod; where its outputs came from the cache, one says that it was skipped."""
        retries = retry_arguments(step.task)
        template = f"retry-{_EXECUTOR}" if retries else _EXECUTOR
        patch = _given("pod-spec-patch", step.patch)
        cached = _given("cached-decision", _cached(step.patch), default="false")
        policy = [_given(parameter, value, default="0") for parameter, value in retries]
        level = self._wrapped(name, "DAG", template, boundary=boundary, inputs=[patch, cached, *policy])
        template, name = template.replace("-executor", "-impl"), f"{level}.executor"
        self._tie([level], name)
        if step.patch:
            given = [patch, *(_given(parameter, value) for parameter, value in retries)]
            name = self._wrapped(name, "Pod", template, boundary=level, inputs=given, outputs=[])
        else:
            skipped = {"phase": "Skipped", "message": "when 'true != true' evaluated false", "nodeFlag": {}}
            self._put(name, "Skipped", template, level, **skipped)
        self.nodes[level]["outboundNodes"] = [name]

    def _wrapped(
        self,
        name: str,
        kind: str,
        template: str,
        *,
        boundary: str,
        inputs: Sequence[Any] = (),
        outputs: Sequence[Any] | None = None,
    ) -> str:
        """Add a node, inside a Retry node where installation or template want one; return its own name."""
        retried = self.installation.retries_every_template or template == "retry-system-container-impl"
        own = f"{name}(0)" if retried else name
        ports: dict[str, Any] = {"inputs": {"parameters": inputs}} if inputs else {}
        if outputs is not None:
            logs = [{"name": "main-logs", "s3": {"key": self._log_key(own, template)}}]
            ports["outputs"] = {**({"parameters": outputs} if outputs else {}), "artifacts": logs, "exitCode": "0"}
        pod = {"hostNodeName": "node1", "taskResultSynced": True} if kind == "Pod" else {}
        if retried:
            self._put(name, "Retry", template, boundary, **ports)
            self._tie([name], own)
            pod["nodeFlag"] = {"retried": True}
        self._put(own, kind, template, boundary, **ports, **pod)
        return own

    def _put(self, name: str, kind: str, template: str, boundary: str, **more: Any) -> None:
        """Add one node, its fields in the order of Argo's NodeStatus."""
        begin, cpu, memory, pods = _made_up(name)
        self.nodes[name] = {
            "id": self.id_of(name),
            "name": name,
            "displayName": name.removeprefix(f"{boundary}."),
            "type": kind,
            "templateName": template,
            "templateScope": f"local/{self.run}",
            "phase": more.get("phase", "Succeeded"),
            "boundaryID": boundary and self.id_of(boundary),
            "message": more.get("message"),
            "startedAt": _time(begin),
            "finishedAt": _time(begin + cpu + 5),
            "progress": "1/1" if kind == "Pod" else f"{pods}/{pods}",
            "resourcesDuration": {"cpu": cpu, "memory": memory},
            **{field: more.get(field) for field in ("nodeFlag", "inputs", "outputs")},
            "children": [],
            "outboundNodes": [],
            **{field: more.get(field) for field in ("hostNodeName", "taskResultSynced")},
        }

    def _tie(self, before: Sequence[str], after: str) -> None:
        for name in before:
            self.nodes[name]["children"].append(after)

    def _ends(self, name: str) -> list[str]:
        """Return the nodes to which those are tied that wait for a task: a Retry node's child, else a DAG's ends."""
        return [f"{name}(0)"] if f"{name}(0)" in self.nodes else list(self.nodes[name]["outboundNodes"])

    def _log_key(self, name: str, template: str) -> str:
        """Return where a pod's log is kept, by the pod's name (Argo's workflow/util/pod_name.go:50)."""
        pod = f"{self.run}-{template}{self.id_of(name).removeprefix(self.run)}"
        return f"private-artifacts/kubeflow/{self.run}/2026/11/27/{pod}/main.log"

    def _container_driver_inputs(self, step: Step, parent: int) -> list[dict[str, str]]:
        arguments, argument = self.workflow.arguments, self.workflow.argument(step.component)
        return [
            _given("component", arguments[f"components-{argument}"]),
            _given("task", go_json(step.task)),
            _given("container", arguments[f"implementations-{argument}"]),
            _given("task-name", step.path[-1]),
            _given("parent-dag-id", str(parent)),
            _given("iteration-index", "-1", default="-1"),
            _given("kubernetes-config", arguments.get(f"kubernetes-{step.component}", ""), default=""),
        ]

    def _dag_driver_inputs(self, step: Step, parent: int) -> list[dict[str, str]]:
        nested = bool(step.path)
        return [
            _given("component", self.workflow.arguments[f"components-{step.component}"]),
            _given("runtime-config", "" if nested else self.config, default=""),
            _given("task", go_json(step.task) if nested else "", default=""),
            _given("task-name", step.path[-1] if nested else "", default=""),
            _given("parent-dag-id", str(parent), default="0"),
            _given("iteration-index", "-1", default="-1"),
            _given("driver-type", "DAG" if nested else "ROOT_DAG", default="DAG"),
        ]


def _given(name: str, value: str, *, default: str | None = None) -> dict[str, str]:
    return {"name": name, **({} if default is None else {"default": default}), "value": value}


def _container_driver_outputs(patch: str) -> list[dict[str, Any]]:
    cached = _given("cached-decision", _cached(patch), default="false")
    return [
        {**_given("pod-spec-patch", patch), **_read_from("pod-spec-patch", default="")},
        {**cached, **_read_from("cached-decision", default="false")},
        {**_given("condition", "nil"), **_read_from("condition", default="true")},
    ]


def _dag_driver_outputs(execution: int) -> list[dict[str, Any]]:
    return [
        {**_given("execution-id", str(execution)), **_read_from("execution-id")},
        {**_given("iteration-count", "0"), **_read_from("iteration-count", default="0")},
        {**_given("condition", "nil"), **_read_from("condition", default="true")},
    ]


def _read_from(name: str, *, default: str | None = None) -> dict[str, Any]:
    path = {"path": f"/tmp/outputs/{name}"}  # noqa: S108 - in the driver's pod
    return {"valueFrom": path if default is None else {**path, "default": default}}


def _cached(patch: str) -> str:
    return "false" if patch else "true"


def _made_up(name: str) -> tuple[int, int, int, int]:
    """Return when a node began, its seconds of CPU and memory, its pods: any numbers, which gzip cannot foresee."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:2]) % 3600, digest[2], int.from_bytes(digest[3:5]) % 2000, 1 + digest[5] % 99


def _time(seconds: int) -> str:
    return f"2026-11-27T18:{seconds // 60 % 60:02d}:{seconds % 60:02d}Z"
