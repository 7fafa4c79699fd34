"""The compiled pipeline in real, hardened containers: the bytes of the one-machine run."""

import re

import pytest
from docker_daemon import image
from kfp import local
from local_pipeline import compile_here, run_here
from test_pipeline_runs import TINY, artifacts, numbers

from realfeatures.experiment.presets import load_preset
from realfeatures.running.local import run_experiment
from realfeatures.running.plan import make_plan
from realfeatures.science.stages import STAGES

__all__ = ["image"]

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SETTINGS = (
    *TINY,
    "features=natural",
    "paradigms=contrastive,diffusion",
    "diffusion.optimizer.epochs=1",
    "timesteps=[50]",
    "transfer.images=20",
    "loss_curves.images=20",
)
PRESET = load_preset("digits", [*SETTINGS, "experiments=E5,E6,controls"])
"""Every stage: image sets of four kinds, neighbours, another timestep, transfer, loss curves."""


def test_containers_give_the_bytes_of_the_one_machine_run(image, tmp_path):
    folder = tmp_path / "containers"
    (folder / "kfp").mkdir(parents=True)
    (folder / "kfp").chmod(0o777)  # the container's user has no name here
    run = run_here(compile_here(PRESET, folder, image=image), folder, runner=hardened())
    run_experiment(PRESET, out=tmp_path / "out", jobs=1)

    expected = dict(artifacts(tmp_path / "out", "cells/*/manifest.json"))
    plan = make_plan(PRESET, seeds=[0])
    assert set(expected) == set(plan.addresses.values())
    assert dict(artifacts(run, "*/*/cells/*/manifest.json")) == expected
    assert numbers(run / "report" / "results") == numbers(tmp_path / "out" / "results.json")
    assert {cell.stage for cell in plan.grid} == set(STAGES)
    assert re.search("<svg", (run / "report" / "html").read_text())


def hardened() -> local.DockerRunner:
    return local.DockerRunner(
        # A pod's command replaces the image's entry point; kfp's local runner leaves it.
        entrypoint="",
        read_only=True,
        tmpfs={"/tmp": "rw,size=256m,mode=1777"},  # noqa: S108 - inside the container
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        user="10001:10001",
        network_mode="none",
    )
