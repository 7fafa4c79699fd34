"""Components: the same ports as the stages, and what they do with a cell, its errors and its record."""

import inspect
import json
import logging
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from kfp import dsl

from realfeatures.components.collect import collect
from realfeatures.components.report import report
from realfeatures.experiment import codec
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.codec import decode, encode
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell, cell_addresses, cells
from realfeatures.experiment.overrides import override
from realfeatures.experiment.presets import load_preset
from realfeatures.experiment.vocabulary import MAIN_FEATURES, Experiment
from realfeatures.kubeflow import tasks as kfp_runtime
from realfeatures.kubeflow.tasks import metrics as kfp_metrics
from realfeatures.kubeflow.tasks import records as kfp_records
from realfeatures.kubeflow.tasks.cells import ADDRESSES, CODE, resolve, structure
from realfeatures.logs import JsonLines
from realfeatures.pipelines.nesting import COMPONENTS, MAX_PARTS
from realfeatures.science.artifacts import (
    RUN,
    Artifact,
    OutputDir,
    open_artifact,
    read_record,
    save_tensors,
    seal,
    write_json,
)
from realfeatures.science.data.images import ImageSet, save_split
from realfeatures.science.stages import STAGES

DIGITS = load_preset(
    "digits",
    [
        "data.train_size=40",
        "data.test_size=20",
        *(
            f"{name}=20"
            for name in ("attack.images", "attack.autoattack_images", "transfer.images", "loss_curves.images")
        ),
    ],
)


@dataclass
class File:
    """The part of a Kubeflow artifact that a component uses."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


def input_ports(stage: str) -> set[str]:
    """The stage's artifacts; `transfer` takes a classifier for each paradigm, and its component six of them."""
    hints = inspect.get_annotations(STAGES[stage])
    numbered = [f"{name}_{number}" for name in ("encoder", "probe") for number in range(1, 7)]
    named = {name for name, hint in hints.items() if hint is Artifact}
    return named - {"classifiers"} | set(numbered) if "classifiers" in named else named


def output_ports(stage: str) -> set[str]:
    return {name for name, hint in inspect.get_annotations(STAGES[stage]).items() if hint is OutputDir}


def prepare(tmp_path: Path) -> File:
    (data,) = cells(DIGITS, [])
    output = File(str(tmp_path / "images"))
    kfp_runtime.run_stage(text_of(data, DIGITS), inputs={}, output=output, record=str(tmp_path / "record"))
    return output


def text_of(cell: Cell, experiment: Preset) -> str:
    grid = cells(experiment, [0])
    addresses = cell_addresses(grid, runtime=experiment.runtime, code=code_digest(), versions=library_versions())
    return encode([cell], experiment, addresses)


def test_there_is_a_component_for_every_stage():
    assert set(COMPONENTS) == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_component_has_the_ports_of_its_stage(stage):
    spec = COMPONENTS[stage].component_spec
    extra = {"metrics", "confusion"} if stage == "attack" else set()
    assert set(spec.inputs) == input_ports(stage) | {"cell"}
    assert set(spec.outputs) == output_ports(stage) | {"record"} | extra


@pytest.mark.parametrize("stage", STAGES)
def test_a_component_says_what_its_stage_does(stage):
    assert COMPONENTS[stage].python_func.__doc__ == STAGES[stage].__doc__


@pytest.mark.parametrize("stage", STAGES)
def test_a_component_hands_each_input_to_the_port_of_its_name(stage, monkeypatch):
    given = {}
    monkeypatch.setattr(kfp_runtime, "run_stage", lambda cell, **rest: given.update(rest, cell=cell))
    function = COMPONENTS[stage].python_func
    arguments = {name: f"value of {name}" for name in inspect.signature(function).parameters}
    function(**arguments)
    assert given.pop("inputs") == {name: f"value of {name}" for name in input_ports(stage)}
    (output,) = output_ports(stage)
    assert given.pop("output") == f"value of {output}"
    assert given == {name: f"value of {name}" for name in given}


def test_the_report_has_a_port_for_every_feature_set_and_part():
    parts = {f"part_{number}" for number in range(1, MAX_PARTS + 1)}
    assert parts | set(MAIN_FEATURES) <= set(report.component_spec.inputs)
    assert parts <= set(collect.component_spec.inputs)


