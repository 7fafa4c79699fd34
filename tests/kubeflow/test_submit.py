"""Submitting to Kubeflow: uploads once, starts a run, and the command that does both and watches."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from kfp_http import Fault
from small_pipeline import IMAGE, SMALL, started

from realfeatures.cli import main as cli
from realfeatures.cli.pipeline_options import PipelineOptions
from realfeatures.experiment.presets import load_preset
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
from realfeatures.kubeflow.server.submit import Version, upload
from realfeatures.store.reports import FILES, publish

LABEL = "digits E2 x1"
VERSIONS = "POST /apis/v2beta1/pipelines/upload_version"


def test_equal_pipelines_are_uploaded_once(kubeflow, server, paper, tmp_path):
    first = upload(kubeflow, paper, label=LABEL)
    again = upload(kubeflow, paper, label=LABEL)
    assert first == again
    assert first.pipeline == "paper-digits"
    other = tmp_path / "other.yaml"
    other.write_text(paper.read_text().replace("0" * 64, "1" * 64))
    assert upload(kubeflow, other, label=LABEL).pipeline_id == first.pipeline_id
    assert server.count(VERSIONS) == 2
    assert len(server.pipelines) == 1


def test_what_others_have_is_found_on_later_pages(kubeflow, server, paper, tmp_path):
    versions = []
    for number in range(5):
        one = tmp_path / f"{number}.yaml"
        one.write_text(paper.read_text().replace("0" * 64, str(number) * 64))
        versions.append(upload(kubeflow, one, label=LABEL).version_id)
    assert [upload(kubeflow, tmp_path / f"{number}.yaml", label=LABEL).version_id for number in range(5)] == versions
    assert server.count(VERSIONS) == 5


def test_a_pipeline_that_someone_makes_at_the_same_time_is_no_error(kubeflow, server, paper):
    name = "paper-digits"
    create = server._create_pipeline

    def race(body: bytes, **rest) -> None:
        server._create_pipeline = create
        create(body, **rest)
        create(body, **rest)

    server._create_pipeline = race
    found = upload(kubeflow, paper, label=LABEL)
    assert [one.display_name for one in server.pipelines.values()] == [name]
    assert found.pipeline_id in server.pipelines


def test_a_run_has_the_fields_of_the_form_and_pins_its_version(kubeflow, server, paper):
    run_id = started(kubeflow, paper, overrides='{"probe.epochs": 5}')
    run = server.runs[run_id]
    assert run.runtime_config.parameters == {"seed": 3, "overrides": {"probe.epochs": 5}, "report_name": "first"}
    assert run.pipeline_version_reference.pipeline_version_id in server.versions
    assert [one.display_name for one in server.experiments.values()] == ["realfeatures"]
    started(kubeflow, paper)
    assert len(server.experiments) == 1


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ((), "digits whole x2"),
        (("experiments=E1,E2",), "digits E1,E2 x2"),
        (("paradigms=diffusion",), "digits changed x2"),
        (("experiments=E1", "probe.epochs=5"), "digits changed x2"),
    ],
)
def test_a_pipeline_is_called_whole_where_nothing_of_its_preset_was_changed(changes, label):
    assert PipelineOptions(repetitions=2).label(load_preset("digits", changes)) == label


def test_a_version_is_named_by_its_content(kubeflow, paper):
    found = upload(kubeflow, paper, label=LABEL)
    assert isinstance(found, Version)
    assert re.fullmatch(r"digits E2 x1 \([0-9a-f]{12}\)", found.version)


# --- the command -----------------------------------------------------------------------------------------------------

COMMAND = ("submit", "--image", IMAGE, *(word for one in SMALL for word in ("--set", one)))


@pytest.fixture
def call(server, monkeypatch, capsys, tmp_path):
    """Call the command line in this process; returns exit code, standard output and standard error."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.host)
    monkeypatch.delenv("REALFEATURES_STORE", raising=False)
    monkeypatch.setattr("realfeatures.kubeflow.server.run_state.POLL_SECONDS", 0.01)
    monkeypatch.setitem(Kubeflow.__init__.__kwdefaults__, "pause_seconds", 0.01)
    monkeypatch.chdir(tmp_path)

    def main(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["realfeatures", *words])
        code = cli.main()
        return code, *capsys.readouterr()

    return main


