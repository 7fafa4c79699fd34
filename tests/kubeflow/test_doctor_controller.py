"""The doctor's checks of Kubeflow's workflow controller: what it retries, where it keeps node status, its limit."""

import pytest
from doctor_need import controller_findings
from kfp_server import KfpServer
from kubernetes import client
from kubernetes_server import meta
from test_doctor import doctor

from realfeatures.kubeflow.doctor.findings import Finding, Outcome

SETTINGS = "/api/v1/namespaces/{}/configmaps/workflow-controller-configmap"
DEPLOYMENT = "/apis/apps/v1/namespaces/{}/deployments/workflow-controller"
STOCK = "spec:\n  templateDefaults:\n    retryStrategy:\n      limit: '2'\n      retryPolicy: {}\n"
OFFLOADING = "nodeStatusOffLoad: true\nmysql: {host: mysql}\n"


def deployment(*variables: client.V1EnvVar, **rest) -> client.V1Deployment:
    containers = [
        client.V1Container(name="sidecar", env=[client.V1EnvVar(name="MAX_WORKFLOW_SIZE", value="7")]),
        client.V1Container(name="workflow-controller", env=list(variables), **rest),
    ]
    template = client.V1PodTemplateSpec(spec=client.V1PodSpec(containers=containers))
    spec = client.V1DeploymentSpec(selector=client.V1LabelSelector(), template=template)
    return client.V1Deployment(metadata=meta("workflow-controller"), spec=spec)


def variable(name: str, value: str) -> client.V1EnvVar:
    return client.V1EnvVar(name=name, value=value)


@pytest.fixture
def installed(cluster):
    """Let the cluster have a controller with these settings and variables; returns what the doctor says."""

    def install(
        data: dict[str, str] | None, *variables: client.V1EnvVar, namespace: str = "kubeflow"
    ) -> dict[str, Finding]:
        settings = client.V1ConfigMap(metadata=meta("workflow-controller-configmap"), data=data)
        cluster.objects[SETTINGS.format(namespace)] = settings
        cluster.objects[DEPLOYMENT.format(namespace)] = deployment(*variables)
        return controller_findings()

    return install


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"workflowDefaults": STOCK.format("OnError")}, "a task whose pod was deleted is started again, one that"),
        ({"workflowDefaults": STOCK.format("OnFailure")}, "a task that exits non-zero, runs out of memory or meets"),
        ({"workflowDefaults": STOCK.format("Always")}, "again, and so is one whose pod was deleted; drivers alike"),
        ({"workflowDefaults": STOCK.format("OnTransientError")}, "TRANSIENT_ERROR_PATTERN"),
        ({"workflowDefaults": STOCK.format("Never")}, "a policy that is not known here, 'Never'"),
        ({"workflowDefaults": STOCK.format("''")}, "one whose pod was deleted is not; drivers alike"),
        ({"workflowDefaults": STOCK.format("''\n      expression: 'true'")}, "retryPolicy Always"),
        ({"workflowDefaults": "spec: {ttlStrategy: {}}"}, "one whose pod was deleted is not; a driver never is"),
        ({"workflowDefaults": "none"}, "one whose pod was deleted is not; a driver never is"),
        (None, "one whose pod was deleted is not; a driver never is"),
        ({"config": "workflowDefaults:\n  " + STOCK.format("OnError").replace("\n", "\n  ")}, "retryPolicy OnError"),
    ],
)
def test_which_failures_kubeflow_retries_is_told(data, expected, installed):
    found = installed(data)["retries"]
    assert found.outcome is Outcome.OK
    assert expected in found.text


