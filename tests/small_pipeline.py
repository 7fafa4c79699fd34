"""A pipeline of a few cells, for tests of what is done with one."""

from pathlib import Path

from realfeatures.experiment.presets import load_preset
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
from realfeatures.kubeflow.server.submit import start, upload
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import load_profile
from realfeatures.running.plan import make_plan

SMALL = ("experiments=E2", "paradigms=supervised", "features=natural")
IMAGE = "registry.example/realfeatures@sha256:" + "0" * 64


def compile_small(path: Path, *changes: str, cache: bool = True) -> Path:
    preset = load_preset("digits", [*SMALL, *changes])
    compile_pipeline(make_plan(preset, seeds=[0]), image=IMAGE, profile=load_profile("cpu"), path=path, cache=cache)
    return path


def started(kubeflow: Kubeflow, paper: Path, **form) -> str:
    """Start a run of a compiled pipeline; returns its id."""
    values = {"experiment": "realfeatures", "run_name": "first", "seed": 3, "overrides": "{}", **form}
    return start(kubeflow, upload(kubeflow, paper, label="digits E2 x1"), **values)
