"""Submitting to Kubeflow: uploads once, watches to the end, and tells in one line what went wrong."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kfp_http import Fault
from kfp_server import KfpServer
from kfp_workflow import task_keys

from realfeatures.cli import main as cli
from realfeatures.errors import ConfigError
from realfeatures.experiment.presets import load_preset
from realfeatures.kubeflow.server.connection import Connection
from realfeatures.kubeflow.server.kubeflow_api import ATTEMPTS, Kubeflow
from realfeatures.kubeflow.server.kubernetes_api import ClusterError, ForbiddenError, MissingError
from realfeatures.kubeflow.server.refusals import ConflictError
from realfeatures.kubeflow.server.run_state import (
    RunFailed,
    RunState,
    TaskState,
    require_success,
    task_names,
)
from realfeatures.kubeflow.server.submit import Version, start, upload
from realfeatures.kubeflow.server.watching import follow, table_of, watch
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import load_profile
from realfeatures.store.reports import FILES, publish

SMALL = ("experiments=E2", "paradigms=supervised", "features=natural")
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
    names = [task.name for task in states[-1].steps]
    assert {"configure", "prepare data", "report", "natural: evaluate / superv own head"} < {*names}
    assert len(set(names)) == len(names) == states[-1].total
    require_success(states[-1])


def test_tasks_of_several_nested_pipelines_are_told_apart(kubeflow, tmp_path):
    path = tmp_path / "paper.yaml"
    preset = load_preset("digits", (*SMALL[:2], "features=[natural, robust]"))
    compile_pipeline(preset, seed=0, repetitions=1, image=IMAGE, profile=load_profile("cpu"), path=path)
    state = follow(kubeflow, started(kubeflow, path), pause=lambda _seconds: None)
    names = [task.name for task in state.steps]
    assert {f"{kind}: evaluate / superv own head" for kind in ("natural", "robust")} < {*names}
    assert len(names) == state.total


@pytest.mark.parametrize("driver_fails", [False, True])
def test_a_run_that_fails_midway_names_the_innermost_task(driver_fails, kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    spec = server.spec_of(server.runs[run_id])
    task = "natural: evaluate / superv own head"
    server.fails_at = next(key for key, name in task_names(spec).items() if name.text == task)
    server.driver_fails = driver_fails
    state = follow(kubeflow, run_id, pause=lambda _seconds: None)
    expected = rf"run first \({run_id}\) failed in task '{task}': the reason is in the task's log"
    with pytest.raises(RunFailed, match=expected) as raised:
        require_success(state)
    assert "\n" not in str(raised.value)


def test_a_reason_that_a_newer_server_gives_is_told_in_one_line():
    tasks = (TaskState("a", "FAILED"), TaskState("b", "FAILED", "error: probe.epochs: expected at least 1"))
    with pytest.raises(RunFailed, match=r"in task 'b' and 1 more: error: probe\.epochs"):
        require_success(RunState("id", "first", "FAILED", "", tasks))


def test_a_run_whose_version_was_deleted_is_watched_by_the_keys_of_its_tasks(kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    server.faults = [Fault("GET /apis/v2beta1/pipelines/", 404)]
    names = {task.name for task in list(watch(kubeflow, run_id, pause=lambda _seconds: None))[-1].tasks}
    assert names == set(task_keys(server.spec_of(server.runs[run_id])))


def test_progress_elsewhere_than_on_a_terminal_is_one_line_a_change(kubeflow, paper, caplog):
    caplog.set_level("INFO", logger="realfeatures")
    follow(kubeflow, started(kubeflow, paper), pause=lambda _seconds: None)
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("prepare data: running") == 1
    assert lines.count("prepare data: succeeded") == 1
    assert lines[-1] == "run first: succeeded"


def test_a_terminal_shows_counts_and_what_runs_or_failed():
    tasks = (TaskState("a", "SUCCEEDED"), TaskState("b", "RUNNING"), TaskState("c", "FAILED", "out of memory"))
    table = table_of(RunState("id", "first", "RUNNING", "", tasks, total=5))
    assert str(table.title) == "first: running; 1 failed, 1 running, 1 succeeded, 2 waiting"
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


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    server.faults = [Fault("GET /apis/v2beta1/runs", 429, times=1, headers={"Retry-After": "1"})]
    begin = time.monotonic()
    kubeflow.get_run(run_id)
    assert 1.0 <= time.monotonic() - begin < 2.0


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


@pytest.mark.parametrize(
    "where", ["GET /apis/v1beta1/healthz", "GET /apis/v2beta1/runs", "GET /apis/v2beta1/pipelines"]
)
def test_a_page_in_place_of_an_answer_is_told(where, kubeflow, server, paper):
    run_id = started(kubeflow, paper)
    server.faults = [Fault(where, 200, page=True)]
    with pytest.raises(ClusterError, match="no Kubeflow Pipelines, or wants a sign-in"):
        (kubeflow.version(), kubeflow.get_run(run_id), upload(kubeflow, paper))


@pytest.mark.parametrize("behind_ui", [False, True])
def test_the_release_is_told_by_the_api_server_and_by_the_ui(behind_ui, kubeflow, server):
    server.behind_ui = behind_ui
    assert kubeflow.version() == "2.17.0"
    kubeflow.require_release()
    server.tag = "2.4.1"
    with pytest.raises(ClusterError, match=r"Kubeflow Pipelines 2\.4\.1 is older than 2\.15"):
        kubeflow.require_release()


def test_a_certificate_that_is_not_trusted_is_told_at_once(tmp_path):
    with tls_server(tmp_path) as (port, certificate):
        with pytest.raises(ClusterError, match=r"its certificate is not trusted.*; use --ca-cert"):
            Kubeflow(Connection(f"https://localhost:{port}"), pause_seconds=60.0).version()
        with pytest.raises(ClusterError, match="no Kubeflow Pipelines"):
            Kubeflow(Connection(f"https://localhost:{port}", ca_cert=certificate)).version()


@contextmanager
def tls_server(folder: Path) -> Iterator[tuple[int, Path]]:
    """A server with a certificate of its own, which answers with a page."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with KfpServer(faults=[Fault("GET", 200, page=True)], tls=context) as running:
        yield running.port, certificate


