"""The doctor: each check in its good and its bad case, one that fails hides no other, and no secret is shown."""

import json
import os
import subprocess
import sys

import pytest
from doctor_need import HERE, findings
from kfp_server import KfpServer
from kubernetes import client
from kubernetes_server import NAMESPACE, secret

from realfeatures.errors import NoClusterError
from realfeatures.kubeflow.doctor.doctor import check_kubeflow, check_store
from realfeatures.kubeflow.doctor.findings import Outcome, examine
from realfeatures.kubeflow.doctor.need import FOLLOWING, PODS_OF_KUBEFLOW, STARTING_A_JOB
from realfeatures.kubeflow.server.connection import Connection
from realfeatures.kubeflow.server.kubernetes_api import connect


@pytest.mark.usefixtures("cluster")
def test_a_cluster_that_is_well_has_no_problem():
    found = findings()
    assert {name for name, one in found.items() if one.outcome is not Outcome.OK} == {"image"}
    assert found["kubernetes"].text.startswith("v1.36.1 at http://127.0.0.1:")
    assert found["namespace"].text.endswith("restricted")
    assert "whether it can be pulled shows with the first pod" in found["image"].text


@pytest.mark.parametrize(
    ("path", "check"), [(HERE, "namespace"), (f"{HERE}/serviceaccounts/realfeatures", "service account")]
)
def test_what_is_missing_is_a_problem_with_the_command_that_makes_it(path, check, cluster):
    del cluster.objects[path]
    found = findings()
    assert found[check].outcome is Outcome.PROBLEM
    assert "kubectl apply -k k8s/base" in found[check].remedy
    assert found["nodes"].outcome is Outcome.OK


def test_a_secret_needs_both_keys_and_its_values_are_never_shown(cluster):
    path = f"{HERE}/secrets/realfeatures-store"
    cluster.objects[path] = secret("accesskey")
    found = findings()["secret"]
    assert (found.outcome, found.text) == (Outcome.PROBLEM, "realfeatures-store lacks secretkey")
    del cluster.objects[path]
    found = findings()["secret"]
    assert found.outcome is Outcome.PROBLEM
    assert "--from-file=accesskey=FILE" in found.remedy


def test_missing_rights_are_named(cluster):
    cluster.denied = {("create", "jobs"), ("get", "pods")}
    found = findings()["rights"]
    assert found.outcome is Outcome.PROBLEM
    assert "may not create jobs, get pods/log in realfeatures" in found.text


def test_following_a_pipeline_takes_no_right_to_start_jobs(cluster):
    cluster.denied = {("create", "jobs")}
    assert findings(rights=FOLLOWING)["rights"].outcome is Outcome.OK


def test_the_pods_account_is_asked_for_what_kubeflow_s_pods_do(cluster):
    found = findings(pods_rights=PODS_OF_KUBEFLOW)["pods' rights"]
    assert found.outcome is Outcome.OK
    account = f"system:serviceaccount:{NAMESPACE}:realfeatures"
    assert cluster.reviewed == [None] * len(STARTING_A_JOB) + [account] * len(PODS_OF_KUBEFLOW)
    cluster.denied = {("create", "workflowtaskresults")}
    found = findings(pods_rights=PODS_OF_KUBEFLOW)["pods' rights"]
    assert found.outcome is Outcome.PROBLEM
    assert "realfeatures may not create workflowtaskresults" in found.text
    assert "--service-account pipeline-runner" in found.remedy


@pytest.mark.usefixtures("cluster")
def test_the_plain_job_s_pods_need_no_rights():
    assert findings()["pods' rights"].text == "the plain Job's pods need none"


def test_a_run_without_a_store_needs_no_secret(cluster):
    del cluster.objects[f"{HERE}/secrets/realfeatures-store"]
    assert findings(secret=None)["secret"].outcome is Outcome.OK


def test_a_namespace_that_is_being_deleted_is_a_problem(cluster):
    cluster.objects[HERE].status = client.V1NamespaceStatus(phase="Terminating")
    assert findings()["namespace"].text == "realfeatures is being deleted"


@pytest.mark.parametrize(
    ("status", "expected"), [(401, "does not accept these credentials"), (500, "answered 500"), (429, "answered 429")]
)
def test_a_refusal_is_told_and_hides_no_other_check(status, expected, cluster):
    cluster.faults["/api/v1/nodes"] = status
    found = findings()
    assert found["nodes"].outcome is Outcome.PROBLEM
    assert expected in found["nodes"].text
    assert found["secret"].outcome is Outcome.OK


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("/api/v1/nodes", "nodes"),
        (HERE, "namespace"),
        (f"{HERE}/secrets/realfeatures-store", "secret"),
        (f"{HERE}/resourcequotas", "quota"),
        (f"/apis/authorization.k8s.io/v1/namespaces/{NAMESPACE}/localsubjectaccessreviews", "pods' rights"),
    ],
)
def test_what_these_credentials_may_not_look_at_is_unknown_and_no_problem(path, check, cluster):
    cluster.faults[path] = 403
    found = findings(pods_rights=PODS_OF_KUBEFLOW)
    assert found[check].outcome is Outcome.UNKNOWN
    assert "these credentials may not ask for it" in found[check].text
    assert not any(one.outcome is Outcome.PROBLEM for one in found.values())


