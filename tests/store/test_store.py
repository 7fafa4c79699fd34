"""The object store against a real S3 server: whole and verified or not at all, and what a person is told."""

import io
import os
import threading
import time
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy
from seaweedfs import BUCKET, OTHER_BUCKET, QUICK, SERVICE, STORE, SeaweedFS, needs_s3

from realfeatures.errors import ConfigError, CorruptObjectError, MissingObjectError, StorageError, StoreUnavailableError
from realfeatures.science.artifacts import seal, write_json
from realfeatures.store.cells import CellStore
from realfeatures.store.client import PART_BYTES, ObjectStore
from realfeatures.store.settings import Patience, read_settings

pytestmark = [*needs_s3, pytest.mark.usefixtures("s3_environment")]


def file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 7])
def test_what_was_put_comes_back(size, store, tmp_path):
    content = os.urandom(size)
    told = []
    store.put(file(tmp_path / "a", content), "a", progress=lambda done, total: told.append((done, total)))
    store.get("a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content
    assert size == 0 or told[-1] == (size, size)
    assert [(one.key, one.size_bytes) for one in store.list()] == [("a", size)]


@pytest.mark.parametrize("size", [3, PART_BYTES + 3])
def test_a_conditional_put_keeps_what_is_there(size, store, tmp_path):
    first, second = file(tmp_path / "1", b"1" * size), file(tmp_path / "2", b"2" * size)
    assert store.put(first, "cell", overwrite=False)
    assert not store.put(second, "cell", overwrite=False)
    store.get("cell", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == first.read_bytes()
    assert store.put(second, "cell")
    store.get("cell", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == second.read_bytes()


def test_a_store_is_a_part_of_its_bucket(s3_server, store, tmp_path):
    store.put(file(tmp_path / "a", b"a"), "runs/a")
    (name,) = [found.object_name for found in s3_server.admin().list_objects(BUCKET, recursive=True)]
    assert name == "paper/runs/a"
    assert list(ObjectStore.from_location(f"s3://{BUCKET}/other").list()) == []


def test_a_tampered_object_is_refused_and_no_file_appears(s3_server, store, tmp_path):
    store.put(file(tmp_path / "a", b"honest"), "a")
    metadata = s3_server.admin().stat_object(BUCKET, "paper/a").metadata
    digest = {"sha256": metadata["x-amz-meta-sha256"]}
    s3_server.admin().put_object(BUCKET, "paper/a", io.BytesIO(b"forged"), 6, metadata=digest)
    with pytest.raises(CorruptObjectError, match=r"paper: a: sha256 is .*expected .*delete it and run again$"):
        store.get("a", tmp_path / "b")
    s3_server.admin().put_object(BUCKET, "paper/a", io.BytesIO(b"forged"), 6)
    with pytest.raises(CorruptObjectError, match="not put there by realfeatures"):
        store.get("a", tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["a"]


def test_a_missing_object_is_told(store, tmp_path):
    assert not store.holds("nothing", file(tmp_path / "a", b"a"))
    with pytest.raises(MissingObjectError, match=r"get nothing: there is no such object"):
        store.get("nothing", tmp_path / "b")
    store.delete("nothing")


@pytest.mark.parametrize(
    ("location", "environment", "kind", "expected"),
    [
        ("s3://nowhere", {}, StorageError, "there is no such bucket|may not do that"),
        (STORE, {"AWS_SECRET_ACCESS_KEY": "guess"}, StorageError, "the secret key is wrong"),
        (STORE, {"AWS_ACCESS_KEY_ID": "guess"}, StorageError, "the access key is unknown"),
        (STORE, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, StoreUnavailableError, "the server cannot be reached"),
        (STORE, {"AWS_ENDPOINT_URL": "http://nobody.invalid"}, StoreUnavailableError, "the host's name is unknown"),
        (f"s3://{OTHER_BUCKET}", {}, StorageError, "these credentials may not do that"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_that_shows_no_secret(
    location, environment, kind, expected, monkeypatch, caplog
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=expected) as raised:
        ObjectStore.from_location(location).check()
    said = str(raised.value) + caplog.text + repr(read_settings(location))
    assert "\n" not in str(raised.value)
    assert SERVICE[1] not in said


@pytest.mark.parametrize(
    ("location", "environment", "expected"),
    [
        ("experiments", {}, "expected s3://BUCKET"),
        ("s3://Experiments", {}, "expected s3://BUCKET"),
        (STORE, {"AWS_ENDPOINT_URL": "localhost:9000"}, "expected http://HOST:PORT"),
        (STORE, {"AWS_SECRET_ACCESS_KEY": ""}, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (STORE, {"REALFEATURES_STORE_SECRET": "/nowhere"}, "expected the files accesskey and secretkey"),
    ],
)
def test_settings_that_are_wrong_are_told_before_any_connection(location, environment, expected):
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", **environment}
    with pytest.raises(ConfigError, match=expected):
        read_settings(location, given)


def test_credentials_may_be_a_mounted_secret(tmp_path, monkeypatch):
    for name, value in zip(("accesskey", "secretkey"), SERVICE, strict=True):
        (tmp_path / name).write_text(value + "\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("REALFEATURES_STORE_SECRET", str(tmp_path))
    ObjectStore.from_location(STORE).check()


def test_the_services_credentials_reach_no_other_bucket(s3_server, tmp_path):
    s3_server.admin().put_object(OTHER_BUCKET, "salaries", io.BytesIO(b"secret"), 6)
    other = ObjectStore.from_location(f"s3://{OTHER_BUCKET}", patience=QUICK)
    for action in (
        lambda: list(other.list()),
        lambda: other.get("salaries", tmp_path / "b"),
        lambda: other.put(file(tmp_path / "a", b"a"), "a"),
        lambda: other.delete("salaries"),
    ):
        with pytest.raises(StorageError, match="these credentials may not do that"):
            action()
    assert s3_server.admin().get_object(OTHER_BUCKET, "salaries").read() == b"secret"


def test_a_server_that_stalls_is_given_up_after_its_time(s3_server, monkeypatch):
    with FaultyProxy(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        store = ObjectStore.from_location(STORE, patience=QUICK)
        list(store.list())
        proxy.stalls = True
        with pytest.raises(StoreUnavailableError, match="did not answer in time"):
            list(store.list())
        proxy.stalls = False
        list(store.list())


def test_a_full_server_is_told(tmp_path, monkeypatch):
    """One volume of 1 MB, and no other: the next write finds no place."""
    full = SeaweedFS(tmp_path / "full", ("-volume.max=1", "-master.volumeSizeLimitMB=1")).start()
    try:
        for name, value in full.environment().items():
            monkeypatch.setenv(name, value)
        store = ObjectStore.from_location(STORE, patience=QUICK)
        content = file(tmp_path / "big", os.urandom(4 * 2**20))
        with pytest.raises(StorageError, match=r"server (is full|runs and has space)"):
            fill(store, content)
    finally:
        full.stop()


def fill(store: ObjectStore, content: Path) -> None:
    for number in range(10):
        store.put(content, f"big{number}")


def test_a_server_killed_during_an_upload_leaves_no_half_object(tmp_path, monkeypatch):
    server = SeaweedFS(tmp_path / "killed").start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    store = ObjectStore.from_location(STORE, patience=Patience(connect_seconds=2, read_seconds=10))
    small, large = file(tmp_path / "small", b"s"), file(tmp_path / "large", os.urandom(12 * PART_BYTES))
    store.put(small, "small")

    def restart() -> None:
        server.stop()
        time.sleep(0.5)
        server.start()

    crash = threading.Thread(target=restart)
    begun = threading.Event()

    def progress(done: int, _total: int) -> None:
        if done > 3 * PART_BYTES and not begun.is_set():
            begun.set()
            crash.start()

    try:
        store.put(large, "large", progress=progress)  # tried again until the server is back
        crash.join()
        for name, path in (("small", small), ("large", large)):
            store.get(name, tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == path.read_bytes()
    finally:
        server.stop()


def write_cell(folder: Path, address: str, text: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_text(text)
    seal(folder, kind="probe", record={}, attributes={}, address=address)
    write_json(folder / "run.json", {"seconds": 1})
    return folder


def test_a_cell_comes_back_as_it_was(store, tmp_path):
    cells = CellStore(store)
    folder = write_cell(tmp_path / "a", "a" * 32, "weights")
    cells.keep("a" * 32, folder)
    assert cells.finished() == {"a" * 32}
    assert cells.restore("a" * 32, tmp_path / "cells" / "b")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "cells" / "b").iterdir()
    }
    assert not cells.restore("c" * 32, tmp_path / "cells" / "c")


def test_of_two_workers_that_finish_a_cell_at_once_one_is_kept_whole(store, tmp_path):
    cells = CellStore(store)
    folders = [write_cell(tmp_path / name, "a" * 32, name * 1000) for name in "abcd"]
    threads = [threading.Thread(target=cells.keep, args=("a" * 32, folder)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cells.restore("a" * 32, tmp_path / "back")
    assert (tmp_path / "back" / "weights.bin").read_text() in {name * 1000 for name in "abcd"}


@pytest.mark.parametrize("damage", ["not a tar", "another cell"])
def test_a_damaged_cell_is_told_removed_and_computed_again(damage, store, tmp_path, caplog):
    cells = CellStore(store)
    if damage == "another cell":
        cells.keep("a" * 32, write_cell(tmp_path / "b", "b" * 32))
    else:
        store.put(file(tmp_path / "junk", b"junk"), f"cells/{'a' * 32}.tar")
    assert not cells.restore("a" * 32, tmp_path / "back")
    assert "the cell is computed again" in caplog.text
    assert not (tmp_path / "back").exists()
    cells.keep("a" * 32, write_cell(tmp_path / "a", "a" * 32))
    assert cells.restore("a" * 32, tmp_path / "back")