def resolved(experiment: Preset, *, seed: int = 0, repetitions: int = 1, overrides: str = "{}") -> dict[str, Any]:
    """What a run of the experiment's compiled pipeline gets from its run form, each text read."""
    seeds = list(range(repetitions))
    found = resolve(
        experiment.model_dump_json(),
        seed=seed,
        repetitions=repetitions,
        overrides=overrides,
        expected_structure=structure(cells(experiment, seeds), seeds),
    )
    return {name: text if name in (CODE, ADDRESSES) else decode(text) for name, text in found.texts.items()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def test_an_override_changes_the_cells_that_depend_on_it_and_no_others():
    before = resolved(DIGITS)
    after = resolved(DIGITS, overrides='{"masked.mask_ratio": 0.5}')
    found = changed(before, after)
    of_masked = {name for name in before if "/masked/" in name}
    # What is made from a masked encoder, and what compares models, depends on it too.
    from_masked = {name for name in before if "non_robust_masked/" in name or name.endswith("/transfer")}
    assert found == of_masked | from_masked | {ADDRESSES}
    assert not changed(before, resolved(DIGITS, overrides="{}"))


def test_a_change_upstream_changes_the_address_of_what_it_feeds():
    after = resolved(DIGITS, overrides='{"adversarial.optimizer.epochs": 1}')
    found = changed(resolved(DIGITS), after)
    assert {"sources/adversarial/encoder", "robust/images", "robust/masked/attack/robust"} <= found
    assert not found & {"non_robust/images", "non_robust/masked/encoder", "non_robust/masked/attack/non_robust"}
    probe = resolved(DIGITS)["robust/masked/probe/robust"]
    assert after["robust/masked/probe/robust"].cells == probe.cells
    assert after["robust/masked/probe/robust"].digest != probe.digest


def test_repetitions_have_consecutive_seeds_and_share_the_data():
    found = resolved(DIGITS, seed=5, repetitions=2)
    assert {name.split("/")[0] for name in found} == {"data", "0", "1", CODE, ADDRESSES}
    (encoder,) = found["1/natural/supervised/encoder"].cells
    assert encoder.key == "seed6/natural/supervised/encoder"
    assert found["0/natural/supervised/encoder"] == resolved(DIGITS, seed=5)["natural/supervised/encoder"]


def test_other_data_may_replace_a_folder_in_the_run_form():
    pinned = override(DIGITS, {"data.source": "folder:pictures", "data.sha256": "a" * 64})
    found = resolved(pinned, overrides='{"data": "digits"}')
    (data,) = found["data"].cells
    assert (data.config.source, data.config.sha256) == ("digits", None)


def test_a_task_writes_the_artifact_of_the_one_machine_run(tmp_path):
    output = prepare(tmp_path)
    (data,) = grid = cells(DIGITS, [])
    addresses = cell_addresses(grid, runtime=DIGITS.runtime, code=code_digest(), versions=library_versions())
    assert open_artifact(Path(output.path)).require("image_set").address == addresses[data.key]
    assert output.metadata == {"title": "prepare data", "address": addresses[data.key], "kind": "image_set"}


def test_a_retry_replaces_what_the_first_attempt_left(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "train.safetensors").write_bytes(b"half")
    output = prepare(tmp_path)
    open_artifact(Path(output.path)).require("image_set")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "record"]


@pytest.mark.parametrize("other", ["code_digest", "library_versions"])
def test_another_version_of_the_code_or_its_libraries_is_refused_before_any_work(tmp_path, monkeypatch, other):
    monkeypatch.setattr(codec, other, {"code_digest": lambda: "0" * 64, "library_versions": dict}[other])
    with pytest.raises(SystemExit, match=r"^error: data: its inputs, this code or its libraries .*cache$") as raised:
        prepare(tmp_path)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_an_input_of_another_run_is_refused_before_any_work(tmp_path):
    images = prepare(tmp_path)
    experiment = override(DIGITS, {"data.train_size": 41, "experiments": ["E1"]})
    pixels = next(cell for cell in cells(experiment, [0]) if cell.key == "seed0/controls/pixels/encoder")
    output, record = File(str(tmp_path / "encoder")), str(tmp_path / "encoder_record")
    with pytest.raises(SystemExit, match=r"^error: seed0/controls/pixels/encoder: its inputs, .*without the cache$"):
        kfp_runtime.run_stage(text_of(pixels, experiment), inputs={"train_set": images}, output=output, record=record)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "record"]


def test_an_input_that_was_changed_is_a_one_line_error(tmp_path):
    images = prepare(tmp_path)
    (Path(images.path) / "train.safetensors").write_bytes(b"changed")
    experiment = DIGITS.model_copy(update={"experiments": (Experiment.E1,)})
    pixels = next(cell for cell in cells(experiment, [0]) if cell.key == "seed0/controls/pixels/encoder")
    output, record = File(str(tmp_path / "encoder")), str(tmp_path / "encoder_record")
    text = text_of(pixels, experiment)
    with pytest.raises(SystemExit, match=r"^error: .*sha256 does not match[^\n]*$"):
        kfp_runtime.run_stage(text, inputs={"train_set": images}, output=output, record=record)
    assert not Path(output.path).exists()


def write_artifact(folder: Path, *, address: str, epochs: int) -> Path:
    """An encoder's artifact as `execute` seals it, with a training curve that does not compress well."""
    folder.mkdir(parents=True)
    history = [{"epoch": epoch, "loss": (epoch * 0.6180339887498949) % 1} for epoch in range(1, epochs + 1)]
    seal(folder, kind="encoder", record={"history": history}, attributes={}, address=address)
    write_json(folder / RUN, {"seconds": 1.5})
    return folder


def test_a_short_record_travels_whole(tmp_path):
    folder = write_artifact(tmp_path / "a", address="a" * 32, epochs=20)
    content = kfp_records.unpack_record(kfp_records.pack_record(folder))
    assert content["record"] == read_record(folder)
    assert content["run"] == {"seconds": 1.5}
    assert content["manifest"]["address"] == "a" * 32


