import json
import shutil
from pathlib import Path

import pytest
from executor_inputs import SMALLEST, Outcome, Pods, configure_input, report_input, run_container, run_task, smallest

from realfeatures.experiment.about import MEASURED_ROLES
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import cells
from realfeatures.experiment.presets import load_preset
from realfeatures.kubeflow.batches import RESULTS, Granularity
from realfeatures.kubeflow.tasks.scores import score_name
from realfeatures.kubeflow.tasks.supervisor import DONE, FAILED, MENDABLE
from realfeatures.kubeflow.tasks.texts import resolve, texts_of
from realfeatures.running.plan import make_plan

SMALLER = load_preset(
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
"""All experiments."""


@pytest.fixture(scope="module")
def preset() -> Preset:
    return load_preset("digits", SMALLEST)


@pytest.fixture
def configured(tmp_path, preset):
    """Run the first task of a compiled pipeline with a run form."""

    def run(preset: Preset = preset, **form) -> Outcome:
        return run_task("configure", configure_input(tmp_path / "configure", preset, **form))

    return run


def written(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "configure" / "parameters").iterdir()}


def check_refused(done: Outcome, folder: Path) -> str:
    """A task ended with one line for a person, and has written nothing; returns the line."""
    assert done.code == MENDABLE
    assert done.stderr == f"{done.error}\n"
    assert done.error.startswith("error: ")
    assert not folder.exists()
    return done.error


def test_the_first_task_writes_the_text_of_every_other_one(configured, tmp_path, preset):
    assert configured().code == DONE
    assert written(tmp_path) == texts_of(make_plan(preset, seeds=[0]), Granularity.STAGE)
    assert json.loads((tmp_path / "configure" / "executor_output.json").read_text()) == {"artifacts": {}}


def test_repetitions_have_consecutive_seeds_and_share_the_data(configured, tmp_path, preset):
    configured(seed=5, repetitions=2)
    texts = written(tmp_path)
    configured(seed=6)
    assert written(tmp_path)["repetition_1"] == texts["repetition_2"]
    assert written(tmp_path)["data"] == texts["data"]
    assert texts == texts_of(make_plan(preset, seeds=[5, 6]), Granularity.STAGE)


def test_numbers_that_kubeflow_made_fractions_of_are_whole_again(configured, tmp_path):
    configured(seed=1, overrides={"probe.epochs": 5, "timesteps": [50, 100]})
    texts = written(tmp_path)
    assert configured(seed=1.0, repetitions=1.0, overrides={"probe.epochs": 5.0, "timesteps": [50.0, 100.0]}).code == 0
    assert written(tmp_path) == texts
    assert '"probe.epochs":5,' in texts["report"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"seed": -1}, "--seed -1: expected a whole number of at least 0"),
        ({"seed": 0.5}, "seed 0.5: expected a whole number"),
        ({"seed": "many"}, "seed 'many': expected a whole number"),
        ({"overrides": "{probe.epochs: 5"}, "overrides '{probe.epochs: 5': expected a JSON object"),
        ({"overrides": [["probe.epochs"]]}, "overrides [['probe.epochs']]: expected a JSON object"),
        ({"overrides": {"experiments": ["E2"]}}, "they change which cells there are"),
        ({"overrides": {"features": ["natural", "robust"]}}, "they change which cells there are"),
        ({"overrides": {"probe.epoch": 5}}, "probe.epoch: unknown key 'epoch'"),
        ({"overrides": {"probe.epochs": 5.5}}, "probe.epochs: Input should be a valid integer"),
        ({"overrides": {"name": "mine"}}, "overrides name: the name is fixed"),
        ({"overrides": {"data": "folder:/no/such"}}, "/no/such"),
        ({"report_name": "My Report"}, "run name 'My Report': expected 1 to 63 lower-case letters"),
        ({"report_name": "a\nb"}, r"run name 'a\nb'"),
        ({"code": "0" * 64}, "000000000000... in the pipeline: the image is older (or newer)"),
        # Control characters would hide the line, or the rest of it.
        ({"overrides": {"a\nerror: \x1b[2Jall is well\r": 1}}, r"a error: \x1b[2Jall is well : unknown key"),
    ],
)
def test_what_a_run_form_asks_for_in_vain_is_refused_in_one_line(configured, tmp_path, form, said):
    line = check_refused(configured(**form), tmp_path / "configure")
    assert said in line
    assert line.isprintable()


def test_a_bug_is_told_in_the_log_and_in_one_last_line(tmp_path, preset, monkeypatch):
    monkeypatch.setenv("REALFEATURES_LOG", "json")
    done = run_container("configure", configure_input(tmp_path, preset, granularity="no\nsuch"))
    assert done.code == FAILED
    (log, last) = done.stderr.splitlines()
    assert "ValueError" in json.loads(log)["traceback"]
    assert last == r"error: ValueError: 'no\nsuch' is not a valid Granularity; its traceback is in the log"


