"""A run of a pipeline as Kubeflow's drivers prepare it: the inputs of every task that runs, and its pod's patch.

Follows kubeflow/pipelines 2.17.0, backend/src/v2/driver/resolve.go and driver.go. Here every *instance* of a task
counts: a pipeline that two tasks refer to runs twice, whatever it costs in the Workflow's spec.
"""

import json
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from itertools import count
from typing import Any

from realfeatures.errors import ConfigError
from realfeatures.pipelines.go_json import go_json
from realfeatures.pipelines.pod_patch import (
    PIPELINE_ROOT,
    Artifact,
    Ports,
    container_words,
    launcher_command,
    pod_spec_patch,
)
from realfeatures.pipelines.workflow import RUN_ID, Workflow

_EARLIER_RUN = "00000000-0000-4000-8000-000000000001"
"""Stands for the run from which the cache has its artifacts."""

_FIRST_ID = 1001
"""Of executions and of artifacts; on a cluster that has been used they have four digits and more."""

_SELECTOR = re.compile(r"parseJson\(string_value\)((?:\[[^\]]+\])+)")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A task that ran: a container, or a pipeline with the tasks in it."""

    path: tuple[str, ...]
    """The keys of the tasks that it is nested in, and its own; empty: the pipeline itself."""
    task: Mapping[str, Any]
    component: str
    execution: int
    """Its id in Kubeflow's metadata store."""
    patch: str = ""
    """Of a container's pod, as JSON; empty: its outputs came from the cache, or it is a pipeline."""
    words: tuple[str, ...] = ()
    """The command line of a container's launcher."""
    steps: tuple["Step", ...] | None = None
    """A pipeline's, each after those that it waits for; None: it is a container."""

    def all(self) -> Iterator["Step"]:
        """Give this step and every one in it."""
        yield self
        for step in self.steps or ():
            yield from step.all()


def drive(
    workflow: Workflow, *, values: Mapping[str, Any], outputs: Mapping[str, str], cached: Collection[str] = ()
) -> Step:
    """Return the pipeline with all that ran in it.

    Args:
        workflow: the compiled pipeline.
        values: of the pipeline's own parameters.
        outputs: what tasks write at run time, as `workflow_size` takes it.
        cached: paths of the tasks whose outputs came from the cache.

    Raises:
        ConfigError: a selector is of another form, or a text has not the key that it asks for.
    """
    drivers = _Drivers(workflow, outputs, cached)
    execution = next(drivers.executions)
    steps, _ = drivers.level((), workflow.spec["root"], Ports(values, {}))
    return Step(path=(), task={}, component="root", execution=execution, steps=steps)


@dataclass
class _Drivers:
    """All drivers of a run."""

    workflow: Workflow
    outputs: Mapping[str, str]
    cached: Collection[str]
    executions: Iterator[int] = field(default_factory=lambda: count(_FIRST_ID))
    artifacts: Iterator[int] = field(default_factory=lambda: count(_FIRST_ID))

    def level(
        self, path: tuple[str, ...], component: Mapping[str, Any], given: Ports
    ) -> tuple[tuple[Step, ...], Ports]:
        """Return the tasks of a pipeline, and what it hands up."""
        tasks = component["dag"]["tasks"]
        waits = {key: task.get("dependentTasks", []) for key, task in tasks.items()}
        made: dict[str, Ports] = {}
        steps = []
        for key in TopologicalSorter(waits).static_order():
            step, made[key] = self._task((*path, key), tasks[key], _resolved(tasks[key], given, made))
            steps.append(step)
        return tuple(steps), _handed_up(component["dag"], made)

    def _task(self, path: tuple[str, ...], task: Mapping[str, Any], given: Ports) -> tuple[Step, Ports]:
        name = task["componentRef"]["name"]
        step = Step(path=path, task=task, component=name, execution=next(self.executions))
        component = self.workflow.specifications[self.workflow.argument(name)]
        if "dag" in component:
            # Reached through an input, an artifact has no type.
            inner = {port: replace(artifact, produced=False) for port, artifact in given.artifacts.items()}
            values = {**parameter_defaults(component), **given.parameters}
            steps, outputs = self.level(path, component, Ports(values, inner))
            return replace(step, steps=steps), outputs
        if "/".join(path) in self.cached:
            return step, self._outputs(path, component, self._folder(path, _EARLIER_RUN))
        folder = self._folder(path, RUN_ID)
        return self._launched(step, component, given, folder), self._outputs(path, component, folder)

    def _launched(self, step: Step, component: Mapping[str, Any], given: Ports, folder: str) -> Step:
        container = self.workflow.container(step.component) or {}
        command = launcher_command(
            component, given, pipeline=self.workflow.name, folder=folder, execution=step.execution
        )
        words = container_words(container, given.parameters)
        patch = pod_spec_patch(container, self.workflow.pod(step.component) or {}, command=command, words=words)
        return replace(step, patch=patch, words=(*command, *words))

    def _folder(self, path: tuple[str, ...], run: str) -> str:
        """Return the URI below which a task's artifacts lie, with a UUID for each execution."""
        unique = uuid.uuid5(uuid.UUID(run), "/".join(path))
        return f"{PIPELINE_ROOT}/{self.workflow.name}/{run}/{path[-1]}/{unique}"

    def _outputs(self, path: tuple[str, ...], component: Mapping[str, Any], folder: str) -> Ports:
        ports = component.get("outputDefinitions", {})
        artifacts = {
            port: Artifact(next(self.artifacts), f"{folder}/{port}", json.loads(self._text(path, port) or "{}"))
            for port in ports.get("artifacts", {})
        }
        return Ports({port: self._text(path, port) for port in ports.get("parameters", {})}, artifacts)

    def _text(self, path: tuple[str, ...], port: str) -> str:
        """Return what a task writes to an output, by the longest name that stands for it; nothing known: empty."""
        names = ("/".join((*path[start:], port)) for start in range(len(path) + 1))
        return next((self.outputs[name] for name in names if name in self.outputs), "")


