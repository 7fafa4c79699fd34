"""The spec of the Argo Workflow that Kubeflow makes of a compiled pipeline: what is in it, and how often.

Follows kubeflow/pipelines 2.17.0, backend/src/v2/compiler/argocompiler (argo.go, container.go, dag.go) and
backend/src/apiserver/template/v2_template.go. Of container tasks and nested pipelines alone: this project has no loops,
conditions or exit handlers.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from realfeatures.pipelines.go_json import go_json, utf8_bytes

RUN_ID = "00000000-0000-4000-8000-000000000000"
"""Stands for a run's id, which is a UUID."""

_SYSTEM_TEMPLATES = {
    "system-container-driver": (2357, 302),
    "system-dag-driver": (2169, 280),
    "system-container-executor": (484, 62),
    "system-container-impl": (2037, 286),
    "retry-system-container-executor": (1029, 126),
    "retry-system-container-impl": (2478, 330),
}
"""Bytes, and the quotes among them, of the templates that every pipeline has alike; counted in Workflows of a 2.17.
The drivers' hold the names of pipeline and run and the run's id besides."""

_RETRY = {
    "retry-max-count": "maxRetryCount",
    "retry-backoff-duration": "backoffDuration",
    "retry-backoff-factor": "backoffFactor",
    "retry-backoff-max-duration": "backoffMaxDuration",
}
"""Argo's parameters and the fields of the pipeline's retry policy (container.go:667-683)."""

SCHEDULE_BYTES = 2048
"""Of a ScheduledWorkflow's names, labels, trigger, parameters and list of past runs; chosen: a short list fits."""


@dataclass(frozen=True)
class Installation:
    """What differs between clusters and decides how large a Workflow becomes."""

    name: str
    defaults: Mapping[str, Any]
    """What Argo's controller adds to every spec, from `workflowDefaults` in its ConfigMap."""

    @property
    def retries_every_template(self) -> bool:
        """Return whether Argo puts a Retry node around every other node."""
        return "retryStrategy" in self.defaults.get("templateDefaults", {})


_TTL = dict.fromkeys(("secondsAfterCompletion", "secondsAfterFailure", "secondsAfterSuccess"), 3600)
_RETRY_STRATEGY = {"retryStrategy": {"limit": "2", "retryPolicy": "OnError"}}

KUBEFLOW_2_17 = Installation(
    "Kubeflow 2.17",
    {"templateDefaults": {"inputs": {}, "metadata": {}, "outputs": {}, **_RETRY_STRATEGY}, "ttlStrategy": _TTL},
)
"""As it is shipped: manifests/kustomize/third-party/argo/base/workflow-controller-configmap-patch.yaml."""
KUBEFLOW_2_16 = Installation("Kubeflow 2.16", {"ttlStrategy": _TTL})
"""2.16 and older, and a 2.17 whose `templateDefaults` were taken out."""


@dataclass
class Workflow:
    """A Workflow's spec while it is compiled."""

    spec: Mapping[str, Any]
    """The pipeline, its numbers whole."""
    pods: Mapping[str, Any]
    """What the pods of each executor have beside their container, by the executor's label."""
    specifications: dict[str, Any] = field(default_factory=dict)
    """Those of components, by their arguments: one for all that have equal containers."""
    arguments: dict[str, str] = field(default_factory=dict)
    """Texts that the templates refer to: specifications, containers and pods as JSON."""
    templates: dict[str, Any] = field(default_factory=dict)
    """One for each pipeline, however many tasks refer to it."""
    system: set[str] = field(default_factory=lambda: {"system-dag-driver"})
    """The system templates that it uses."""

    @property
    def name(self) -> str:
        """Return the pipeline's name."""
        return str(self.spec["pipelineInfo"]["name"])

    def container(self, component: str) -> dict[str, Any] | None:
        """Return the container that a component runs; None: the component is a pipeline."""
        label = self._label(component)
        return None if label is None else self.spec["deploymentSpec"]["executors"][label]["container"]  # type: ignore[no-any-return]

    def pod(self, component: str) -> dict[str, Any] | None:
        """Return what a component's pods have beside their container; None: nothing is said of them."""
        return self.pods.get(self._label(component) or "")

    def _label(self, component: str) -> str | None:
        return self.spec["components"].get(component, {}).get("executorLabel")  # type: ignore[no-any-return]

    def argument(self, component: str) -> str:
        """Return what a component goes by among the arguments: its container's digest, a pipeline's own name.

        So equal containers stand there once, and the first component's specification stands for all that have one
        (argo.go:359-363, 437-468).
        """
        container = self.container(component)
        return component if container is None else hashlib.sha256(go_json(container).encode()).hexdigest()


