"""How the image is named and what goes into it: the tag, the base, the locks. Needs no Docker."""

import re
import runpy
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
from docker_daemon import ROOT, checkout, edit_code, edit_what_no_image_holds
from image_scan import secrets_of_layer

__all__ = ["checkout"]

PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)


def pins(lock: str) -> set[tuple[str, str]]:
    return set(PIN.findall((ROOT / lock).read_text()))


def name_of(checkout: Path) -> str:
    name = runpy.run_path(str(checkout / "image" / "name.py"))
    return name["content_digest"](checkout)


def test_the_tag_is_a_digest_of_what_goes_in_and_of_nothing_else(checkout):
    before = name_of(checkout)
    assert name_of(ROOT) == before
    edit_what_no_image_holds(checkout)
    assert name_of(checkout) == before
    edit_code(checkout)
    assert name_of(checkout) != before


@pytest.mark.parametrize("path", ["Dockerfile", ".dockerignore", "image/requirements.lock", "components/attack.py"])
def test_everything_that_makes_the_image_is_in_its_tag(path, checkout):
    before = name_of(checkout)
    with (checkout / path).open("a") as file:
        file.write("# one more line\n")
    assert name_of(checkout) != before


def test_a_target_that_is_none_is_a_one_line_error():
    done = subprocess.run(["make", "image-name", "TARGET=tpu"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "error: TARGET=tpu: expected cpu or gpu"


def test_the_base_is_pinned_by_digest():
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", base)


def test_the_image_holds_the_versions_that_the_tests_run_on():
    assert pins("image/requirements.lock") < pins("requirements.lock")
    installed = {name for name, _ in pins("image/requirements.lock")}
    assert {"torch", "kfp", "minio", "pyautoattack"} <= installed
    development = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    assert not installed & {re.split(r"[^a-z0-9-]", requirement.lower())[0] for requirement in development}


def test_what_the_cpu_image_leaves_out_is_in_the_lock():
    lines = (ROOT / "image/cpu-excludes.txt").read_text().splitlines()
    excluded = {line for line in lines if not line.startswith("#")}
    installed = {name for name, _ in pins("image/requirements.lock")}
    assert excluded <= installed
    for_gpus = {name for name in installed if name.startswith(("nvidia-", "cuda-"))}
    assert for_gpus - excluded == {"nvidia-cuda-runtime", "nvidia-cuda-cupti"}


def test_the_image_is_built_with_the_uv_of_the_makefile():
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert ("uv", version) in pins("image/requirements-build.lock")


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN RSA PRIVATE KEY-----\n" + b"A" * 64 + b"\n",
        b"id AKIA" + b"Q" * 16,
        b"https://me:hunter2@index.corp.net/simple",
    ],
)
def test_the_scan_for_secrets_finds_one(text, tmp_path):
    (tmp_path / "settings").write_bytes(text)
    (tmp_path / ".netrc").write_bytes(b"machine index")
    with tarfile.open(tmp_path / "layer.tar", "w") as layer:
        layer.add(tmp_path / "settings", "etc/settings")
        layer.add(tmp_path / ".netrc", "root/.netrc")
    with tarfile.open(tmp_path / "layer.tar") as layer:
        paths = [found.partition(":")[0] for found in secrets_of_layer(layer)]
    assert paths == ["etc/settings", "root/.netrc"]
