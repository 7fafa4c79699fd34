import json
import logging
import re
import shutil
import signal
from pathlib import Path

import pytest
from checks import check_artifact_has_its_parents
from executor_inputs import Outcome, Pods, run_container, run_task, smallest
from seaweedfs import QUICK

from realfeatures.components import COMPONENTS
from realfeatures.experiment import codec
from realfeatures.kubeflow.batches import COMPONENT_OF, Granularity
from realfeatures.kubeflow.tasks import stage
from realfeatures.kubeflow.tasks.supervisor import DONE, MENDABLE, TERMINATED, UNAVAILABLE
from realfeatures.logs import JsonLines
from realfeatures.running.plan import Plan
from realfeatures.science.artifacts import open_artifact, read_manifest
from realfeatures.science.stages import STAGES
from realfeatures.store.cells import CellStore
from realfeatures.store.client import ObjectStore

PIXELS = ("data", "controls/pixels/pretrain", "controls/pixels/probe", "controls/pixels/attack")
PRETRAIN, ATTACK = "natural/supervised/pretrain", "natural/supervised/attack"
BEFORE_ATTACK = ("data", PRETRAIN, "natural/supervised/probe")
ATTACKS = ("seed0/natural/supervised/attack/natural", "seed0/natural/supervised/probe/attack/natural")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return smallest()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, plan) -> Path:
    """The folders of tasks that ran: raw pixels from the data to the attack, and a supervised encoder to its probe."""
    root = tmp_path_factory.mktemp("finished")
    Pods(root, plan).run_all(*PIXELS, *BEFORE_ATTACK[1:])
    return root


@pytest.fixture
def pods(finished, plan, tmp_path) -> Pods:
    root = tmp_path / "pods"
    shutil.copytree(finished, root)
    return Pods(root, plan)


def check_refused(done: Outcome, pods: Pods, key: str) -> str:
    """A task ended with one line for a person, and has done nothing; returns the line."""
    assert done.code == MENDABLE
    assert done.stderr == f"{done.error}\n"
    assert done.error.startswith("error: ")
    assert not pods.folder(key).exists()
    return done.error


def inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


def index(folder: Path) -> dict[str, str]:
    return json.loads((folder / "cells.json").read_bytes())


def test_a_component_runs_each_stage():
    assert set(COMPONENT_OF) == set(STAGES)
    assert set(COMPONENT_OF.values()) <= set(COMPONENTS)


def test_a_task_leaves_the_artifact_of_the_one_machine_run(pods):
    by_key = {cell.key: cell for cell in pods.plan.grid}
    for key in PIXELS:
        for cell in pods.batches[key].cells:
            artifact = open_artifact(pods.cell(key, cell.key))
            check_artifact_has_its_parents(artifact.manifest, by_key[cell.key], pods.plan.addresses)


def test_kubeflow_shows_twelve_digits_of_an_artifact_s_address_and_its_kind(pods):
    told = json.loads((pods.folder("data") / "executor_output.json").read_text())["artifacts"]["images"]
    (artifact,) = told["artifacts"]
    assert artifact["metadata"] == {"address": pods.plan.addresses["data"][:12], "kind": "images"}
    assert artifact["type"] == {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}


def test_several_cells_share_twelve_digits(pods):
    pods.run_all(ATTACK)
    told = json.loads((pods.folder(ATTACK) / "executor_output.json").read_text())
    (artifact,) = told["artifacts"]["results"]["artifacts"]
    shared = codec.digest_of_addresses(pods.plan.addresses[key] for key in ATTACKS)
    assert artifact["metadata"] == {"address": shared, "kind": "results"}


def test_a_task_hands_on_the_records_of_all_that_its_cells_come_from(pods):
    folder = pods.folder("controls/pixels/attack") / "results"
    own = "seed0/controls/pixels/attack/natural"
    before = ["data", "seed0/controls/pixels/encoder", "seed0/controls/pixels/probe/natural"]
    assert index(folder) == {key: pods.plan.addresses[key] for key in (*before, own)}
    assert {path.name for path in (folder / "records").iterdir()} == {pods.plan.addresses[key] for key in before}
    for key in before:
        assert read_manifest(folder / "records" / pods.plan.addresses[key])["address"] == pods.plan.addresses[key]


