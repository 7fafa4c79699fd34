"""Submitting to Kubeflow: uploads once, watches to the end, and tells in one line what went wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kfp_server import Fault, KfpServer

from realfeatures.cluster.kubeflow_api import ATTEMPTS, ConflictError, Connection, Kubeflow
from realfeatures.cluster.kubernetes_api import ClusterError, ForbiddenError, MissingError
from realfeatures.cluster.submit import RunFailed, RunState, TaskState, Version, require_success, start, upload, watch
from realfeatures.cluster.watching import follow, table_of
from realfeatures.errors import ConfigError
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import load_profile
from realfeatures.presets import load_preset

SMALL = ("controls=[]", "paradigms=supervised", "features=natural")
IMAGE = "registry.example/realfeatures@sha256:" + "0" * 64
RUNS, VERSIONS = "POST /apis/v2beta1/runs", "POST /apis/v2beta1/pipelines/upload_version"


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer() as running:
        yield running


@pytest.fixture
def kubeflow(server: KfpServer) -> Kubeflow:
    return Kubeflow(Connection(server.host), pause_seconds=0.01, request_seconds=2.0)


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("paper") / "paper.yaml"
    preset = load_preset("digits", SMALL)
    compile_pipeline(preset, seed=0, repetitions=1, image=IMAGE, profile=load_profile("cpu"), path=path)
    return path


def started(kubeflow: Kubeflow, paper: Path, **form) -> str:
    values = {"experiment": "realfeatures", "run_name": "first", "seed": 3, "overrides": "{}", **form}
    return start(kubeflow, upload(kubeflow, paper), **values)


def test_equal_pipelines_are_uploaded_once(kubeflow, server, paper, tmp_path):
    first = upload(kubeflow, paper)
    again = upload(kubeflow, paper)
    assert first == again
    assert first.pipeline == "adversarial-examples-are-not-real-features-digits"
    other = tmp_path / "other.yaml"
    other.write_text(paper.read_text().replace("0" * 64, "1" * 64))
    assert upload(kubeflow, other).pipeline_id == first.pipeline_id
    assert server.count(VERSIONS) == 2
    assert len(server.pipelines) == 1


def test_what_others_have_is_found_on_later_pages(kubeflow, server, paper, tmp_path):
    versions = []
    for number in range(5):
        one = tmp_path / f"{number}.yaml"
        one.write_text(paper.read_text().replace("0" * 64, str(number) * 64))
        versions.append(upload(kubeflow, one).version_id)
    assert [upload(kubeflow, tmp_path / f"{number}.yaml").version_id for number in range(5)] == versions
    assert server.count(VERSIONS) == 5


def test_a_pipeline_that_someone_makes_at_the_same_time_is_no_error(kubeflow, server, paper):
    name = "adversarial-examples-are-not-real-features-digits"
    create = server._create_pipeline

    def race(body: bytes, **rest) -> None:
        server._create_pipeline = create
        create(body, **rest)
        create(body, **rest)

    server._create_pipeline = race
    found = upload(kubeflow, paper)
    assert [one.display_name for one in server.pipelines.values()] == [name]
    assert found.pipeline_id in server.pipelines


def test_a_run_has_the_fields_of_the_form_and_pins_its_version(kubeflow, server, paper):
    run_id = started(kubeflow, paper, overrides='{"probe.epochs": 5}')
    run = server.runs[run_id]
    assert run.runtime_config.parameters == {"seed": 3, "overrides": '{"probe.epochs": 5}', "run_name": "first"}
    assert run.pipeline_version_reference.pipeline_version_id in server.versions
    assert [one.display_name for one in server.experiments.values()] == ["realfeatures"]
    started(kubeflow, paper)
    assert len(server.experiments) == 1


def test_a_run_is_watched_to_its_end(kubeflow, paper):
    states = list(watch(kubeflow, started(kubeflow, paper), pause=lambda _seconds: None))
    assert states[-1].state == "SUCCEEDED"
    assert {task.state for task in states[-1].tasks} == {"SUCCEEDED"}
    assert {"configure", "prepare data", "report"} <= {task.name for task in states[-1].tasks}
    require_success(states[-1])


def test_a_run_that_fails_midway_names_task_and_reason_in_one_line(kubeflow, server, paper):
    server.fails_at = "supervised: pretrain"
    state = follow(kubeflow, started(kubeflow, paper), pause=lambda _seconds: None)
    with pytest.raises(RunFailed, match=r"first \(.*\) failed in task 'supervised: pretrain': error: probe") as raised:
        require_success(state)
    assert "\n" not in str(raised.value)


def test_progress_elsewhere_than_on_a_terminal_is_one_line_a_change(kubeflow, paper, caplog):
    caplog.set_level("INFO", logger="realfeatures")
    follow(kubeflow, started(kubeflow, paper), pause=lambda _seconds: None)
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("prepare data: running") == 1
    assert lines.count("prepare data: succeeded") == 1
    assert lines[-1] == "run first: succeeded"


def test_a_terminal_shows_counts_and_what_runs_or_failed():
    tasks = (TaskState("a", "SUCCEEDED"), TaskState("b", "RUNNING"), TaskState("c", "FAILED", "out of memory"))
    table = table_of(RunState("id", "first", "RUNNING", "", tasks))
    assert str(table.title) == "first: running; 1 failed, 1 running, 1 succeeded"
    assert table.row_count == 2


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (401, ForbiddenError, r"may not do that \(401\); sign in: --token-file"),
        (403, ForbiddenError, r"may not do that \(403\); ask for the right"),
        (404, MissingError, r"there is none \(404\)"),
        (409, ConflictError, r"there is one already \(409\)"),
        (400, ClusterError, r"answered 400, which says: planted"),
    ],
)
def test_a_refusal_is_told_at_once(status, kind, expected, kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    server.faults = [Fault("GET /apis/v2beta1/runs", status)]
    with pytest.raises(kind, match=expected) as raised:
        kubeflow.get_run(run_id)
    assert "\n" not in str(raised.value)
    assert server.count("GET /apis/v2beta1/runs/.*") == 1


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 500}, {"status": 503}, {"drop": True}])
def test_an_error_that_passes_is_tried_again(fault, kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    server.faults = [Fault("GET /apis/v2beta1/runs", times=2, **fault)]
    assert kubeflow.get_run(run_id).run_id == run_id
    assert server.count("GET /apis/v2beta1/runs/.*") == 3


def test_an_error_that_stays_is_given_up(kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    server.faults = [Fault("GET /apis/v2beta1/runs", 503)]
    with pytest.raises(ClusterError, match=r"answered 503, which says: planted; see its log"):
        kubeflow.get_run(run_id)
    assert server.count("GET /apis/v2beta1/runs/.*") == ATTEMPTS


def test_a_run_whose_answer_was_lost_is_not_started_twice(kubeflow, server, paper):
    version = upload(kubeflow, paper)
    server.faults = [Fault(RUNS, drop=True, after=True)]
    with pytest.raises(ClusterError, match="no answer"):
        start(kubeflow, version, experiment="e", run_name="first", seed=0, overrides="{}")
    assert len(server.runs) == 1


def test_a_busy_server_gets_the_run_when_it_is_ready(kubeflow, server, paper):
    server.faults = [Fault(RUNS, 429, times=2)]
    started(kubeflow, paper)
    assert len(server.runs) == 1


def test_a_slow_server_is_given_up_after_its_time(server):
    quick = Kubeflow(Connection(server.host), pause_seconds=0.01, request_seconds=0.2)
    server.faults = [Fault("GET /apis/v1beta1/healthz", seconds=1.0)]
    with pytest.raises(ClusterError, match=r"no answer \(it takes too long\)"):
        quick.version()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("http://127.0.0.1:1", "the connection is refused"),
        ("http://nobody.invalid", "the host's name is unknown"),
    ],
)
def test_a_server_that_is_not_there_is_told(host, expected):
    with pytest.raises(ClusterError, match=expected):
        Kubeflow(Connection(host), pause_seconds=0.01).version()


def test_a_page_in_place_of_an_answer_is_told(kubeflow, server):
    server.faults = [Fault("GET /apis/v1beta1/healthz", 200, page=True)]
    with pytest.raises(ClusterError, match="no Kubeflow Pipelines"):
        kubeflow.version()


def test_a_token_comes_from_a_file_and_is_never_shown(server, tmp_path):
    server.token = "token-of-the-test"  # noqa: S105 - of this server alone
    (tmp_path / "token").write_text("token-of-the-test\n")
    assert Kubeflow(Connection(server.host, token_file=tmp_path / "token")).version() == "2.17.0"
    (tmp_path / "token").write_text("wrong-token")
    with pytest.raises(ForbiddenError, match="401") as raised:
        Kubeflow(Connection(server.host, token_file=tmp_path / "token")).version()
    assert "wrong-token" not in str(raised.value)


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (Connection(), "no Kubeflow Pipelines is named"),
        (Connection("localhost:8080"), "expected http://HOST:PORT"),
        (Connection("http://h", token_file=Path("nowhere")), "--token-file nowhere: No such file"),
        (Connection("http://h", ca_cert=Path("nowhere")), "--ca-cert nowhere: no such file"),
    ],
)
def test_a_wrong_connection_is_told_before_any_request(connection, expected, monkeypatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    with pytest.raises(ConfigError, match=expected):
        Kubeflow(connection)


def test_a_version_is_named_by_its_content(kubeflow, paper):
    found = upload(kubeflow, paper)
    assert isinstance(found, Version)
    assert len(found.version) == 16


# --- the command -----------------------------------------------------------------------------------------------------

COMMAND = ("submit", "--image", IMAGE, *(word for one in SMALL for word in ("--set", one)))


def realfeatures(*words: str, host: str = "", **environment: str) -> subprocess.CompletedProcess:
    surroundings = {**os.environ, "KF_PIPELINES_ENDPOINT": host, "REALFEATURES_STORE": "", **environment}
    command = [sys.executable, "-m", "realfeatures.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)


def test_the_command_starts_a_run_and_says_how_to_watch_it(server):
    done = realfeatures(*COMMAND, "--seed", "4", "--run-name", "mine", host=server.host)
    assert done.returncode == 0, done.stderr
    ((run_id, run),) = server.runs.items()
    assert run.runtime_config.parameters["seed"] == 4
    assert f"submit --watch {run_id}" in done.stdout


def test_the_exit_code_tells_whether_the_run_succeeded(server):
    server.fails_at = "report"
    done = realfeatures(*COMMAND, "--wait", host=server.host)
    assert done.returncode == 1
    assert "failed in task 'report'" in done.stderr.splitlines()[-1]


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
def test_wrong_options_are_one_line_and_nothing_is_uploaded(words, expected, server):
    done = realfeatures(*words, host=server.host)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert server.count("POST .*") == 0


def test_ctrl_c_while_waiting_leaves_the_run_going(server):
    environment = {**os.environ, "KF_PIPELINES_ENDPOINT": server.host, "REALFEATURES_STORE": ""}
    command = [sys.executable, "-m", "realfeatures.cli", *COMMAND, "--wait"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
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
