import json
from pathlib import Path
from typing import Any

import pytest
from executor_inputs import Pods, report_input, run_task, smallest
from safetensors.numpy import load_file

from realfeatures.errors import ArtifactError
from realfeatures.kubeflow.batches import Granularity
from realfeatures.kubeflow.tasks.bundles import IMAGES, Bundle, close_bundle, find, write_record
from realfeatures.report.page import write_report
from realfeatures.report.sections.gallery import COUNT
from realfeatures.results.flags import FLAGS
from realfeatures.running.local import run_experiment
from realfeatures.running.plan import Plan
from realfeatures.science.artifacts import MANIFEST, RECORD, RUN, open_artifact, read_record

ATTACK = "seed0/natural/supervised/attack/natural"


@pytest.fixture(scope="module")
def plan() -> Plan:
    # A made set has pictures and a synthesis on the page too, and two seeds share the data.
    return smallest("features=natural,non_robust", "non_robust.steps=1", seeds=[0, 1])


@pytest.fixture(scope="module")
def run(tmp_path_factory, plan) -> Path:
    """The folder of the one-machine run."""
    out = tmp_path_factory.mktemp("one-machine") / "run"
    run_experiment(plan.preset, out=out, seeds=plan.seeds, jobs=1)
    return out


@pytest.fixture
def artifact(run, plan):
    """The folder of a cell's artifact in the one-machine run, by the cell's key."""
    return lambda key: run / "cells" / plan.addresses[key]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def results_of(path: Path) -> dict[str, Any]:
    """A results.json without its times and what the run is called."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: timeless(one) for name, one in value.items() if name != "seconds"}
        return [timeless(one) for one in value] if isinstance(value, list) else value

    found = timeless(json.loads(path.read_text()))
    found.pop("name", None)
    return found


def test_a_record_keeps_what_claims_are_judged_by_and_verifies(artifact, tmp_path):
    write_record(artifact(ATTACK), tmp_path / "record")
    assert content(tmp_path / "record").keys() == {MANIFEST, RECORD, RUN, FLAGS}
    record = open_artifact(tmp_path / "record")
    assert record.address == open_artifact(artifact(ATTACK)).address
    assert read_record(tmp_path / "record") == read_record(artifact(ATTACK))
    (tmp_path / "record" / FLAGS).write_bytes(b"changed")
    with pytest.raises(ArtifactError, match=f"{FLAGS}: sha256 does not match"):
        open_artifact(tmp_path / "record")


def test_a_record_of_an_encoder_has_no_weights_but_says_what_they_are(artifact, tmp_path):
    key = "seed0/natural/supervised/encoder"
    write_record(artifact(key), tmp_path / "record")
    assert content(tmp_path / "record").keys() == {MANIFEST, RECORD, RUN}
    manifest, whole = open_artifact(tmp_path / "record").manifest, open_artifact(artifact(key)).manifest
    assert {**manifest["files"], **manifest["left_out"]} == whole["files"]
    assert {name for name in manifest if manifest[name] != whole.get(name)} == {"files", "left_out"}


@pytest.mark.parametrize("key", ["data", "seed0/non_robust/images"])
def test_a_record_of_a_set_has_its_first_images(artifact, tmp_path, key):
    write_record(artifact(key), tmp_path / "record")
    few, all_images = load_file(tmp_path / "record" / IMAGES), load_file(artifact(key) / IMAGES)
    for name in ("images", "labels"):
        assert (few[name] == all_images[name][:COUNT]).all()
        assert len(few[name]) == COUNT


@pytest.mark.parametrize("key", ["data", "seed0/non_robust/images", "seed0/natural/supervised/encoder", ATTACK])
def test_a_record_of_a_record_is_equal(artifact, tmp_path, key):
    for source, copy in ((artifact(key), "once"), (tmp_path / "once", "twice"), (tmp_path / "twice", "again")):
        write_record(source, tmp_path / copy)
    assert content(tmp_path / "once") == content(tmp_path / "twice") == content(tmp_path / "again")


def test_results_of_records_alone_are_those_of_the_artifacts(run, plan, tmp_path):
    for address in plan.addresses.values():
        write_record(run / "cells" / address, tmp_path / "cells" / address)
    write_report(tmp_path, preset=plan.preset, seeds=plan.seeds, grid=plan.grid, addresses=plan.addresses)
    assert results_of(tmp_path / "results.json") == results_of(run / "results.json")
    pictures = [(folder / "report.html").read_text().count("data:image/png") for folder in (tmp_path, run)]
    assert pictures == [2 * COUNT, 2 * COUNT]


@pytest.mark.parametrize("granularity", Granularity)
def test_a_pipeline_s_results_are_those_of_the_one_machine_run(run, plan, tmp_path, granularity):
    repetitions = [Pods(tmp_path / str(number), plan, granularity, repetition=number).run_all() for number in (1, 2)]
    for made in tmp_path.glob("*/*/*/cells/*"):
        assert (made / MANIFEST).read_bytes() == (run / "cells" / made.name / MANIFEST).read_bytes()
    done = run_task("report", report_input(tmp_path / "report", repetitions))
    assert done.code == 0, done.stderr
    assert results_of(tmp_path / "report" / "results") == results_of(run / "results.json")


def test_a_cell_is_found_in_the_bundle_that_has_its_artifact_and_not_its_record_alone(artifact, plan, tmp_path):
    address = plan.addresses["data"]
    whole, after = tmp_path / "whole", tmp_path / "after"
    (whole / "cells").mkdir(parents=True)
    (whole / "cells" / address).symlink_to(artifact("data"))
    close_bundle(whole, made={"data": address}, known={})
    close_bundle(after, made={}, known=Bundle(whole).known())
    bundles = [Bundle(after), Bundle(whole)]
    assert find("data", address, bundles).folder == whole / "cells" / address
    assert bundles[0].known() == {"data": after / "records" / address}
    with pytest.raises(ArtifactError, match="data: none of this task's inputs has it"):
        find("data", address, bundles[:1])
    with pytest.raises(ArtifactError, match="data: none of this task's inputs has it"):
        find("data", "0" * 32, bundles)


@pytest.mark.parametrize(("index", "said"), [(None, "missing"), ("[1]", "is no index"), ("{", "is no index")])
def test_a_folder_that_is_no_bundle_is_refused(tmp_path, index, said):
    folder = tmp_path / "images"
    folder.mkdir()
    if index is not None:
        (folder / "cells.json").write_text(index)
    with pytest.raises(ArtifactError, match=rf"images/cells.json: {said}; run the task that makes it again"):
        Bundle(folder)