def test_a_long_curve_is_thinned_until_the_record_fits_and_keeps_its_end(tmp_path):
    text = kfp_records.pack_record(write_artifact(tmp_path / "a", address="a" * 32, epochs=1000))
    history = kfp_records.unpack_record(text)["record"]["history"]
    assert len(text) <= kfp_records.RECORD_BYTES
    assert len(history) > 20
    assert history[-1]["epoch"] == 1000
    assert [point["epoch"] for point in history] == sorted(point["epoch"] for point in history)


def test_loss_curves_are_thinned_alike_and_keep_their_end(tmp_path):
    generator = random.Random(0)
    curve = {name: [generator.random() for _ in range(101)] for name in ("info_nce", "cross_entropy", "accuracy")}
    rows = [{"attacked": name, "step": list(range(101)), **curve} for name in ("info_nce", "cross_entropy")]
    folder = write_artifact(tmp_path / "a", address="a" * 32, epochs=1)
    write_json(folder / "record.json", {"loss_curves": rows})
    text = kfp_records.pack_record(folder)
    assert len(text) <= kfp_records.RECORD_BYTES
    for row in kfp_records.unpack_record(text)["record"]["loss_curves"]:
        assert row["step"][-1] == 100
        assert [curve["accuracy"][step] for step in row["step"]] == row["accuracy"]


def test_equal_artifacts_give_equal_records_so_that_later_tasks_are_cached(tmp_path):
    folder = write_artifact(tmp_path / "a", address="a" * 32, epochs=5)
    assert kfp_records.pack_record(folder) == kfp_records.pack_record(folder)


def test_collected_records_become_folders_that_verify(tmp_path):
    texts = [kfp_records.pack_record(write_artifact(tmp_path / name, address=name * 32, epochs=5)) for name in "abc"]
    first, second = File(str(tmp_path / "first")), File(str(tmp_path / "second"))
    kfp_runtime.collect_records("1", records=texts[:1], parts=[None], output=first)
    kfp_runtime.collect_records("1", records=texts[1:], parts=[first, None], output=second)
    folders = sorted(Path(second.path).iterdir())
    assert [folder.name for folder in folders] == [name * 32 for name in "abc"]
    for folder in folders:
        assert open_artifact(folder).require("encoder").address == folder.name
        assert len(read_record(folder)["history"]) == 5


def test_metrics_have_names_that_no_value_changes(tmp_path):
    metrics = File(str(tmp_path / "metrics"))
    rows = [
        {"attack": "none", "norm": "none", "epsilon": 0.0, "metric": "clean_accuracy", "correct": 9, "n": 10},
        {"attack": "pgd", "norm": "L2", "epsilon": 0.5, "metric": "robust_accuracy", "correct": 1, "n": 4},
    ]
    kfp_metrics.log_metrics(metrics, rows)
    assert metrics.metadata == {"clean_accuracy": 0.9, "robust_accuracy_pgd_L2_0.5": 0.25}
    assert json.loads(Path(metrics.path).read_text()) == metrics.metadata


def test_kfp_artifacts_have_what_the_runtime_uses(tmp_path):
    artifact = dsl.Metrics(uri=str(tmp_path / "metrics"))
    kfp_metrics.log_metrics(artifact, [{"attack": "none", "metric": "clean_accuracy", "correct": 1, "n": 2}])
    assert artifact.metadata == {"clean_accuracy": 0.5}


def test_a_confusion_matrix_counts_true_by_predicted_class(tmp_path):
    images = ImageSet(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 2, 2]), ("a", "b", "c"))
    for name in ("set", "result"):
        (tmp_path / name).mkdir()
    save_split(tmp_path / "set", "test", images)
    seal(tmp_path / "set", kind="image_set", record={}, attributes={"classes": ["a", "b", "c"]}, address="0" * 32)
    predictions = torch.tensor([0, 1, 2, 2, 2], dtype=torch.int16)
    save_tensors(tmp_path / "result" / "predictions.safetensors", {"clean": predictions})
    seal(tmp_path / "result", kind="attack", record={}, attributes={}, address="1" * 32)
    artifact = dsl.ClassificationMetrics(uri=str(tmp_path / "confusion"))
    result, test_set = (open_artifact(tmp_path / name) for name in ("result", "set"))
    kfp_metrics.log_confusion(artifact, result=result, test_set=test_set)
    matrix = artifact.metadata["confusionMatrix"]
    assert [row["row"] for row in matrix["rows"]] == [[1, 0, 0], [0, 1, 1], [0, 0, 2]]
    assert [spec["displayName"] for spec in matrix["annotationSpecs"]] == ["a", "b", "c"]


def test_a_pods_log_is_one_json_object_a_line():
    record = logging.LogRecord("realfeatures.science.context", logging.WARNING, "", 0, "two\nlines %d", (7,), None)
    content = json.loads(JsonLines().format(record))
    assert (content["level"], content["message"]) == ("warning", "two\nlines 7")
    assert "\n" not in JsonLines().format(record)
