"""What the tests of the doctor share: a need, and what is found of it."""

from kubernetes_server import NAMESPACE

from realfeatures.kubeflow.doctor.doctor import controller_checks, kubernetes_checks
from realfeatures.kubeflow.doctor.findings import Finding, examine
from realfeatures.kubeflow.doctor.need import Need
from realfeatures.kubeflow.server.kubernetes_api import connect

HERE = f"/api/v1/namespaces/{NAMESPACE}"
IMAGE = "registry.example/realfeatures@sha256:" + "0" * 64


def need(**changes) -> Need:
    values = {
        "namespace": NAMESPACE,
        "service_account": "realfeatures",
        "secret": "realfeatures-store",
        "image": IMAGE,
        "pull_policy": "IfNotPresent",
        "accelerator": None,
        "cpu": "1",
        "memory": "4Gi",
    }
    return Need(**{**values, **changes})


def findings(**changes) -> dict[str, Finding]:
    return {one.check: one for one in examine(kubernetes_checks(connect, need(**changes)))}


def controller_findings(**changes) -> dict[str, Finding]:
    return {one.check: one for one in examine(controller_checks(connect, need(**changes)))}
