"""The commands that look into a store and clear it up."""

import io
import sys
from pathlib import Path

import pytest
from command_line import realfeatures
from seaweedfs import STORE, needs_s3

from realfeatures.errors import ConfigError

pytestmark = [*needs_s3, pytest.mark.usefixtures("s3_environment")]


def file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_old_cells_and_checkpoints_are_deleted_and_the_rest_stays(store, tmp_path, monkeypatch):
    for key in ("cells/a.tar", "checkpoints/b.safetensors", "runs/x/results.json", "data/cifar10.tar"):
        store.put(file(tmp_path / "a", b"123"), key)
    new = realfeatures("store", "gc", "--older-than", "1d", "--yes", "--store", STORE)
    assert "0 objects" in new.stdout
    from realfeatures.cli import storage

    monkeypatch.setattr(storage, "_days", lambda _text: -1)  # as if it were the day after tomorrow
    storage.gc("1d", dry_run=True, store=STORE)
    assert len(list(store.list())) == 4
    monkeypatch.setattr(sys, "stdin", io.StringIO("y"))
    with pytest.raises(ConfigError, match="say --yes to delete"):
        storage.gc("1d", store=STORE)
    assert len(list(store.list())) == 4
    storage.gc("1d", yes=True, store=STORE)
    assert [one.key for one in store.list()] == ["data/cifar10.tar", "runs/x/results.json"]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ls"], "no object store is named"),
        (["ls", "--store", "bucket"], "expected s3://BUCKET"),
        (["gc", "--older-than", "soon", "--store", STORE], "expected a number of days"),
        (["get", "nothing", "out", "--store", STORE], "there is no such object"),
        (["get", "nothing/", "out", "--store", STORE], "no object begins with it"),
        (["put", "nothing", "key", "--store", STORE], "expected a file that exists"),
        (["mirror", "cifar11", "--store", STORE], "is unknown; expected one of"),
    ],
)
def test_a_wrong_store_command_is_one_line(words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = realfeatures("store", *words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("store")
def test_objects_are_put_listed_and_got_from_the_command_line(tmp_path):
    note = file(tmp_path / "note.md", b"# note")
    assert realfeatures("store", "put", str(note), "runs/x/note.md", "--store", STORE).returncode == 0
    listed = realfeatures("store", "ls", "runs/", REALFEATURES_STORE=STORE)
    assert "runs/x/note.md" in listed.stdout
    assert "1 object" in listed.stdout
    assert realfeatures("store", "get", "runs/x/", str(tmp_path / "got"), "--store", STORE).returncode == 0
    assert (tmp_path / "got" / "note.md").read_bytes() == b"# note"
