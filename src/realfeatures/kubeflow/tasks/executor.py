"""What Kubeflow tells a task, and what it is told: the executor's input and output (pipeline_spec.proto).

The launcher puts the input, as JSON, in the place of `{{$}}` among the container's arguments.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from realfeatures.errors import ConfigError
from realfeatures.science.artifacts import write_bytes, write_json

LOCAL = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}
"""Where the launcher puts what has such an address (kubeflow/pipelines, sdk/python/kfp/dsl/types/artifact_types.py)."""


@dataclass(frozen=True)
class ExecutorInput:
    """A task's parameters, and where its artifacts are on this machine's disk."""

    parameters: Mapping[str, Any]
    inputs: Mapping[str, Path]
    """By port; one that nothing is connected to is left out."""
    outputs: Mapping[str, Path]
    """By port."""
    files: Mapping[str, Path]
    """Of the parameters that it returns."""
    metadata: Path
    """Takes what Kubeflow shows of the artifacts."""
    produced: Mapping[str, Mapping[str, Any]]
    """Each output artifact as Kubeflow describes it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a task is told.

        Raises:
            ConfigError: it is no executor input.
        """
        try:
            told = json.loads(text)
            inputs, outputs = told.get("inputs", {}), told["outputs"]
            produced = {port: one["artifacts"][0] for port, one in outputs.get("artifacts", {}).items()}
            return cls(
                parameters=inputs.get("parameterValues", {}),
                inputs={port: _path(one["artifacts"][0]) for port, one in inputs.get("artifacts", {}).items()},
                outputs={port: _path(one) for port, one in produced.items()},
                files={name: Path(one["outputFile"]) for name, one in outputs.get("parameters", {}).items()},
                metadata=Path(outputs["outputFile"]),
                produced=produced,
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ConfigError(f"{text[:80]!r}: expected Kubeflow's executor input as JSON ({error!r})") from None

    def parameter(self, name: str) -> Any:
        """Return a parameter's value.

        Raises:
            ConfigError: the task has none of this name.
        """
        if name not in self.parameters:
            raise ConfigError(f"parameter {name}: the task has none; compile the pipeline again")
        return self.parameters[name]

    def answer(self, parameters: Mapping[str, str], metadata: Mapping[str, Mapping[str, Any]]) -> None:
        """Return parameters, and what Kubeflow shows of each output artifact, by port."""
        for name, value in parameters.items():
            write_bytes(self.files[name], value.encode())
        artifacts = {
            port: {"artifacts": [{**one, "metadata": dict(metadata.get(port, {}))}]}
            for port, one in self.produced.items()
        }
        write_json(self.metadata, {"artifacts": artifacts})


def _path(artifact: Mapping[str, Any]) -> Path:
    if artifact.get("customPath"):
        return Path(artifact["customPath"])
    address = str(artifact["uri"])
    for scheme, folder in LOCAL.items():
        if address.startswith(scheme):
            return Path(folder + address.removeprefix(scheme))
    return Path(address)