def compile_workflow(spec: Mapping[str, Any], pods: Mapping[str, Any], *, values: Mapping[str, Any]) -> Workflow:
    """Return the Workflow of a pipeline.

    Args:
        spec: the pipeline, its numbers whole.
        pods: what the pods of each executor have beside their container, by the executor's label.
        values: of the pipeline's own parameters.
    """
    made = Workflow(spec, pods)
    _visit(made, "root", spec["root"])
    given = [
        ("component", _workflow_parameter("components-root")),
        ("runtime-config", runtime_config(values)),
        ("driver-type", "ROOT_DAG"),
    ]
    driver = {"arguments": _parameters(given), "name": "root-driver", "template": "system-dag-driver"}
    made.templates["entrypoint"] = {
        **_template("entrypoint", [driver, _nested_task("root", "root", condition="")]),
        "inputs": {},
    }
    return made


def runtime_config(values: Mapping[str, Any]) -> str:
    """Return the values of a pipeline's own parameters as its driver takes them, as JSON."""
    return go_json({"parameterValues": values})


def spec_bytes(workflow: Workflow, installation: Installation) -> int:
    """Return the size of a Workflow's spec on the cluster, in bytes of JSON."""
    size, _ = _system_bytes(workflow)
    return size + utf8_bytes(go_json({**_written(workflow), **installation.defaults}))


def scheduled_bytes(workflow: Workflow) -> int:
    """Return the size of a ScheduledWorkflow that pins the pipeline, in bytes of JSON.

    It holds the compiled spec as a text, in which every quote has a backslash (v2_template.go:181-184;
    kubeflow/pipelines #13933).
    """
    size, quotes = _system_bytes(workflow)
    return size + quotes + utf8_bytes(go_json(go_json(_written(workflow)))) + SCHEDULE_BYTES


