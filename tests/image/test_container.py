"""The cpu image in a real Docker daemon: what is in it, and that it runs hardened with the one-machine run's bytes."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from docker_daemon import HARDENED, checkout, docker, edit_code, edit_what_no_image_holds, image, inspect, make
from image_scan import ASSIGNMENT, secrets_in, secrets_of_image

from realfeatures.experiment.address import code_digest
from realfeatures.experiment.presets import load_preset
from realfeatures.running.local import run_experiment
from realfeatures.running.plan import make_plan
from realfeatures.science.artifacts import read_manifest

__all__ = ["checkout", "image"]

pytestmark = pytest.mark.docker

TINY = (
    "experiments=E2",
    "paradigms=supervised",
    "features=natural,non_robust",
    "data.train_size=120",
    "data.test_size=40",
    "supervised.optimizer.epochs=2",
    "supervised.optimizer.warmup_epochs=0",
    "non_robust.steps=3",
    "probe.epochs=2",
    "attack.images=20",
    "attack.pgd_steps=2",
    "attack.autoattack=[]",
    "attack.autoattack_images=20",
)
TINY_RUN = ("run", "--preset=digits", "--jobs=1", *(f"--set={override}" for override in TINY))

ARBITRARY = "1234560000:0"
"""A user as OpenShift gives one: not in /etc/passwd, in root's group."""

SCRATCH = {"/tmp", "/var/tmp", "/run/lock", "/scratch"}  # noqa: S108 - places in the image
"""All that anyone may write where the root file system is not read-only."""


def test_the_labels_say_which_code_is_inside(image):
    labels = inspect(image)["Config"]["Labels"]
    assert labels["realfeatures.code"] == code_digest()
    assert labels["org.opencontainers.image.version"] == image.partition(":")[2]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_image_is_not_root_and_nothing_in_it_makes_root(image):
    assert inspect(image)["Config"]["User"] == "10001:10001"
    assert shell(image, "id -u; id -g").split() == ["10001", "10001"]
    assert shell(image, "find / -xdev -type f -perm /6000", "--user=0") == ""


@pytest.mark.parametrize("user", ["10001:10001", ARBITRARY])
def test_only_the_places_for_scratch_can_be_written(user, image):
    places = shell(
        image, "find / -xdev -writable ! -type l ! -path '/dev/*' ! -path '/proc/*' || true", f"--user={user}"
    )
    assert set(places.split()) == SCRATCH


def test_a_read_only_root_refuses_writing(image):
    refused = docker(
        "run", *HARDENED, "--entrypoint=touch", image, "/scratch/file", "/opt/realfeatures/file", check=False
    )
    assert refused.returncode != 0
    assert refused.stderr.count("Read-only file system") == 2


def test_no_layer_holds_a_secret(image):
    assert list(secrets_of_image(image)) == []


def test_neither_environment_nor_history_holds_a_secret(image):
    text = "\n".join(inspect(image)["Config"]["Env"]) + docker("history", "--no-trunc", image).stdout
    assert secrets_in(text.encode()) == []
    assert not ASSIGNMENT.search(text)


def test_the_image_has_no_development_tools_and_no_cuda(image):
    modules = "pytest", "ruff", "mypy", "timm", "triton", "pip", "uv"
    code = f"from importlib.util import find_spec; print([m for m in {modules} if find_spec(m)])"
    assert shell(image, f'python3 -c "{code}"').strip() == "[]"
    assert shell(image, 'python3 -c "import torch; print(torch.cuda.is_available())"').strip() == "False"


def test_the_entry_point_is_the_command_line(image):
    assert "Which features of an image are real?" in docker("run", *HARDENED, image, "--help").stdout


def test_a_read_only_container_gives_the_bytes_of_the_one_machine_run(image, expected, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o777)
    docker("run", *HARDENED, *cpu_kernels(), f"--volume={scratch}:/scratch", image, *TINY_RUN)
    assert artifacts(scratch / "runs" / "digits") == expected
    assert "<svg" in (scratch / "runs" / "digits" / "report.html").read_text()


def test_an_arbitrary_user_with_nothing_but_tmp_gives_the_same_bytes(image, expected, tmp_path):
    command = f"realfeatures {' '.join(TINY_RUN)} --out /tmp/run >&2 && tar --directory /tmp/run --create cells"
    client = [os.environ.get("DOCKER", "docker"), "run", *HARDENED, *cpu_kernels(), f"--user={ARBITRARY}"]
    done = subprocess.run([*client, "--entrypoint=sh", image, "-c", command], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(tmp_path, filter="data")
    assert artifacts(tmp_path) == expected
    assert b"Warning" not in done.stderr


@pytest.mark.usefixtures("image")
def test_an_edited_readme_keeps_every_layer_and_edited_code_all_but_the_last(checkout):
    before, layers = build(checkout)
    edit_what_no_image_holds(checkout)
    assert build(checkout) == (before, layers)

    edit_code(checkout)
    changed, changed_layers = build(checkout)
    try:
        assert changed != before
        assert changed_layers[:-1] == layers[:-1]
        assert changed_layers[-1] != layers[-1]
    finally:
        docker("image", "rm", changed)


def build(checkout: Path) -> tuple[str, list[str]]:
    """Return the name and the layers of the image of a checkout."""
    make("image", checkout=checkout)
    name = make("image-name", checkout=checkout)
    return name, inspect(name)["RootFS"]["Layers"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, dict]:
    """Return the artifacts of the one-machine run of this checkout, by address."""
    folder = tmp_path_factory.mktemp("one-machine")
    preset = load_preset("digits", TINY)
    run_experiment(preset, out=folder, jobs=1)
    found = artifacts(folder)
    assert set(found) == set(make_plan(preset, seeds=[0]).addresses.values())
    return found


def artifacts(run: Path) -> dict[str, dict]:
    """Return the files, with their digests, of every finished artifact of a run; reading verifies each."""
    return {path.parent.name: read_manifest(path.parent)["files"] for path in run.glob("cells/*/manifest.json")}


def cpu_kernels() -> list[str]:
    """Return options that give the container this process's choice of OpenBLAS kernels, which may change bytes."""
    return [f"--env={name}={value}" for name, value in os.environ.items() if name.startswith("OPENBLAS_")]


def shell(image: str, command: str, *options: str) -> str:
    return docker("run", "--rm", "--network=none", *options, "--entrypoint=sh", image, "-c", command).stdout
