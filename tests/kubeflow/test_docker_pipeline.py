"""The compiled pipeline in real, hardened containers: the bytes of the one-machine run."""

import re
from pathlib import Path

import pytest
from docker_daemon import image
from kfp import components, local
from kfp.local.config import LocalRunnerType
from test_pipeline_runs import TINY, artifacts

from realfeatures.experiment.config import Preset
from realfeatures.experiment.presets import load_preset
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import load_profile
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
    in_containers = run_pipeline(PRESET, tmp_path / "containers", runner=hardened(), image=image)
    run_experiment(PRESET, out=tmp_path / "out", jobs=1)

    expected = dict(artifacts(tmp_path / "out", "cells/*/manifest.json"))
    plan = make_plan(PRESET, seeds=[0])
    assert set(expected) == set(plan.addresses.values())
    assert in_containers == expected
    assert {cell.stage for cell in plan.grid} == set(STAGES)
    (page,) = (tmp_path / "containers" / "kfp").glob("*/report/html")
    assert re.search("<svg", page.read_text())


def run_pipeline(preset: Preset, folder: Path, *, runner: LocalRunnerType, image: str) -> dict:
    """Run a pipeline's tasks and return the files of every artifact, with their digests, by address."""
    root = folder / "kfp"
    root.mkdir(parents=True)
    root.chmod(0o777)  # the container's user has no name here
    path, profile = folder / "paper.yaml", load_profile("cpu")
    compile_pipeline(preset, seed=0, repetitions=1, image=image, profile=profile, path=path)
    local.init(runner, pipeline_root=str(root), enable_caching=False)
    components.load_component_from_file(str(path))()
    return dict(artifacts(root, "*/*/*/manifest.json"))


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
