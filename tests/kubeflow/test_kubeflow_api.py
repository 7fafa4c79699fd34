"""Asking Kubeflow's API: what passes is tried again, a run is never made twice, all else is told in one line."""

import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kfp_http import Fault
from kfp_server import KfpServer
from small_pipeline import started

from realfeatures.errors import ClusterError, ConfigError, ConflictError, ForbiddenError, MissingError
from realfeatures.kubeflow.server.connection import Connection
from realfeatures.kubeflow.server.kubeflow_api import ATTEMPTS, Kubeflow
from realfeatures.kubeflow.server.submit import start, upload

RUNS = "POST /apis/v2beta1/runs"


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
    version = upload(kubeflow, paper, label="digits E2 x1")
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
    [("http://127.0.0.1:1", "the connection is refused"), ("http://nobody.invalid", "the host's name is unknown")],
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
        (kubeflow.version(), kubeflow.get_run(run_id), upload(kubeflow, paper, label="digits E2 x1"))


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