def test_an_output_at_which_no_cell_leaves_has_records_alone(tmp_path, plan):
    pods = Pods(tmp_path, plan, Granularity.SET).run_all("data", "untrained/all")
    told = json.loads((pods.folder("untrained/all") / "executor_output.json").read_text())["artifacts"]
    for port in ("images", "encoder", "probes", "results"):
        (artifact,) = told[port]["artifacts"]
        assert artifact["metadata"].keys() == {"address", "kind"}
        assert len(artifact["metadata"]["address"]) == 12
        assert len(index(pods.folder("untrained/all") / port)) == 7
    assert not (pods.folder("untrained/all") / "images" / "cells").exists()


def test_a_later_attempt_takes_finished_cells_as_they_are(pods):
    pods.run_all(ATTACK)
    first, second = (pods.cell(ATTACK, key) for key in ATTACKS)
    before = inodes(first)
    shutil.rmtree(second)
    (second.with_name(f".{second.name}.partial") / "output").mkdir(parents=True)
    pods.run_all(ATTACK)
    assert inodes(first) == before
    assert {path.name for path in first.parent.iterdir()} == {first.name, second.name}


def test_a_later_attempt_replaces_a_cell_that_is_not_whole(pods):
    place = pods.cell("controls/pixels/attack", "seed0/controls/pixels/attack/natural")
    whole = (place / "record.json").read_bytes()
    (place / "record.json").write_bytes(b"half")
    pods.run_all("controls/pixels/attack")
    assert (place / "record.json").read_bytes() == whole


def test_a_container_runs_a_task_under_its_supervisor(pods, monkeypatch):
    monkeypatch.setenv("REALFEATURES_LOG", "json")
    key = "untrained/supervised/pretrain"
    done = run_container("pretrain", pods.input(key))
    assert done.code == DONE, done.stderr
    open_artifact(pods.cell(key, "seed0/untrained/supervised/encoder"))
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == [
        "seed0/untrained/supervised/encoder: cell 1 of 1"
    ]


def test_an_input_of_another_run_is_refused_before_any_work(pods, tmp_path):
    other = Pods(tmp_path, smallest("data.train_size=41"))
    line = check_refused(pods.run(ATTACK, cells=other.texts[ATTACK]), pods, ATTACK)
    assert "natural/supervised/attack: its inputs, this code or its libraries give the digest" in line
    assert line.endswith("start the run again, or run the pipeline again without the cache")


@pytest.mark.parametrize("other", ["code_digest", "library_versions"])
def test_another_version_of_the_code_or_its_libraries_is_refused_before_any_work(pods, monkeypatch, other):
    monkeypatch.setattr(codec, other, {"code_digest": lambda: "0" * 64, "library_versions": dict}[other])
    assert "its inputs, this code or its libraries" in check_refused(pods.run(ATTACK), pods, ATTACK)


def test_an_input_that_was_changed_is_refused_before_any_work(pods):
    # The second of the task's cells reads it.
    probe = pods.cell("natural/supervised/probe", "seed0/natural/supervised/probe/natural")
    with (probe / "probe.safetensors").open("ab") as file:
        file.write(b"changed")
    assert "probe.safetensors: sha256 does not match" in check_refused(pods.run(ATTACK), pods, ATTACK)


def test_another_cell_in_an_input_s_place_is_refused(pods):
    data = pods.cell("data", "data")
    encoder = pods.cell(PRETRAIN, "seed0/natural/supervised/encoder")
    shutil.rmtree(data)
    shutil.copytree(encoder, data)
    assert f"data: in its place is cell {encoder.name}" in check_refused(pods.run(ATTACK), pods, ATTACK)