def test_a_token_comes_from_a_file_is_read_anew_and_never_shown(server, tmp_path):
    server.token = "token-of-the-test"  # noqa: S105 - of this server alone
    file = tmp_path / "token"
    file.write_text("token-of-the-test\n")
    kubeflow = Kubeflow(Connection(server.host, token_file=file))
    assert kubeflow.version() == "2.17.0"
    file.write_text("wrong-token")
    with pytest.raises(ForbiddenError, match="401") as raised:
        kubeflow.version()
    assert "wrong-token" not in str(raised.value)
    file.unlink()
    with pytest.raises(ClusterError, match="--token-file cannot be read any more"):
        kubeflow.version()


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (Connection(), "no Kubeflow Pipelines is named"),
        (Connection("localhost:8080"), "expected http://HOST:PORT"),
        (
            Connection("https://me:password@host"),
            "^--host: expected a URL without user and password; use --token-file$",
        ),
        (Connection("http://h", token_file=Path("nowhere")), "--token-file nowhere: No such file"),
        (Connection("http://h", ca_cert=Path("nowhere")), "--ca-cert nowhere: No such file"),
    ],
)
def test_a_wrong_connection_is_told_before_any_request(connection, expected, monkeypatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    with pytest.raises(ConfigError, match=expected):
        Kubeflow(connection)


def test_kfp_s_own_settings_name_the_namespace_or_are_refused(server, monkeypatch, tmp_path):
    settings = tmp_path / "context.json"
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(settings))
    settings.write_text('{"namespace": "team"}')
    Kubeflow(Connection(server.host)).experiment_id("mine")
    assert [one.namespace for one in server.experiments.values()] == ["team"]
    Kubeflow(Connection(server.host, namespace="other")).experiment_id("theirs")
    assert [one.namespace for one in server.experiments.values()] == ["team", "other"]
    settings.write_text("{")
    with pytest.raises(ConfigError, match=r"context\.json: kfp's own settings are no JSON"):
        Kubeflow(Connection(server.host))


def test_a_version_is_named_by_its_content(kubeflow, paper):
    found = upload(kubeflow, paper)
    assert isinstance(found, Version)
    assert len(found.version) == 16


# --- the command -----------------------------------------------------------------------------------------------------

COMMAND = ("submit", "--image", IMAGE, *(word for one in SMALL for word in ("--set", one)))


@pytest.fixture
def call(server, monkeypatch, capsys, tmp_path):
    """Call the command line in this process; returns exit code, standard output and standard error."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.host)
    monkeypatch.delenv("REALFEATURES_STORE", raising=False)
    monkeypatch.setattr("realfeatures.kubeflow.server.watching.POLL_SECONDS", 0.01)
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
    assert "natural: evaluate / superv own head: succeeded" in err
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