@pytest.mark.parametrize(
    ("data", "always", "expected"),
    [
        ({}, "true", "is kept in the Workflow, whose size it counts for"),
        ({"persistence": "nodeStatusOffLoad: false"}, "true", "is kept in the Workflow, whose size it counts for"),
        ({"persistence": OFFLOADING}, "false", "is kept in a database once it is too large: "),
        ({"persistence": OFFLOADING}, "true", "is kept in a database always: "),
    ],
)
def test_where_node_status_is_kept_is_told(data, always, expected, installed):
    found = installed(data, variable("ALWAYS_OFFLOAD_NODE_STATUS", always))["node status"]
    assert found.outcome is Outcome.OK
    assert found.text.startswith(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2097152", "a Workflow may have 2.00 MiB (2,097,152 bytes)"),
        ("0", "a Workflow may have 1.00 MiB (1,048,576 bytes)"),
        ("large", "a Workflow may have 1.00 MiB (1,048,576 bytes)"),
        ("", "a Workflow may have 1.00 MiB (1,048,576 bytes)"),
    ],
)
def test_the_limit_of_a_workflow_is_told(value, expected, installed):
    assert installed({}, variable("MAX_WORKFLOW_SIZE", value))["workflow size"].text == expected
    assert installed({})["workflow size"].text == "a Workflow may have 1.00 MiB (1,048,576 bytes)"


def test_the_controller_is_found_where_the_pods_run(installed):
    found = installed({}, variable("MAX_WORKFLOW_SIZE", "2097152"), namespace="realfeatures")
    assert "2.00 MiB" in found["workflow size"].text


def test_a_variable_that_comes_from_elsewhere_is_unknown(installed, cluster):
    source = client.V1EnvVarSource(config_map_key_ref=client.V1ConfigMapKeySelector(name="a", key="b"))
    found = installed({}, client.V1EnvVar(name="MAX_WORKFLOW_SIZE", value_from=source))["workflow size"]
    assert found.outcome is Outcome.UNKNOWN
    assert "MAX_WORKFLOW_SIZE comes from elsewhere" in found.text
    others = client.V1EnvFromSource(config_map_ref=client.V1ConfigMapEnvSource(name="a"))
    cluster.objects[DEPLOYMENT.format("kubeflow")] = deployment(env_from=[others])
    assert controller_findings()["workflow size"].outcome is Outcome.UNKNOWN


def test_what_may_not_be_read_is_unknown_with_the_right_to_ask_for(installed, cluster):
    installed({"persistence": OFFLOADING})
    cluster.faults = {path.format("kubeflow"): 403 for path in (SETTINGS, DEPLOYMENT)}
    found = controller_findings()
    assert {one.outcome for one in found.values()} == {Outcome.UNKNOWN}
    assert found["retries"].text == (
        "which failures Kubeflow retries is unknown: these credentials may not read workflow-controller-configmap in"
        " kubeflow (403)"
    )
    assert found["retries"].remedy == "ask for the right to get configmaps there"
    assert found["workflow size"].text.startswith("whether a Workflow may have other than 1,048,576 bytes is unknown")
    assert found["workflow size"].remedy == "ask for the right to get deployments there"
    cluster.faults = {DEPLOYMENT.format("kubeflow"): 403}
    assert "(at the latest once it is too large)" in controller_findings()["node status"].text


@pytest.mark.usefixtures("cluster")
def test_a_controller_that_is_not_there_is_unknown():
    found = controller_findings()
    assert {one.outcome for one in found.values()} == {Outcome.UNKNOWN}
    assert "there is no workflow-controller-configmap in realfeatures or kubeflow" in found["retries"].text
    assert found["retries"].remedy == "use --namespace with the one that Kubeflow is in"


def test_settings_that_are_no_yaml_are_unknown(installed):
    found = installed({"workflowDefaults": "spec: ["})["retries"]
    assert found.outcome is Outcome.UNKNOWN
    assert "no YAML" in found.text


def test_a_server_that_fails_is_a_problem_and_no_traceback(installed, cluster):
    installed({})
    cluster.faults = {SETTINGS.format("kubeflow"): 500}
    assert controller_findings()["retries"].outcome is Outcome.PROBLEM


def test_the_command_looks_at_the_controller_where_kubeflow_is_named(installed):
    installed({"workflowDefaults": STOCK.format("OnError")})
    with KfpServer() as kubeflow:
        done = doctor("--host", kubeflow.host, "--only", "retries", "--only", "workflow size")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("ok")] == [
        ["ok", "retries"],
        ["ok", "workflow"],
    ]
    assert "--only 'retries': expected one of" in doctor("--only", "retries", KF_PIPELINES_ENDPOINT="").stderr