def test_the_command_starts_a_run_and_says_where_it_is_and_how_to_watch_it(call, server):
    code, out, err = call(*COMMAND, "--seed", "4", "--run-name", "mine")
    assert code == 0, err
    ((run_id, run),) = server.runs.items()
    assert run.runtime_config.parameters["seed"] == 4
    assert out.splitlines() == [
        f"run {run_id}: {server.host}/#/runs/details/{run_id}",
        f"watch it with: realfeatures submit --watch {run_id} --host {server.host}",
    ]


def test_waiting_tells_the_tasks_and_where_the_report_is(call):
    code, out, err = call(*COMMAND, "--wait", "--run-name", "mine")
    assert code == 0, err
    assert "repetition 1 / natural supervised / superv own head: succeeded" in err
    assert "under runs/mine/" in out


@pytest.mark.s3
def test_the_report_is_fetched_from_the_store(call, store, tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).write_text(f"the {name} of mine")
    publish(tmp_path, "mine", store)
    monkeypatch.setenv("REALFEATURES_STORE", store.settings.location)
    code, out, err = call(*COMMAND, "--wait", "--run-name", "mine", "--out", "fetched")
    assert code == 0, err
    assert out.endswith("report: fetched/report.html\n")
    assert (tmp_path / "fetched/results.json").read_text() == "the results.json of mine"
    code, _out, err = call(*COMMAND, "--wait", "--run-name", "other")
    assert code == 2
    assert "runs/other/report.html" in err.splitlines()[-1]


def test_another_seed_or_name_is_no_other_version(call, server):
    assert [call(*COMMAND, "--seed", seed)[0] for seed in "01"] == [0, 0]
    assert len(server.versions) == 1
    assert call(*COMMAND, "--no-cache")[0] == 0
    assert len(server.versions) == 2


def test_the_exit_code_tells_whether_the_run_succeeded(call, server):
    server.fails_at = "report"
    code, _out, err = call(*COMMAND, "--wait")
    assert code == 1
    last = err.splitlines()[-1]
    assert "failed in task 'report'" in last
    assert ": main: Error (exit code 1); see " in last
    assert last.endswith(f"; see {server.host}/#/runs/details/{next(iter(server.runs))}")


def test_a_server_that_goes_away_while_waiting_leaves_the_run_going(call, server):
    server.faults = [Fault("GET /apis/v2beta1/runs", 503)]
    code, _out, err = call(*COMMAND, "--wait")
    assert code == 2
    (run_id,) = server.runs
    assert "answered 503" in err
    assert f"the run goes on; look again with: realfeatures submit --watch {run_id}" in err.splitlines()[-1]
    server.faults = []
    assert call("submit", "--watch", run_id)[0] == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("submit",), "--image: expected an image"),
        ((*COMMAND, "--overrides", "{probe}"), "expected a JSON object"),
        ((*COMMAND, "--overrides", '{"probe.epoch": 1}'), "probe.epoch: unknown key"),
        ((*COMMAND, "--run-name", "My Run"), "run name 'My Run': expected"),
        ((*COMMAND, "--profile", "tpu"), "--profile 'tpu': expected one of cpu, gpu"),
        ((*COMMAND, "--preset", "imagenet"), "imagenet"),
    ],
)
def test_wrong_options_are_one_line_and_nothing_is_asked(words, expected, call, server):
    code, _out, err = call(*words)
    assert code == 2
    assert err.count("\n") == 1
    assert expected in err
    assert server.requests == []


def test_an_image_without_a_digest_is_warned_of(call):
    code, _out, err = call(*COMMAND, "--image", "realfeatures:dev")
    assert code == 0
    assert err.startswith("warning: realfeatures:dev is not pinned by its digest")


def test_ctrl_c_while_waiting_leaves_the_run_going(server):
    environment = {**os.environ, "KF_PIPELINES_ENDPOINT": server.host, "REALFEATURES_STORE": ""}
    command = [sys.executable, "-m", "realfeatures.cli.main", *COMMAND, "--wait"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A shell starts what it puts into the background with the signal ignored, and the tests with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not any(run.state == "RUNNING" for run in server.runs.values()):
        time.sleep(0.05)
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    (run_id,) = server.runs
    assert f"the run goes on; look again with: realfeatures submit --watch {run_id}" in told
    assert "Traceback" not in told
    assert json.dumps([run.state for run in server.runs.values()]) == '["RUNNING"]'
