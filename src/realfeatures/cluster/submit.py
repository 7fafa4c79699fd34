"""Running a compiled pipeline on Kubeflow: upload it as a version, start a run, watch it."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from realfeatures.cluster.kubeflow_api import Kubeflow
from realfeatures.errors import RealFeaturesError

VERSION_DIGITS = 16
"""Of a version's name, a digest of the pipeline's file: equal files are one version."""
POLL_SECONDS = 5.0
"""chosen: between two looks at a run, whose shortest task takes longer."""
FINISHED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
SCAFFOLD = ("-driver", "-executor")
"""How the names of Kubeflow's own nodes end, which no person asked for."""


class RunFailed(RealFeaturesError):  # noqa: N818 - the run's, not this program's
    """A run on Kubeflow ended without success."""


@dataclass(frozen=True)
class Version:
    """An uploaded pipeline."""

    pipeline: str
    pipeline_id: str
    version: str
    version_id: str


@dataclass(frozen=True)
class TaskState:
    """A task of a run."""

    name: str
    state: str
    error: str = ""


@dataclass(frozen=True)
class RunState:
    """A run, as one look at it shows it."""

    run_id: str
    name: str
    state: str
    error: str
    tasks: tuple[TaskState, ...]

    @property
    def finished(self) -> bool:
        """Whether it will change no more."""
        return self.state in FINISHED


def upload(kubeflow: Kubeflow, path: Path) -> Version:
    """Upload a compiled pipeline, unless the server has a version with the same content.

    Raises:
        ClusterError: the server refuses or does not answer.
    """
    content = path.read_bytes()
    pipeline = str(next(iter(yaml.load_all(content, Loader=yaml.CSafeLoader)))["pipelineInfo"]["name"])
    version = hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]
    pipeline_id, version_id = kubeflow.upload(path, pipeline=pipeline, version=version)
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
            parameters=parameters(seed=seed, overrides=overrides, run_name=run_name)
        ),
    )
    return str(kubeflow.create_run(run).run_id)


def reference(version: Version) -> Any:
    """Return what pins a run to this version, whatever is uploaded later."""
    import kfp_server_api as api

    return api.V2beta1PipelineVersionReference(pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id)


def parameters(*, seed: int, overrides: str, run_name: str) -> dict[str, Any]:
    """Return the fields of the run form."""
    return {"seed": seed, "overrides": overrides, "run_name": run_name}


def watch(kubeflow: Kubeflow, run_id: str, *, pause: Callable[[float], None] = time.sleep) -> Iterator[RunState]:
    """Yield the run's state every few seconds, the last one when it is finished.

    Raises:
        ClusterError: the server refuses, or does not answer for longer than a request is tried.
    """
    while True:
        state = _state(kubeflow.get_run(run_id))
        yield state
        if state.finished:
            return
        pause(POLL_SECONDS)


def require_success(state: RunState) -> None:
    """Refuse a run that ended without success.

    Raises:
        RunFailed: it did; names the task and what it said.
    """
    if state.state == "SUCCEEDED":
        return
    failed = [task for task in state.tasks if task.state == "FAILED"]
    # The innermost ones: a nested pipeline fails with its task.
    told = next((task for task in failed if task.error), failed[-1] if failed else None)
    where = f" in task {told.name!r}" if told else ""
    why = (told.error if told else "") or state.error or "no reason is given; see the task's log in the UI"
    raise RunFailed(f"run {state.name} ({state.run_id}) {state.state.lower()}{where}: {why}")


def _state(run: Any) -> RunState:
    details = run.run_details.task_details if run.run_details else None
    tasks = tuple(
        TaskState(str(task.display_name), str(task.state or "PENDING"), _message(task.error))
        for task in details or ()
        if task.display_name and task.display_name != "root" and not task.display_name.endswith(SCAFFOLD)
    )
    return RunState(str(run.run_id), str(run.display_name), str(run.state or "PENDING"), _message(run.error), tasks)


def _message(status: Any) -> str:
    return " ".join(str(status.message).split()) if status is not None and status.message else ""