def test_a_sign_in_page_in_place_of_kubernetes_is_told_by_every_check(cluster):
    cluster.page = True
    found = findings(pods_rights=PODS_OF_KUBEFLOW)
    assert {one.outcome for one in found.values()} == {Outcome.PROBLEM}
    assert all("no Kubernetes API server" in one.text for one in found.values())


@pytest.mark.usefixtures("cluster")
def test_the_configuration_that_a_person_names_goes_before_the_pod_s_own(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert connect().configuration.host.startswith("http://127.0.0.1:")
    monkeypatch.delenv("KUBECONFIG")
    with pytest.raises(NoClusterError, match="no cluster is configured"):
        connect()
    (tmp_path / "broken").write_text("clusters: [")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "broken"))
    with pytest.raises(NoClusterError, match="no cluster is configured") as raised:
        connect()
    assert "\n" not in str(raised.value)


def test_a_server_that_is_gone_is_told_by_every_check(cluster):
    cluster.__exit__()
    found = findings(pods_rights=PODS_OF_KUBEFLOW)
    assert {one.outcome for one in found.values()} == {Outcome.PROBLEM}
    assert "does not answer" in found["namespace"].text


def test_a_server_that_is_silent_is_given_up(cluster, monkeypatch):
    monkeypatch.setattr("realfeatures.kubeflow.server.kubernetes_api.REQUEST_SECONDS", 0.2)
    cluster.silence_seconds = 0.5
    found = findings()["namespace"]
    assert found.outcome is Outcome.PROBLEM
    assert "does not answer (ReadTimeoutError)" in found.text


@pytest.mark.parametrize(
    ("version", "outcome"),
    [("2.17.0", Outcome.OK), ("2.15.1", Outcome.OK), ("2.4.0", Outcome.PROBLEM), ("dev", Outcome.UNKNOWN)],
)
def test_an_old_kubeflow_is_a_problem(version, outcome):
    with KfpServer(tag=version) as kubeflow:
        assert check_kubeflow(Connection(kubeflow.host)).outcome is outcome


def test_no_kubeflow_is_told_and_no_problem(monkeypatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    assert check_kubeflow(Connection()).outcome is Outcome.UNKNOWN


def test_a_kubeflow_that_lets_no_one_in_is_a_problem():
    with KfpServer(token="of-the-test") as kubeflow:  # noqa: S106 - of this server alone
        found = check_kubeflow(Connection(kubeflow.host))
    assert found.outcome is Outcome.PROBLEM
    assert "--token-file" in found.remedy


def test_a_kubeflow_that_does_not_answer_is_a_problem():
    (found,) = examine({"kubeflow": lambda: check_kubeflow(Connection("http://nobody.invalid"))})
    assert found.outcome is Outcome.PROBLEM
    assert "the host's name is unknown" in found.text


def test_no_store_is_told_and_no_problem(monkeypatch):
    monkeypatch.delenv("REALFEATURES_STORE", raising=False)
    assert check_store().outcome is Outcome.UNKNOWN


def doctor(*words: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "realfeatures.cli.main", "doctor", *words]
    surroundings = {**os.environ, "REALFEATURES_STORE": "", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)


@pytest.mark.usefixtures("cluster")
def test_the_exit_code_tells_and_the_token_is_never_shown(cluster):
    well = doctor()
    assert well.returncode == 0, well.stdout + well.stderr
    del cluster.objects[f"{HERE}/secrets/realfeatures-store"]
    ill = doctor("--json")
    assert ill.returncode == 1
    found = {one["check"]: one for one in json.loads(ill.stdout)}
    assert found["secret"]["outcome"] == "problem"
    assert found["object store"]["outcome"] == "unknown"
    for shown in (well, ill):
        assert "token-of-the-test" not in shown.stdout + shown.stderr
        assert "c2VjcmV0" not in shown.stdout + shown.stderr


def test_without_a_cluster_one_line_says_so_and_the_rest_is_skipped(tmp_path):
    done = doctor("--json", KUBECONFIG=str(tmp_path / "none"))
    assert done.returncode == 1
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert found["kubernetes"]["text"].startswith("no cluster is configured")
    assert found["secret"] == {"check": "secret", "outcome": "unknown", "text": "skipped: no cluster", "remedy": ""}


def test_an_unknown_check_is_a_one_line_error():
    done = doctor("--only", "weather")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --only 'weather': expected one of kubernetes, namespace")
