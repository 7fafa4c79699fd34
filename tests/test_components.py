"""Components: the same ports as the stages, and what they do with a cell, its errors and its record."""

import inspect
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from realfeatures import kfp_runtime
from realfeatures.artifacts import RUN, InputDir, OutputDir, read_manifest, read_record, seal, write_json
from realfeatures.components.collect import collect
from realfeatures.components.report import report
from realfeatures.errors import ConfigError
from realfeatures.grid import cell_addresses, cells
from realfeatures.pipelines.nesting import COMPONENTS, MAX_PARTS
from realfeatures.presets import load_preset
from realfeatures.provenance import code_digest, library_versions
from realfeatures.stages import STAGES
from realfeatures.vocabulary import Control, Features

DIGITS = load_preset("digits", ["data.train_size=40", "data.test_size=20"])


@dataclass
class File:
    """The part of a Kubeflow artifact that a component uses."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


def ports_of_stage(stage: str, marker: object) -> set[str]:
    return {name for name, hint in inspect.get_annotations(STAGES[stage]).items() if hint is marker}


def prepare(tmp_path: Path, **changes: str) -> File:
    (data,) = cells(DIGITS, [])
    output = File(str(tmp_path / "images"))
    text = changes.get("cell", kfp_runtime.cell_text(data, DIGITS.runtime))
    code = changes.get("code", code_digest())
    kfp_runtime.run_stage(text, code, inputs={}, output=output, record=str(tmp_path / "record"))
    return output


def test_there_is_a_component_for_every_stage():
    assert set(COMPONENTS) == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_component_has_the_ports_of_its_stage(stage):
    spec = COMPONENTS[stage].component_spec
    extra = {"metrics"} if stage == "attack" else set()
    assert set(spec.inputs) == ports_of_stage(stage, InputDir) | {"cell", "code"}
    assert set(spec.outputs) == ports_of_stage(stage, OutputDir) | {"record"} | extra


@pytest.mark.parametrize("stage", STAGES)
def test_a_component_hands_each_input_to_the_port_of_its_name(stage, monkeypatch):
    given = {}
    monkeypatch.setattr(kfp_runtime, "run_stage", lambda cell, code, **rest: given.update(rest, cell=cell, code=code))
    function = COMPONENTS[stage].python_func
    arguments = {name: f"value of {name}" for name in inspect.signature(function).parameters}
    function(**arguments)
    assert given.pop("inputs") == {name: f"value of {name}" for name in ports_of_stage(stage, InputDir)}
    (output,) = ports_of_stage(stage, OutputDir)
    assert given.pop("output") == f"value of {output}"
    assert given == {name: f"value of {name}" for name in given}


def test_the_report_has_a_port_for_every_feature_set_and_part():
    parts = {f"part_{number}" for number in range(1, MAX_PARTS + 1)}
    assert parts | set(Features) <= set(report.component_spec.inputs)
    assert parts <= set(collect.component_spec.inputs)


@pytest.mark.parametrize("preset", ["digits", "paper"])
def test_a_cell_survives_its_way_through_text(preset):
    experiment = load_preset(preset)
    for cell in cells(experiment, [3]):
        parsed, runtime = kfp_runtime.parse_cell(kfp_runtime.cell_text(cell, experiment.runtime))
        assert runtime == experiment.runtime
        assert (parsed.key, parsed.stage, parsed.seed) == (cell.key, cell.stage, cell.seed)
        assert parsed.config == cell.config
        assert type(parsed.config) is type(cell.config)


def test_a_cell_keeps_the_path_that_its_identity_leaves_out():
    experiment = load_preset("digits", ["data=folder:pictures", f"data.sha256={'a' * 64}"])
    (data,) = cells(experiment, [])
    parsed, _ = kfp_runtime.parse_cell(kfp_runtime.cell_text(data, experiment.runtime))
    assert parsed.config.source == "folder:pictures"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stage": "train"}', "not json"])
def test_a_damaged_cell_is_a_one_line_error(text):
    with pytest.raises(ConfigError, match="compile again") as raised:
        kfp_runtime.parse_cell(text)
    assert "\n" not in str(raised.value)


def test_a_task_writes_the_artifact_of_the_one_machine_run(tmp_path):
    output = prepare(tmp_path)
    (data,) = grid = cells(DIGITS, [])
    addresses = cell_addresses(grid, runtime=DIGITS.runtime, code=code_digest(), versions=library_versions())
    assert read_manifest(Path(output.path), kind="image_set")["address"] == addresses[data.key]
    assert output.metadata == {"role": "data", "address": addresses[data.key], "kind": "image_set"}


def test_a_retry_replaces_what_the_first_attempt_left(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "train.safetensors").write_bytes(b"half")
    output = prepare(tmp_path)
    read_manifest(Path(output.path), kind="image_set")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "record"]


def test_another_version_of_the_code_is_refused_before_any_work(tmp_path):
    with pytest.raises(SystemExit, match=r"^error: code .* the image is older .* rebuild") as raised:
        prepare(tmp_path, code="0" * 64)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_was_changed_is_a_one_line_error(tmp_path):
    images = prepare(tmp_path)
    (Path(images.path) / "train.safetensors").write_bytes(b"changed")
    experiment = DIGITS.model_copy(update={"controls": (Control.PIXELS,)})
    pixels = next(cell for cell in cells(experiment, [0]) if cell.key == "seed0/controls/pixels/encoder")
    text = kfp_runtime.cell_text(pixels, experiment.runtime)
    output, record = File(str(tmp_path / "encoder")), str(tmp_path / "encoder_record")
    with pytest.raises(SystemExit, match=r"^error: .*sha256 does not match[^\n]*$"):
        kfp_runtime.run_stage(text, code_digest(), inputs={"train_set": images}, output=output, record=record)
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
    content = kfp_runtime.unpack_record(kfp_runtime.pack_record(folder))
    assert content["record"] == read_record(folder)
    assert content["run"] == {"seconds": 1.5}
    assert content["manifest"]["address"] == "a" * 32


def test_a_long_curve_is_thinned_until_the_record_fits_and_keeps_its_end(tmp_path):
    text = kfp_runtime.pack_record(write_artifact(tmp_path / "a", address="a" * 32, epochs=1000))
    history = kfp_runtime.unpack_record(text)["record"]["history"]
    assert len(text) <= kfp_runtime.RECORD_BYTES
    assert len(history) > 20
    assert history[-1]["epoch"] == 1000
    assert [point["epoch"] for point in history] == sorted(point["epoch"] for point in history)


def test_equal_artifacts_give_equal_records_so_that_later_tasks_are_cached(tmp_path):
    folder = write_artifact(tmp_path / "a", address="a" * 32, epochs=5)
    assert kfp_runtime.pack_record(folder) == kfp_runtime.pack_record(folder)


def test_collected_records_become_folders_that_verify(tmp_path):
    texts = [kfp_runtime.pack_record(write_artifact(tmp_path / name, address=name * 32, epochs=5)) for name in "abc"]
    first, second = File(str(tmp_path / "first")), File(str(tmp_path / "second"))
    kfp_runtime.collect_records(code_digest(), records=texts[:1], parts=[None], output=first)
    kfp_runtime.collect_records(code_digest(), records=texts[1:], parts=[first, None], output=second)
    folders = sorted(Path(second.path).iterdir())
    assert [folder.name for folder in folders] == [name * 32 for name in "abc"]
    for folder in folders:
        assert read_manifest(folder, kind="encoder")["address"] == folder.name
        assert len(read_record(folder)["history"]) == 5


def test_metrics_have_names_that_no_value_changes(tmp_path):
    metrics = File(str(tmp_path / "metrics"))
    rows = [
        {"attack": "none", "norm": "none", "epsilon": 0.0, "metric": "clean_accuracy", "correct": 9, "n": 10},
        {"attack": "pgd", "norm": "L2", "epsilon": 0.5, "metric": "robust_accuracy", "correct": 1, "n": 4},
    ]
    kfp_runtime.log_metrics(metrics, rows)
    assert metrics.metadata == {"clean_accuracy": 0.9, "robust_accuracy_pgd_L2_0.5": 0.25}
    assert json.loads(Path(metrics.path).read_text()) == metrics.metadata


def test_kfp_artifacts_have_what_the_runtime_uses(tmp_path):
    artifact = dsl.Metrics(uri=str(tmp_path / "metrics"))
    kfp_runtime.log_metrics(artifact, [{"attack": "none", "metric": "clean_accuracy", "correct": 1, "n": 2}])
    assert artifact.metadata == {"clean_accuracy": 0.5}
