"""The object store against a real S3 server: whole and verified or not at all, and what a person is told."""

import io
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy
from seaweedfs import BUCKET, OTHER_BUCKET, QUICK, SERVICE, STORE, SeaweedFS, needs_s3

from realfeatures.errors import (
    ConfigError,
    CorruptObjectError,
    DataError,
    MissingObjectError,
    StorageError,
    StoreUnavailableError,
)
from realfeatures.experiment.config import DataConfig
from realfeatures.experiment.presets import load_preset
from realfeatures.running.local import run_experiment
from realfeatures.science.artifacts import read_manifest, seal, write_json
from realfeatures.science.data.sources import load_source, pin_source
from realfeatures.store.cells import CellStore
from realfeatures.store.client import PART_BYTES, ObjectStore
from realfeatures.store.data import mirror, provide
from realfeatures.store.settings import Patience, read_settings

pytestmark = [*needs_s3, pytest.mark.usefixtures("s3_environment")]


def file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def realfeatures(*words: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "realfeatures.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


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


def pictures(folder: Path) -> Path:
    from PIL import Image

    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(3):
                colour = (40 * number, 200 if label == "cat" else 20, 0)
                Image.new("RGB", (8, 8), colour).save(folder / split / label / f"{number}.png")
    return folder


def test_a_mirrored_folder_is_used_where_neither_path_nor_cache_has_it(store, tmp_path, monkeypatch):
    folder = pictures(tmp_path / "pets")
    config = pin_source(DataConfig(source=f"folder:{folder}"))
    before = load_source(config)
    assert mirror(DataConfig(source=f"folder:{folder}"), store) == config
    (first,) = store.list("data/")
    assert first.key == f"data/{config.sha256}.tar"
    assert mirror(DataConfig(source=f"folder:{folder}"), store) == config
    assert list(store.list("data/")) == [first]

    folder.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "another cache"))
    provide(config, store)
    assert pin_source(config) == config
    after = load_source(config)
    assert after["train"].images.equal(before["train"].images)
    assert after["test"].labels.equal(before["test"].labels)
    assert sorted(path.name for path in (tmp_path / "another cache").iterdir()) == ["decoded"]


def test_a_mirror_says_how_a_run_finds_it(store, tmp_path):
    folder = pictures(tmp_path / "my pets")
    done = realfeatures("store", "mirror", f"folder:{folder}", "--store", STORE)
    assert done.returncode == 0, done.stderr
    (stored,) = store.list("data/")
    said = shlex.split(done.stdout.partition(": ")[2])
    assert said[::2] == ["--set", "--set"]
    data = load_preset("digits", said[1::2]).data
    assert (data.source, f"data/{data.sha256}.tar") == (f"folder:{folder}", stored.key)


def test_a_copy_that_another_pillow_decoded_is_told_and_replaced(store, tmp_path, monkeypatch):
    source = DataConfig(source=f"folder:{pictures(tmp_path / 'pets')}")
    with monkeypatch.context() as older:
        older.setattr("realfeatures.science.data.decoded._made_by", lambda: {"format": 1, "pillow": "9.0"})
        config = mirror(source, store)
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "pod"))
    for _ in range(2):
        with pytest.raises(DataError, match="decoded by another version of realfeatures or Pillow; mirror it again"):
            provide(config, store)
    assert mirror(source, store) == config
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "another pod"))
    provide(config, store)
    assert len(load_source(config)["train"].labels) == 6


def test_a_named_set_is_mirrored_with_its_files(store, tmp_path, monkeypatch):
    files = tmp_path / "cache" / "downloads" / "cifar10" / "cifar-10-batches-py"
    files.mkdir(parents=True)
    names = ["batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6))]
    for name in names:
        (files / name).write_text(name)
    mirror(DataConfig(source="cifar10"), store)
    assert [one.key for one in store.list()] == ["data/cifar10.tar"]
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "pod"))
    provide(DataConfig(source="cifar10"), store)
    there = tmp_path / "pod" / "downloads" / "cifar10" / "cifar-10-batches-py"
    assert {path.name: path.read_text() for path in there.iterdir()} == {name: name for name in names}


def test_what_ships_with_a_library_needs_no_mirror(store):
    with pytest.raises(ConfigError, match="every machine has it"):
        mirror(DataConfig(source="digits"), store)


# --- runs ------------------------------------------------------------------------------------------------------------

TINY = (
    "experiments=E2",
    "paradigms=supervised",
    "features=natural",
    "data.train_size=1297",
    "supervised.optimizer.epochs=12",
    "attack.images=20",
    "attack.pgd_steps=2",
    "attack.autoattack=[]",
)


def settings() -> list[str]:
    # One worker: the cells are a chain, nearly, and a second one costs seconds to start.
    return ["--jobs", "1", *(word for assignment in TINY for word in ("--set", assignment))]


