"""Running a compiled pipeline on Kubeflow: upload it as a version, start a run."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from realfeatures.experiment.overrides import parse_overrides
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow

VERSION_DIGITS = 12
"""In a version's name, of a digest of the pipeline's file: equal files are one version."""


@dataclass(frozen=True)
class Version:
    """An uploaded pipeline."""

    pipeline: str
    pipeline_id: str
    version: str
    version_id: str


def upload(kubeflow: Kubeflow, path: Path, *, label: str) -> Version:
    """Upload a compiled pipeline, unless the server has a version with the same content.

    Args:
        kubeflow: the server.
        path: of the compiled pipeline.
        label: what a person calls it: `digits E1,E2 x3`; a digest of the file is added.

    Raises:
        ClusterError: the server refuses or does not answer.
    """
    content = path.read_bytes()
    info = next(iter(yaml.load_all(content, Loader=yaml.CSafeLoader)))["pipelineInfo"]
    pipeline, version = str(info["name"]), f"{label} ({hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]})"
    described = str(info.get("description", ""))
    pipeline_id, version_id = kubeflow.upload(path, pipeline=pipeline, version=version, description=described)
    return Version(pipeline, pipeline_id, version, version_id)


def start(kubeflow: Kubeflow, version: Version, *, experiment: str, run_name: str, seed: int, overrides: str) -> str:
    """Start a run of an uploaded pipeline; return its id.

    Raises:
        ClusterError: the server refuses or does not answer.
    """
    import kfp_server_api as api

    run = api.V2beta1Run(
        display_name=run_name,
        experiment_id=kubeflow.experiment_id(experiment),
        pipeline_version_reference=reference(version),
        runtime_config=api.V2beta1RuntimeConfig(
            parameters=parameters(seed=seed, overrides=overrides, report_name=run_name)
        ),
    )
    return str(kubeflow.create_run(run).run_id)


def reference(version: Version) -> Any:
    """Return what pins a run to this version, whatever is uploaded later."""
    import kfp_server_api as api

    return api.V2beta1PipelineVersionReference(pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id)


def parameters(*, seed: int, overrides: str, report_name: str) -> dict[str, Any]:
    """Return the fields of the run form."""
    return {"seed": seed, "overrides": parse_overrides(overrides), "report_name": report_name}
