"""A component of a pipeline, as Kubeflow's pipeline specification writes it (pipeline_spec.proto, ComponentSpec)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DATASET, MODEL, RESULT = "system.Dataset", "system.Model", "system.Artifact"
HTML, MARKDOWN, METRICS = "system.HTML", "system.Markdown", "system.Metrics"

CELLS = "cells"
"""The parameter with the text of a task's cells."""

COMMAND = ("python3", "-m", "realfeatures.kubeflow.tasks")
EXECUTOR_INPUT = "{{$}}"
"""In its place the launcher puts what a task is told, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """How many artifacts of one kind a component takes in a pipeline: at most, and at least."""

    most: int
    least: int

    def names(self, family: str, count: int) -> list[str]:
        """Return the ports of so many artifacts: the family's own name where there is never more than one."""
        return [family] if self.most == 1 and count else [f"{family}_{number}" for number in range(1, count + 1)]


@dataclass(frozen=True)
class Component:
    """What a task takes and returns."""

    name: str
    cells: bool = field(default=True, kw_only=True)
    """Whether it takes the text of cells."""
    parameters: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Other parameters and their types."""
    inputs: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Kinds of artifacts that it takes, one or several of each, by the family of ports."""
    outputs: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Artifacts that it returns."""
    returned: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Parameters that it returns and their types."""

    def specification(self, ports: Mapping[str, Ports], *, executor: str) -> dict[str, Any]:
        """Return its ComponentSpec; of an input family without `ports` it takes none."""
        parameters = {**({CELLS: "STRING"} if self.cells else {}), **self.parameters}
        artifacts = {
            name: artifact(self.inputs[family], optional=place >= one.least)
            for family, one in ports.items()
            for place, name in enumerate(one.names(family, one.most))
        }
        return {
            "executorLabel": executor,
            "inputDefinitions": definitions(parameters, artifacts),
            "outputDefinitions": definitions(
                self.returned, {name: artifact(kind) for name, kind in self.outputs.items()}
            ),
        }

    def container(self, image: str) -> dict[str, Any]:
        """Return its container, in whose command its name tells it from others, whose ports may differ."""
        return {"image": image, "command": [*COMMAND, self.name], "args": [EXECUTOR_INPUT]}


def definitions(parameters: Mapping[str, str], artifacts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definition of ports; what is empty is left out."""
    found = {
        "parameters": {name: {"parameterType": kind} for name, kind in parameters.items()},
        "artifacts": dict(artifacts),
    }
    return {name: one for name, one in found.items() if one}


def artifact(kind: str, *, optional: bool = False) -> dict[str, Any]:
    """Return the definition of one artifact."""
    typed = {"artifactType": {"schemaTitle": kind, "schemaVersion": "0.0.1"}}
    return {**typed, "isOptional": True} if optional else typed