def digests(out: Path) -> dict[str, dict]:
    return {path.parent.name: read_manifest(path.parent)["files"] for path in out.glob("cells/*/manifest.json")}


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, dict]:
    out = tmp_path_factory.mktemp("expected") / "run"
    run_experiment(load_preset("digits", TINY), seeds=[0], out=out, jobs=1)
    return digests(out)


def test_a_stage_killed_at_random_steps_resumes_on_empty_disks(store, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("REALFEATURES_STORE", STORE)
    seed = time.time_ns()
    print(f"pauses from seed {seed}")
    pauses = [random.Random(seed + number).uniform(0.0, 1.0) for number in range(3)]
    kills = sum(killed_stage(store, tmp_path / f"disk{number}", pause) for number, pause in enumerate(pauses))
    last = tmp_path / "last"
    assert start_stage(last).wait(120) == 0
    manifest = read_manifest(last / "encoder")
    assert kills > 0
    assert json.loads((last / "encoder" / "run.json").read_text())["resumed"]
    assert manifest["files"] == expected[manifest["address"]]
    # It is there until the artifact is: whoever dies between the two has lost nothing.
    assert len(list(store.list("checkpoints/"))) == 1
    CellStore(store).keep(manifest["address"], last / "encoder")
    assert list(store.list("checkpoints/")) == []


def start_stage(disk: Path) -> subprocess.Popen:
    disk.mkdir()
    program = Path(__file__).parents[1] / "resumable_stage.py"
    return subprocess.Popen([sys.executable, str(program), str(disk), json.dumps(TINY)])


def killed_stage(store: ObjectStore, disk: Path, pause: float) -> bool:
    """Start the stage, and kill it so many seconds after a new checkpoint of it is in the store."""
    before = [one.modified for one in store.list("checkpoints/")]
    process = start_stage(disk)
    while process.poll() is None and [one.modified for one in store.list("checkpoints/")] == before:
        time.sleep(0.05)
    time.sleep(pause)
    process.kill()
    return process.wait() == -signal.SIGKILL


@pytest.mark.usefixtures("store")
def test_a_run_on_an_empty_disk_takes_all_from_the_store_and_computes_nothing(expected, tmp_path):
    command = ["run", "--preset", "digits", *settings(), "--store", STORE, "--name", "first"]
    first = realfeatures(*command, "--out", str(tmp_path / "a"))
    assert first.returncode == 0, first.stderr
    second = realfeatures(*command, "--out", str(tmp_path / "b"))
    assert second.returncode == 0, second.stderr
    assert "cells come from s3://" in second.stderr
    assert digests(tmp_path / "a") == digests(tmp_path / "b") == expected
    started = [json.loads(path.read_text())["seconds"] for path in (tmp_path / "b").glob("cells/*/run.json")]
    assert sorted(started) == sorted(
        json.loads(path.read_text())["seconds"] for path in (tmp_path / "a").glob("cells/*/run.json")
    )
    shown = realfeatures("store", "get", "runs/first/", str(tmp_path / "report"), "--store", STORE)
    assert shown.returncode == 0, shown.stderr
    assert json.loads((tmp_path / "report" / "results.json").read_text())["seeds"] == [0]


def test_a_run_that_is_asked_to_stop_leaves_its_checkpoint_in_the_store(store, expected, tmp_path):
    command = [
        sys.executable,
        "-m",
        "realfeatures.cli.main",
        "run",
        "--preset",
        "digits",
        *settings(),
        "--store",
        STORE,
    ]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "a")])
    while not any((tmp_path / "a" / "partial").glob("*/output")) or len(list(store.list("cells/"))) < 1:
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, 130)
    stopped = len(list(store.list("checkpoints/")))
    done = realfeatures(*command[3:], "--out", str(tmp_path / "b"))
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "b") == expected
    assert stopped == 1 or process.returncode == 0


def test_a_server_that_is_away_is_another_exit_code_than_a_mistake(tmp_path):
    """A Job tries again after the one, and gives up after the other."""
    words = ("run", *settings(), "--store", STORE, "--out", str(tmp_path / "out"))
    done = realfeatures(*words, AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert done.returncode == 75
    assert done.stderr.splitlines()[-1].startswith(f"error: {STORE} at 127.0.0.1:1: look for the bucket:")
    assert not (tmp_path / "out").exists()


def test_a_wrong_store_stops_a_run_before_anything_is_computed(tmp_path):
    out = tmp_path / "out"
    done = realfeatures("run", *settings(), "--store", "s3://nowhere", "--out", str(out))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: s3://nowhere")
    assert not out.exists()


# --- commands --------------------------------------------------------------------------------------------------------


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