def test_an_input_that_is_not_connected_is_refused(pods):
    (port,) = (port for port in pods.artifacts(ATTACK) if port.startswith("probes"))
    line = check_refused(pods.run(ATTACK, without=[port]), pods, ATTACK)
    assert "needs seed0/natural/supervised/probe/natural, which none of the task's inputs has" in line


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("encoder", "encoder/cells.json: missing"),
        ("encoder/cells", "seed0/natural/supervised/encoder: .* has lost its record"),
        ("encoder/records", "data: .* has lost its record"),
    ],
)
def test_an_input_of_which_a_part_is_missing_is_refused_before_any_work(pods, lost, said):
    told = pods.input(ATTACK)
    shutil.rmtree(pods.folder(PRETRAIN) / lost)
    assert re.search(said, check_refused(run_task("attack", told), pods, ATTACK))


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"natural-supervised":"{}"}',
        "digits 0 0123456789ab",
        "digits 0 0123456789ab stage:natural/supervised/no-such-task",
        "digits 0 0123456789ab natural/supervised/attack",
        "no-such-preset 0 0123456789ab stage:natural/supervised/attack",
        'digits 0 0123456789ab stage:natural/supervised/attack {"no.such.value":1}',
        "digits 0 0123456789ab stage:natural/supervised/attack {half",
    ],
)
def test_a_text_of_another_form_is_refused(pods, text):
    assert "compile again" in check_refused(pods.run(ATTACK, cells=text), pods, ATTACK)


@pytest.mark.parametrize("told", ["", "[]", "{}", '{"outputs": {}}', '{"inputs": [], "outputs": {"outputFile": "x"}}'])
def test_what_is_no_executor_input_is_refused(told):
    done = run_task("attack", told)
    assert done.code == MENDABLE
    assert done.stderr.startswith("error: ")
    assert "expected Kubeflow's executor input as JSON" in done.error


def test_a_task_without_its_text_is_refused(tmp_path):
    told = json.dumps({"outputs": {"outputFile": str(tmp_path / "told.json")}})
    assert run_task("attack", told).error.startswith("error: parameter cells: the task has none")


def test_a_store_that_cannot_be_reached_is_a_failure_that_may_pass(pods, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    away = CellStore(ObjectStore.from_location("s3://bucket", patience=QUICK))
    monkeypatch.setattr(stage, "cell_store", lambda: away)
    shutil.rmtree(pods.folder(PRETRAIN))
    done = pods.run(PRETRAIN)
    assert done.code == UNAVAILABLE
    assert done.error.startswith("error: s3://bucket at 127.0.0.1:1: ")


class Kept:
    """A store that notes which checkpoints are thrown away."""

    def __init__(self) -> None:
        self.discarded: list[str] = []

    def checkpoint(self, address: str) -> "Kept.Mirror":
        return Kept.Mirror(self, address)

    class Mirror:
        def __init__(self, store: "Kept", address: str) -> None:
            self.store, self.address = store, address

        def fetch(self, path: Path) -> None:
            pass

        def push(self, path: Path) -> None:
            pass

        def discard(self) -> None:
            self.store.discarded.append(self.address)


def test_a_termination_between_two_cells_ends_the_task_and_keeps_every_checkpoint(pods, monkeypatch):
    store, compute = Kept(), stage._execute

    def computed_then_asked_to_go(*arguments, **options) -> None:
        compute(*arguments, **options)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(stage, "cell_store", lambda: store)
    monkeypatch.setattr(stage, "_execute", computed_then_asked_to_go)
    assert pods.run(ATTACK).code == TERMINATED
    pods.cell(ATTACK, ATTACKS[0])
    assert not list(pods.folder(ATTACK).glob(f"*/cells/{pods.plan.addresses[ATTACKS[1]]}"))
    assert store.discarded == []
    monkeypatch.setattr(stage, "_execute", compute)
    pods.run_all(ATTACK)
    assert store.discarded == [pods.plan.addresses[key] for key in ATTACKS]


def test_a_log_line_is_one_json_object():
    record = logging.LogRecord("realfeatures.science.context", logging.WARNING, "", 0, "two\nlines %d", (7,), None)
    content = json.loads(JsonLines().format(record))
    assert (content["level"], content["message"]) == ("warning", "two\nlines 7")
    assert "\n" not in JsonLines().format(record)
