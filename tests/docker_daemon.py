"""A Docker daemon and the image of this checkout, for the tests marked `docker`; .ci/docker-base brings a daemon."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BUILD_SECONDS = 1200
"""chosen: a cold build takes about one minute with the registry near, and downloads 0.7 GB."""
RUN_SECONDS = 300

HARDENED = (
    "--rm",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
    "--tmpfs=/tmp:rw,mode=1777",
)
"""A pod under Pod Security "restricted" with a read-only root, and no network besides."""


def docker(*arguments: str, seconds: float = RUN_SECONDS, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the Docker client; its output is text."""
    command = [os.environ.get("DOCKER", "docker"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=check)


def make(*arguments: str, checkout: Path = ROOT) -> str:
    """Run a verb of the Makefile and return what it prints; DOCKER, BASE and CA come from the environment."""
    command = ["make", "--silent", "--directory", str(checkout), f"PYTHON={sys.executable}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def inspect(image: str) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", image).stdout)
    return found


@pytest.fixture(scope="session")
def image() -> str:
    """Return the name of the cpu image of this checkout, which is built where it is not there yet."""
    try:
        docker("info", seconds=10)
    except (OSError, subprocess.SubprocessError):
        pytest.skip('no Docker daemon answers; start one or: settings=$(.ci/docker-base start) && eval "$settings"')
    make("image")
    return make("image-name")


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Return a copy of what an image is built from, and of a little more."""
    copy = tmp_path / "checkout"
    for name in ("LICENSE", "Makefile", "README.md", "Dockerfile", ".dockerignore", "pyproject.toml"):
        copy.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for name in ("image", "src", "components", "pipelines"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return copy


def edit_what_no_image_holds(checkout: Path) -> None:
    with (checkout / "README.md").open("a") as readme:
        readme.write("\nOne more line.\n")
    (checkout / ".env").write_text("PASSWORD=1\n")
    for folder in ("tests", "runs", "src/realfeatures/__pycache__", "realfeatures.egg-info"):
        (checkout / folder).mkdir()
        (checkout / folder / "new.py").write_text("pass\n")


def edit_code(checkout: Path) -> None:
    with (checkout / "src/realfeatures/running/cost.py").open("a") as module:
        module.write("# one more line\n")