def parameter_defaults(component: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default of every parameter of a component that has one, by its name."""
    parameters = component.get("inputDefinitions", {}).get("parameters", {})
    return {name: one["defaultValue"] for name, one in parameters.items() if "defaultValue" in one}


def _resolved(task: Mapping[str, Any], given: Ports, made: Mapping[str, Ports]) -> Ports:
    """Return a task's inputs, from those of the pipeline around it and from what its other tasks made."""
    inputs = task.get("inputs", {})
    artifacts = {port: _artifact(source, given, made) for port, source in inputs.get("artifacts", {}).items()}
    parameters = {port: _parameter(source, given, made) for port, source in inputs.get("parameters", {}).items()}
    return Ports(parameters, artifacts)


def _artifact(source: Mapping[str, Any], given: Ports, made: Mapping[str, Ports]) -> Artifact:
    if "componentInputArtifact" in source:
        return given.artifacts[source["componentInputArtifact"]]
    output = source["taskOutputArtifact"]
    return made[output["producerTask"]].artifacts[output["outputArtifactKey"]]


def _parameter(source: Mapping[str, Any], given: Ports, made: Mapping[str, Ports]) -> Any:
    if "runtimeValue" in source:
        return source["runtimeValue"]["constant"]
    if "componentInputParameter" in source:
        value = given.parameters.get(source["componentInputParameter"], "")
    else:
        output = source["taskOutputParameter"]
        value = made[output["producerTask"]].parameters[output["outputParameterKey"]]
    selector = source.get("parameterExpressionSelector")
    return value if selector is None else _selected(value, selector)


def _selected(text: str, selector: str) -> str:
    """Return the part of a JSON text that `parseJson(string_value)["key"]` stands for (resolve.go:145-165)."""
    match = _SELECTOR.fullmatch(selector)
    if match is None:
        raise ConfigError(f'selector {selector!r}: expected parseJson(string_value)["key"]')
    if not text:  # nothing is known of it
        return ""
    try:
        value = json.loads(text)
        for key in re.findall(r"\[([^\]]+)\]", match[1]):
            value = value[json.loads(key)]
    except (ValueError, LookupError, TypeError):
        raise ConfigError(f"selector {selector!r}: no such key in a text that starts {text[:60]!r}") from None
    return value if isinstance(value, str) else go_json(value)


def _handed_up(dag: Mapping[str, Any], made: Mapping[str, Ports]) -> Ports:
    """Return the outputs of a nested pipeline: those of tasks in it."""
    outputs = dag.get("outputs", {})
    chosen = {port: one["artifactSelectors"][0] for port, one in outputs.get("artifacts", {}).items()}
    artifacts = {port: made[one["producerSubtask"]].artifacts[one["outputArtifactKey"]] for port, one in chosen.items()}
    read = {port: one["valueFromParameter"] for port, one in outputs.get("parameters", {}).items()}
    values = {port: made[one["producerSubtask"]].parameters[one["outputParameterKey"]] for port, one in read.items()}
    return Ports(values, artifacts)