def retry_arguments(task: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a task's retry policy as parameters of Argo's, seconds without their unit; empty: it has none."""
    policy = task.get("retryPolicy")
    if policy is None:
        return []
    return [(name, str(policy.get(key, 0)).removesuffix("s")) for name, key in _RETRY.items()]


def _system_bytes(workflow: Workflow) -> tuple[int, int]:
    """Return the bytes of the system templates with the comma after each, and the quotes among them."""
    drivers = sum(name.endswith("-driver") for name in workflow.system)
    # A run's name is taken to be as long as the pipeline's.
    names = drivers * (2 * utf8_bytes(workflow.name) + len(RUN_ID))
    counted = [_SYSTEM_TEMPLATES[name] for name in workflow.system]
    return names + sum(size + 1 for size, _ in counted), sum(quotes for _, quotes in counted)


def _written(workflow: Workflow) -> dict[str, Any]:
    """Return a Workflow's spec without its system templates, and without what the controller adds to it."""
    mark = {"pipelines.kubeflow.org/v2_component": "true"}
    return {
        "arguments": _parameters(workflow.arguments.items()),
        "entrypoint": "entrypoint",
        "podMetadata": {"annotations": mark, "labels": {"pipeline/runid": RUN_ID, **mark}},
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "serviceAccountName": "pipeline-runner",
        "templates": list(workflow.templates.values()),
    }


def _visit(made: Workflow, name: str, component: Mapping[str, Any]) -> None:
    """Add a component and those that it uses, each once, however many tasks use it (compiler/visitor.go:92-95)."""
    argument = made.argument(name)
    if name in made.templates:
        return
    if "dag" in component:
        tasks = sorted(component["dag"]["tasks"].items())
        for _, task in tasks:
            used = task["componentRef"]["name"]
            _visit(made, used, made.spec["components"][used])
        made.templates[name] = _template(name, [entry for key, task in tasks for entry in _entries(made, key, task)])
    else:
        pod = made.pod(name)
        if pod is not None:
            made.arguments[f"kubernetes-{name}"] = go_json(pod)
        made.arguments.setdefault(f"implementations-{argument}", go_json(made.container(name)))
    made.specifications.setdefault(argument, component)
    made.arguments.setdefault(f"components-{argument}", go_json(component))


def _entries(made: Workflow, key: str, task: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the two tasks of Argo's that one task becomes: its driver, and what the driver prepares (dag.go:249-336)."""
    name = task["componentRef"]["name"]
    argument = made.argument(name)
    nested = made.container(name) is None
    given = [
        ("component", _workflow_parameter(f"components-{argument}")),
        ("task", go_json(task)),
        ("task-name", key),
        ("parent-dag-id", "{{inputs.parameters.parent-dag-id}}"),
    ]
    if not nested:
        given.append(("container", _workflow_parameter(f"implementations-{argument}")))
    if f"kubernetes-{name}" in made.arguments:
        given.append(("kubernetes-config", _workflow_parameter(f"kubernetes-{name}")))
    template = "system-dag-driver" if nested else "system-container-driver"
    made.system.add(template)
    driver = {"arguments": _parameters(given), "name": f"{key}-driver", "template": template}
    waits = task.get("dependentTasks")
    yield {**driver, "depends": " && ".join(f"{other}.Succeeded" for other in waits)} if waits else driver
    yield _nested_task(key, name, condition=_output(key, "condition")) if nested else _executor_task(made, key, task)


def _executor_task(made: Workflow, key: str, task: Mapping[str, Any]) -> dict[str, Any]:
    retries = retry_arguments(task)
    template = f"{'retry-' if retries else ''}system-container-executor"
    made.system |= {template, template.replace("-executor", "-impl")}
    arguments = _parameters([("pod-spec-patch", _output(key, "pod-spec-patch")), *retries])
    cached = {"default": "false", "name": "cached-decision", "value": _output(key, "cached-decision")}
    arguments["parameters"].append(cached)
    return {"arguments": arguments, "depends": f"{key}-driver.Succeeded", "name": key, "template": template}


def _nested_task(key: str, component: str, *, condition: str) -> dict[str, Any]:
    arguments = _parameters([("parent-dag-id", _output(key, "execution-id")), ("condition", condition)])
    return {"arguments": arguments, "depends": f"{key}-driver.Succeeded", "name": key, "template": component}


def _template(name: str, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    # The API server adds the annotation for Istio to every template (v2_template.go).
    annotations = {"pipelines.kubeflow.org/v2_component": "true", "sidecar.istio.io/inject": "false"}
    return {
        "dag": {"tasks": tasks},
        "inputs": {"parameters": [{"name": "parent-dag-id"}]},
        "metadata": {"annotations": annotations},
        "name": name,
        "outputs": {},
    }


def _parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, list[dict[str, str]]]:
    return {"parameters": [{"name": name, "value": value} for name, value in pairs]}


def _workflow_parameter(name: str) -> str:
    return "{{workflow.parameters." + name + "}}"


def _output(key: str, parameter: str) -> str:
    return "{{tasks." + key + "-driver.outputs.parameters." + parameter + "}}"
