"""Servers, networks and pods on a bad day: nothing corrupt is accepted, and whoever can go on does."""

import copy
import io
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy
from seaweedfs import BUCKET, OTHER_BUCKET, QUICK, SERVICE, STORE, SeaweedFS, needs_s3

from realfeatures.errors import Interrupted, StorageError, StoreUnavailableError
from realfeatures.experiment.grid import cells
from realfeatures.experiment.presets import load_preset
from realfeatures.running.local import run_experiment
from realfeatures.running.plan import make_plan
from realfeatures.science.artifacts import open_artifact, read_manifest
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.execution import execute
from realfeatures.store import ObjectStore
from realfeatures.store.cells import CellStore
from realfeatures.store.client import PART_BYTES
from realfeatures.store.settings import Patience

pytestmark = [*needs_s3, pytest.mark.usefixtures("s3_environment")]

SIZE = 2 * 2**20
TINY = (
    "experiments=E2",
    "paradigms=supervised",
    "features=natural",
    "data.train_size=400",
    "supervised.optimizer.epochs=20",
    "probe.epochs=1",
    "attack.images=20",
    "attack.pgd_steps=2",
    "attack.autoattack=[]",
)
ENCODER = "seed0/natural/supervised/encoder"


@pytest.fixture
def proxy(s3_server, monkeypatch):
    with FaultyProxy(s3_server.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        yield running


@pytest.fixture
def content(tmp_path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(os.urandom(SIZE))
    return path


# --- one request goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("fault", [{"busy": 1}, {"cut": {"answer": 0}}, {"cut": {"request": SIZE // 2}}], ids=str)
def test_an_upload_that_breaks_is_made_again(fault, overwrite, store, proxy, content, tmp_path, caplog):
    vars(proxy).update(copy.deepcopy(fault))
    ObjectStore.from_location(STORE, patience=QUICK).put(content, "a", overwrite=overwrite)
    assert caplog.text.count("store: put a failed") == 1
    store.get("a", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content.read_bytes()


@pytest.mark.parametrize("fault", [{"busy": 1}, {"cut": {"answer": 0}}, {"cut": {"answer": SIZE // 2}}], ids=str)
def test_a_download_that_breaks_is_made_again(fault, store, proxy, content, tmp_path, caplog):
    store.put(content, "a")
    vars(proxy).update(copy.deepcopy(fault))
    ObjectStore.from_location(STORE, patience=QUICK).get("a", tmp_path / "back")
    assert caplog.text.count("store: get a failed") == 1
    assert (tmp_path / "back").read_bytes() == content.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "content"]


def test_a_large_upload_that_breaks_leaves_no_parts_behind(store, s3_server, proxy, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(os.urandom(3 * PART_BYTES))
    proxy.cut = {"request": PART_BYTES // 2}
    ObjectStore.from_location(STORE, patience=QUICK).put(large, "large", overwrite=False)
    store.get("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert s3_server.admin()._list_multipart_uploads(BUCKET).uploads == []


def test_a_server_that_stays_busy_is_asked_as_often_as_we_say_and_no_more(proxy):
    proxy.busy = 50
    patience = Patience(attempts=3, first_pause_seconds=0.01, longest_pause_seconds=0.01)
    with pytest.raises(StoreUnavailableError, match=r"list : the server answered SlowDown; see that .* and run again$"):
        list(ObjectStore.from_location(STORE, patience=patience).list())
    assert proxy.connections == 3


def test_a_refusal_is_not_tried_again(monkeypatch, caplog):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guess")
    with pytest.raises(StorageError, match="the secret key is wrong"):
        list(ObjectStore.from_location(STORE).list())
    assert "tries again" not in caplog.text


def test_no_log_of_any_level_or_library_holds_a_secret(store, proxy, content, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    proxy.busy = 1
    broken = ObjectStore.from_location(f"s3://{OTHER_BUCKET}", patience=QUICK)
    with pytest.raises(StorageError) as raised:
        broken.put(content, "a")
    store.put(content, "a")
    store.get("a", tmp_path / "back")
    said = caplog.text + str(raised.value) + repr(store) + repr(store.settings)
    assert "tries again" in said
    assert all(secret not in said for secret in (*SERVICE, "AWS4-HMAC"))


def test_a_file_that_cannot_be_read_is_told(store, tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .*: Is a directory; choose a file"):
        store.put(tmp_path, "a")


# --- a stage and its store -------------------------------------------------------------------------------------------


@pytest.fixture
def frequent(monkeypatch) -> None:
    """Checkpoints ten times a second, whatever they cost, and no long wait where they cannot be kept."""
    monkeypatch.setitem(Checkpoint.__init__.__kwdefaults__, "interval_seconds", 0.1)
    monkeypatch.setattr("realfeatures.science.checkpoint.LARGEST_SHARE", 1.0)
    monkeypatch.setattr("realfeatures.store.cells.PUSH_PATIENCE", QUICK)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return train("data", tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory) -> dict:
    """The encoder that no store, fault or interruption had a part in."""
    return read_manifest(train(ENCODER, tmp_path_factory.mktemp("expected"), data=data))


def train(
    key: str, disk: Path, *, data: Path | None = None, store: ObjectStore | None = None, **told: Callable
) -> Path:
    preset = load_preset("digits", TINY)
    (cell,) = [cell for cell in cells(preset, [0]) if cell.key == key]
    execute(
        cell,
        runtime=preset.runtime,
        inputs={} if data is None else {"train_set": open_artifact(data)},
        destination=disk / "artifact",
        work=disk / "work",
        store=None if store is None else CellStore(store),
        **told,
    )
    return disk / "artifact"


def stops_after(share: float, stopped: list[int]) -> dict[str, Callable]:
    """Ask a stage to stop once this share of its steps is done."""

    def progress(done: int, total: int) -> None:
        if done >= share * total:
            stopped.append(done)

    return {"progress": progress, "stop": lambda: bool(stopped)}


@pytest.mark.usefixtures("frequent")
def test_a_stage_outlives_its_store(data, expected, tmp_path, monkeypatch, caplog):
    server = SeaweedFS(tmp_path / "server").start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    objects = ObjectStore.from_location(STORE, patience=QUICK)

    def progress(done: int, total: int) -> None:
        if server.process is not None and done > total / 3 and list(objects.list("checkpoints/")):
            server.stop()

    folder = train(ENCODER, tmp_path, data=data, store=objects, progress=progress)
    assert server.process is None
    assert read_manifest(folder) == expected
    assert "the checkpoint is kept on this disk only" in caplog.text


class Crash(Exception):
    """Ends a stage without any chance to save, as a kill does."""


class KilledDuringUploads:
    """Kills a server in the middle of uploads of a running stage and brings it back; then the stage crashes."""

    def __init__(self, server: SeaweedFS, proxy: FaultyProxy, objects: ObjectStore, chance: random.Random) -> None:
        self.server, self.proxy, self.objects, self.chance = server, proxy, objects, chance
        self.kills = 0
        self.restart = threading.Thread()
        proxy.when_cut = self.kill

    def kill(self) -> None:
        self.server.stop()
        self.kills += 1
        self.restart = threading.Thread(target=self.server.start)
        self.restart.start()

    def progress(self, step: int, total: int) -> None:
        if self.restart.ident:
            self.restart.join()
        if self.kills == 3:
            raise Crash
        assert step < total, f"only {self.kills} kills"
        if not self.proxy.cut and (there := list(self.objects.list("checkpoints/"))):
            self.proxy.cut = {"request": self.chance.randrange(there[0].size_bytes)}


@pytest.mark.usefixtures("frequent")
def test_a_server_killed_during_uploads_of_checkpoints_gives_back_no_corrupt_one(data, expected, tmp_path, monkeypatch):
    server = SeaweedFS(tmp_path / "server").start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    # Not QUICK: a server that was just brought back answers before it finds all that it has.
    objects = ObjectStore.from_location(STORE, patience=Patience(first_pause_seconds=0.2))
    seed = time.time_ns()
    print(f"kills from seed {seed}")
    try:
        with FaultyProxy(server.endpoint) as proxy:
            killed = KilledDuringUploads(server, proxy, objects, random.Random(seed))
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
            behind = ObjectStore.from_location(STORE, patience=QUICK)
            with pytest.raises(Crash):
                train(ENCODER, tmp_path / "first", data=data, store=behind, progress=killed.progress)
        (checkpoint,) = objects.list("checkpoints/")
        objects.get(checkpoint.key, tmp_path / "verified")
        folder = train(ENCODER, tmp_path / "second", data=data, store=objects)
        assert json.loads((folder / "run.json").read_text())["resumed"]
        assert read_manifest(folder) == expected
        CellStore(objects).keep(expected["address"], folder)
        assert CellStore(objects).restore(expected["address"], tmp_path / "back")
        assert list(objects.list("checkpoints/")) == []
    finally:
        server.stop()


def test_a_changed_checkpoint_is_not_used(data, expected, store, s3_server, tmp_path, caplog):
    stopped: list[int] = []
    with pytest.raises(Interrupted):
        train(ENCODER, tmp_path / "first", data=data, store=store, **stops_after(0.5, stopped))
    key = next(store.list("checkpoints/")).key
    found = s3_server.admin().get_object(BUCKET, f"paper/{key}")
    changed = bytearray(found.read())
    changed[-1] ^= 1
    digest = {"sha256": found.headers["x-amz-meta-sha256"]}
    s3_server.admin().put_object(BUCKET, f"paper/{key}", io.BytesIO(changed), len(changed), metadata=digest)
    folder = train(ENCODER, tmp_path / "second", data=data, store=store)
    assert "the stage starts over" in caplog.text
    assert json.loads((folder / "run.json").read_text())["resumed"] is False
    assert read_manifest(folder) == expected


def test_a_stage_does_not_start_over_where_its_store_is_away(data, proxy, tmp_path):
    away = ObjectStore.from_location(STORE, patience=QUICK)
    proxy.stalls = True
    with pytest.raises(StoreUnavailableError, match=r"get checkpoints/\w+.safetensors: .* did not answer in time"):
        train(ENCODER, tmp_path, data=data, store=away)
    assert not (tmp_path / "artifact").exists()


# --- a run and its store ---------------------------------------------------------------------------------------------


def forbid_cells() -> str:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/paper/cells/*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_cell_that_cannot_be_put_ends_the_run_and_is_put_by_the_next(store, s3_server, tmp_path):
    preset = load_preset("digits", [*TINY, "supervised.optimizer.epochs=1"])
    plan = make_plan(preset, seeds=[0])
    s3_server.admin().set_bucket_policy(BUCKET, forbid_cells())
    try:
        with pytest.raises(StorageError, match=r"put cells/\w+.tar: these credentials may not do that"):
            run_experiment(preset, seeds=[0], out=tmp_path / "run", jobs=1, store=store)
    finally:
        s3_server.admin().delete_bucket_policy(BUCKET)
    computed = tmp_path / "run" / "cells" / plan.addresses["data"]
    before = computed.stat().st_ino
    assert list(store.list("cells/")) == []
    run_experiment(preset, seeds=[0], out=tmp_path / "run", jobs=1, store=store)
    assert computed.stat().st_ino == before
    assert CellStore(store).finished() == set(plan.addresses.values())
    assert {one.key for one in store.list("runs/")} == {
        f"runs/digits/{name}" for name in ("report.html", "report.md", "results.json")
    }
