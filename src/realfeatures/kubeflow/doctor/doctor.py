"""What of cluster, store and rights is not as a run of a preset needs it; each check stands for itself.

Looks only, but for the object store, where one small object is written, read and deleted.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from realfeatures.errors import ForbiddenError
from realfeatures.kubeflow.doctor import access_checks as access
from realfeatures.kubeflow.doctor import capacity_checks as capacity
from realfeatures.kubeflow.doctor import controller_checks as controller
from realfeatures.kubeflow.doctor.findings import Check, Finding, ok, parts, problem, unknown
from realfeatures.kubeflow.doctor.need import Need
from realfeatures.kubeflow.server.connection import ENDPOINT_VARIABLE, Connection, is_named
from realfeatures.kubeflow.server.kubeflow_api import LEAST_RELEASE, Kubeflow, release_of
from realfeatures.kubeflow.server.kubernetes_api import Cluster

KUBERNETES_CHECKS: dict[str, Callable[[Cluster, Need], Finding]] = {
    "kubernetes": access.check_version,
    "namespace": access.check_namespace,
    "service account": access.check_service_account,
    "rights": access.check_rights,
    "pods' rights": access.check_pods_rights,
    "secret": access.check_secret,
    "nodes": capacity.check_nodes,
    "image": capacity.check_image,
    "quota": capacity.check_quota,
    "limits": capacity.check_limits,
}
"""By what the doctor calls them."""

CONTROLLER_CHECKS: dict[str, Callable[[controller.Controller], Finding]] = {
    "retries": controller.check_retries,
    "node status": controller.check_node_status,
    "workflow size": controller.check_workflow_size,
}
"""What the cluster's administrator decided of runs on Kubeflow."""


def kubernetes_checks(client: Callable[[], Any], need: Need) -> dict[str, Check]:
    """Return the checks that ask the Kubernetes API, by name."""
    cluster = Cluster(client)
    return {name: partial(check, cluster, need) for name, check in KUBERNETES_CHECKS.items()}


def controller_checks(client: Callable[[], Any], need: Need) -> dict[str, Check]:
    """Return the checks that ask how Kubeflow's workflow controller is set, by name."""
    found = controller.Controller(Cluster(client), need)
    return {name: partial(check, found) for name, check in CONTROLLER_CHECKS.items()}


def check_kubeflow(connection: Connection) -> Finding:
    """Return whether Kubeflow Pipelines answers, and in which version."""
    if not is_named(connection):
        return unknown("kubeflow", "none is named; the plain Job needs none", f"use --host, or set {ENDPOINT_VARIABLE}")
    try:
        found = Kubeflow(connection).version()
    except ForbiddenError as error:  # who may not ask this may submit nothing
        return problem("kubeflow", *parts(error))
    release = release_of(found)
    if release is None:
        return unknown("kubeflow", f"answers, and calls its version {found!r}")
    if release < LEAST_RELEASE:
        least = ".".join(map(str, LEAST_RELEASE))
        return problem("kubeflow", f"version {found} is older than {least}", "upgrade Kubeflow Pipelines to 2.17")
    return ok("kubeflow", f"version {found}")


def check_store() -> Finding:
    """Write, read and delete a small object in the store that the environment names."""
    from realfeatures.store import ObjectStore

    store = ObjectStore.from_environment()
    if store is None:
        return unknown(
            "object store",
            "none is named, so checkpoints and reports stay in the cluster",
            "set REALFEATURES_STORE, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    store.check()
    return ok("object store", f"{store.settings.location} at {store.settings.host} can be written and read")
