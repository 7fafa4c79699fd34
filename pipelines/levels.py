"""A pipeline's levels as Kubeflow's specification writes them (pipeline_spec.proto): tasks and nested pipelines.

kfp's own compiler writes a component for every use of it; here equal ones are one, which Kubeflow stores once however
many tasks use it. A task of a nested pipeline takes its text out of the JSON object of the pipeline's texts by a
selector (`parameterExpressionSelector`), which kfp writes for loops alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from realfeatures.components.component import CELLS, artifact, definitions

Reference = dict[str, Any]
"""What brings an artifact or a parameter to a task."""


def constant(value: Any) -> Reference:
    """Return a parameter of the pipeline's own."""
    return {"runtimeValue": {"constant": value}}


def parameter_of(task: str, name: str) -> Reference:
    """Return a parameter that a task of the same level returns."""
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": name}}


def artifact_of(task: str, port: str) -> Reference:
    """Return an artifact that a task of the same level returns."""
    return {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": port}}


def input_parameter(name: str) -> Reference:
    """Return a parameter that the level takes."""
    return {"componentInputParameter": name}


def input_artifact(port: str) -> Reference:
    """Return an artifact that the level takes."""
    return {"componentInputArtifact": port}


def selected(key: str) -> Reference:
    """Return the text of one task of a nested pipeline out of those that the pipeline takes."""
    return {**input_parameter(CELLS), "parameterExpressionSelector": f'parseJson(string_value)["{key}"]'}


@dataclass
class Level:
    """One level while it is built."""

    inputs: dict[str, str] = field(default_factory=dict)
    """Kind of each artifact that it takes, by port."""
    tasks: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, tuple[str, Reference]] = field(default_factory=dict)
    """Kind and origin of each artifact that it returns, by port."""

    def add(
        self,
        key: str,
        *,
        title: str,
        component: str,
        parameters: Mapping[str, Reference],
        artifacts: Mapping[str, Reference],
        options: Mapping[str, Any],
    ) -> None:
        """Add a task.

        Args:
            key: its name in Kubeflow.
            title: what a person reads on it.
            component: the name of its component.
            parameters, artifacts: what it takes, by port.
            options: how it is cached and retried.
        """
        inputs = {name: dict(one) for name, one in (("parameters", parameters), ("artifacts", artifacts)) if one}
        producers = {
            one["producerTask"]
            for reference in (*parameters.values(), *artifacts.values())
            for name, one in reference.items()
            if name.startswith("taskOutput")
        }
        self.tasks[key] = {
            "taskInfo": {"name": title},
            "componentRef": {"name": component},
            **({"inputs": inputs} if inputs else {}),
            **({"dependentTasks": sorted(producers)} if producers else {}),
            **options,
        }

    def specification(self) -> dict[str, Any]:
        """Return it as a component of its own, which takes its tasks' texts as one JSON object."""
        takes = {port: artifact(kind) for port, kind in self.inputs.items()}
        returns = {port: artifact(kind) for port, (kind, _) in self.outputs.items()}
        return {
            "dag": self.dag(),
            "inputDefinitions": definitions({CELLS: "STRING"}, takes),
            **({"outputDefinitions": definitions({}, returns)} if returns else {}),
        }

    def dag(self) -> dict[str, Any]:
        """Return its tasks, and what it returns of theirs."""
        returned = {port: {"artifactSelectors": [_selector(origin)]} for port, (_, origin) in self.outputs.items()}
        return {"tasks": self.tasks, **({"outputs": {"artifacts": returned}} if returned else {})}


@dataclass
class Components:
    """The components of a pipeline by name; equal ones are one."""

    specifications: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, specification: dict[str, Any]) -> str:
        """Add a component, unless there is an equal one; return the name of the one that there is."""
        for known, other in self.specifications.items():
            if other == specification:
                return known
        free = f"comp-{name}"
        number = 1
        while free in self.specifications:
            number += 1
            free = f"comp-{name}-{number}"
        self.specifications[free] = specification
        return free


def _selector(origin: Reference) -> dict[str, str]:
    of = origin["taskOutputArtifact"]
    return {"producerSubtask": of["producerTask"], "outputArtifactKey": of["outputArtifactKey"]}