def pods(folder: Path, *, seed: int = 0, overrides: dict) -> Pods:
    changes = json.loads(configure_input(folder, SMALLER))["inputs"]["parameterValues"]["changes"]
    return Pods(folder, resolve(changes, preset="digits", seed=seed, repetitions=1, overrides=overrides))


@pytest.mark.parametrize(
    ("path", "value", "touched", "untouched"),
    [
        ("masked.mask_ratio", 0.5, "robust/masked/pretrain", "robust/supervised/pretrain"),
        ("adversarial.optimizer.epochs", 1, "robust/images", "non_robust/images"),
        ("attack.pgd_steps", 9, "natural/masked/attack", "natural/masked/probe"),
    ],
)
def test_an_override_changes_the_texts_of_the_tasks_that_depend_on_it_and_of_no_others(
    tmp_path, path, value, touched, untouched
):
    before, after = pods(tmp_path, overrides={}), pods(tmp_path, overrides={path: value})
    changed = {key for key in before.texts if before.texts[key] != after.texts[key]}
    depend = {
        key
        for key, batch in before.batches.items()
        if any(before.plan.addresses[cell.key] != after.plan.addresses[cell.key] for cell in batch.cells)
    }
    assert changed == {*depend, RESULTS}
    assert touched in changed
    assert untouched not in changed


def test_another_seed_changes_every_text_but_the_data_s(tmp_path):
    before, after = pods(tmp_path, overrides={}), pods(tmp_path, overrides={}, seed=1)
    assert [key for key in before.texts if before.texts[key] == after.texts[key]] == ["data"]


def test_other_data_may_replace_a_folder_in_the_run_form():
    pinned = {"data.source": "folder:pictures", "data.sha256": "a" * 64}
    plan = resolve(json.dumps(pinned), preset="digits", seed=0, repetitions=1, overrides={"data": "digits"})
    assert (plan.preset.data.source, plan.preset.data.sha256) == ("digits", None)
    provided = []
    resolve("{}", preset="digits", seed=0, repetitions=1, overrides={"data.train_size": 50}, provide=provided.append)
    assert [data.train_size for data in provided] == [50]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    Pods(root, smallest(), Granularity.ENCODER).run_all()
    return root


@pytest.fixture
def repetition(finished, tmp_path) -> Pods:
    root = tmp_path / "pods"
    shutil.copytree(finished, root)
    return Pods(root, smallest(), Granularity.ENCODER)


def test_the_results_of_a_repetition_have_the_record_of_every_cell(repetition):
    folder = repetition.folder(RESULTS) / "results"
    assert json.loads((folder / "cells.json").read_bytes()) == repetition.plan.addresses
    assert {path.name for path in (folder / "records").iterdir()} == set(repetition.plan.addresses.values())


def test_results_without_every_cell_are_refused(repetition):
    shutil.rmtree(repetition.folder(RESULTS))
    _, last = repetition.artifacts(RESULTS)
    line = check_refused(repetition.run(RESULTS, without=[last]), repetition.folder(RESULTS))
    assert "controls/pixels/encoder: no task's results have it (6 missing); compile again" in line


def test_results_of_another_run_are_refused(repetition, tmp_path):
    shutil.rmtree(repetition.folder(RESULTS))
    other = Pods(tmp_path, smallest("probe.epochs=2"), Granularity.ENCODER)
    line = check_refused(repetition.run(RESULTS, cells=other.texts[RESULTS]), repetition.folder(RESULTS))
    assert "give the digest" in line


@pytest.mark.parametrize("form", ["report:2", "report:", "results"])
def test_a_report_of_other_repetitions_than_were_planned_is_refused(repetition, tmp_path, form):
    text = texts_of(repetition.plan, repetition.granularity)["report"].replace("report:1", form)
    folder = tmp_path / "report"
    check_refused(run_task("report", report_input(folder, [repetition], cells=text)), folder)


def test_the_report_s_files_and_scores_are_what_kubeflow_shows(repetition, tmp_path):
    folder = tmp_path / "report"
    assert run_task("report", report_input(folder, [repetition])).code == DONE
    assert "<html" in (folder / "html").read_text()
    assert (folder / "markdown").read_text().startswith("# ")
    results = json.loads((folder / "results").read_text())
    assert results["name"] == "first"
    shown = json.loads((folder / "executor_output.json").read_text())["artifacts"]["metrics"]["artifacts"][0][
        "metadata"
    ]
    clean = [row["value"] for row in results["rows"] if row["metric"] == "clean_accuracy"]
    assert sorted(shown.values()) == sorted(clean)
    assert "natural/supervised/natural clean" in shown


@pytest.mark.parametrize("name", ["digits", "paper"])
def test_every_measurement_has_a_score_of_its_own(name):
    measured = [cell.measurement for cell in cells(load_preset(name), [0]) if cell.role in MEASURED_ROLES]
    assert len({score_name(one) for one in measured}) == len(measured)
