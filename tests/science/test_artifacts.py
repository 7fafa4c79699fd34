"""Artifacts: verified reading, whole or no writing, and foreign or hostile content."""

import errno
import json
import os
import pickle
import resource
import subprocess
import sys

import pytest
import torch

from realfeatures.errors import ArtifactError, StorageError
from realfeatures.science.artifacts import (
    commit,
    load_tensors,
    open_artifact,
    read_manifest,
    read_record,
    save_tensors,
    seal,
    storage_errors,
    write_bytes,
)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    save_tensors(made / "probe.safetensors", {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)})
    seal(made, kind="probe", record={"history": [{"epoch": 1, "loss": 0.5}]}, attributes={}, address="a" * 32)
    return made


def test_a_manifest_describes_every_file_and_tensor(folder) -> None:
    manifest = read_manifest(folder)
    assert set(manifest["files"]) == {"probe.safetensors", "record.json"}
    assert manifest["files"]["probe.safetensors"]["tensors"]["weight"] == {
        "dtype": "float32",
        "shape": [2, 3],
        "min": 0.0,
        "max": 5.0,
    }
    assert read_record(folder)["history"][0]["loss"] == 0.5


def test_equal_content_gives_equal_manifests(tmp_path) -> None:
    texts = []
    for name in ("first", "second"):
        made = tmp_path / name
        made.mkdir()
        save_tensors(made / "x.safetensors", {"b": torch.ones(2), "a": torch.zeros(2)})
        seal(made, kind="probe", record={}, attributes={}, address="a" * 32)
        texts.append((made / "manifest.json").read_bytes())
    assert texts[0] == texts[1]


def test_one_changed_byte_is_found_and_named(folder) -> None:
    path = folder / "probe.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"made/probe.safetensors: sha256 does not match .*run again"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "missing, so .* is no artifact"),
        (lambda folder: (folder / "probe.safetensors").unlink(), "probe.safetensors: missing"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "not a manifest"),
        (lambda folder: (folder / "manifest.json").write_text("[1]"), "not a manifest"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"), "not a manifest"),
    ],
)
def test_each_kind_of_damage_is_one_clear_line(folder, damage, message) -> None:
    damage(folder)
    with pytest.raises(ArtifactError, match=message) as caught:
        read_manifest(folder)
    assert "\n" not in str(caught.value)


def test_the_wrong_kind_and_another_schema_are_refused(folder) -> None:
    with pytest.raises(ArtifactError, match="is of kind 'probe', expected 'encoder'"):
        open_artifact(folder).require("encoder")
    assert open_artifact(folder).require("probe").tensors("probe.safetensors")["bias"].tolist() == [0.0, 0.0]
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(ArtifactError, match="schema version 99, expected 1"):
        read_manifest(folder)


def test_a_manifest_cannot_point_outside_its_folder(folder, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"sha256": "0" * 64, "bytes": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="outside its folder"):
        read_manifest(folder)


def test_a_pickle_is_refused_and_never_run(tmp_path) -> None:
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "boom"),)

    path = tmp_path / "encoder.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        load_tensors(path)
    assert not (tmp_path / "boom").exists()


def test_committing_moves_the_whole_folder(folder, tmp_path) -> None:
    destination = tmp_path / "cells" / "a"
    destination.parent.mkdir()
    commit(folder, destination)
    assert not folder.exists()
    assert read_manifest(destination)["kind"] == "probe"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "not read-only"), (errno.EACCES, "may write to")],
)
def test_what_the_disk_says_becomes_one_line_with_a_remedy(tmp_path, number, remedy) -> None:
    with pytest.raises(StorageError, match=remedy), storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_half_of_the_new(tmp_path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    program = f"""
import resource, signal
from pathlib import Path
from realfeatures.science.artifacts import write_bytes
from realfeatures.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path({str(path)!r}), b"x" * 100_000)
except StorageError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"cannot write {path}")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000
