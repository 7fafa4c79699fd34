"""Checks of a cluster: does it answer, are namespace, account and secret there, and who may do what."""

from collections.abc import Iterable
from typing import Any

from realfeatures.errors import MissingError
from realfeatures.kubeflow.doctor.findings import Finding, ok, problem
from realfeatures.kubeflow.doctor.need import Need, Right
from realfeatures.kubeflow.server.kubernetes_api import Cluster, ask

KEYS = {"accesskey", "secretkey"}
"""Of the store's secret; the names that Kubeflow's own has."""
POD_SECURITY = "pod-security.kubernetes.io/enforce"


def check_version(cluster: Cluster, _need: Need) -> Finding:
    """Return whether the API server answers, and in which version."""
    from kubernetes.client import VersionApi

    found = ask("kubernetes", VersionApi(cluster.client).get_code)
    return ok("kubernetes", f"{found.git_version} at {cluster.client.configuration.host}")


def check_namespace(cluster: Cluster, need: Need) -> Finding:
    """Return whether the namespace is there, and what Pod Security level it enforces."""
    name = need.namespace
    try:
        found = ask(f"namespace {name}", cluster.core.read_namespace, name)
    except MissingError:
        return problem("namespace", f"there is no namespace {name}", "kubectl apply -k k8s/base, or --namespace")
    if found.status is not None and found.status.phase == "Terminating":
        return problem("namespace", f"{name} is being deleted", "wait until it is gone, then kubectl apply -k k8s/base")
    level = (found.metadata.labels or {}).get(POD_SECURITY, "no level")
    return ok("namespace", f"{name}, Pod Security enforces {level}")


def check_service_account(cluster: Cluster, need: Need) -> Finding:
    """Return whether the pods' account is there."""
    name = need.service_account
    try:
        ask(f"service account {name}", cluster.core.read_namespaced_service_account, name, need.namespace)
    except MissingError:
        remedy = "kubectl apply -k k8s/base, or --service-account"
        return problem("service account", f"{need.namespace} has no {name}", remedy)
    return ok("service account", name)


def check_rights(cluster: Cluster, need: Need) -> Finding:
    """Return whether these credentials may start and follow a run."""
    missing = _words(right for right in need.rights if not _i_may(cluster, need.namespace, right))
    if missing:
        remedy = "add yourself to the role binding realfeatures-operator"
        return problem("rights", f"these credentials may not {missing} in {need.namespace}", remedy)
    return ok("rights", f"these credentials may {_words(need.rights)} in {need.namespace}")


def check_pods_rights(cluster: Cluster, need: Need) -> Finding:
    """Return whether the pods' account may do what Kubeflow's part of a pod does."""
    if not need.pods_rights:
        return ok("pods' rights", "the plain Job's pods need none")
    missing = _words(right for right in need.pods_rights if not _pods_may(cluster, need, right))
    if missing:
        remedy = "use Kubeflow's own account by --service-account pipeline-runner, or bind its role"
        return problem("pods' rights", f"{need.service_account} may not {missing} in {need.namespace}", remedy)
    return ok("pods' rights", f"{need.service_account} may {_words(need.pods_rights)}")


def check_secret(cluster: Cluster, need: Need) -> Finding:
    """Return whether the store's secret has its keys; only the keys' names are looked at."""
    name, namespace = need.secret, need.namespace
    if name is None:
        return ok("secret", "none is needed: the profile names no object store (store.location)")
    try:
        found = ask(f"secret {name}", cluster.core.read_namespaced_secret, name, namespace)
    except MissingError:
        create = f"kubectl -n {namespace} create secret generic {name}"
        remedy = f"{create} --from-file=accesskey=FILE --from-file=secretkey=FILE"
        return problem("secret", f"{namespace} has no secret {name}", remedy)
    missing = sorted(KEYS - {key for key, value in (found.data or {}).items() if value})
    if missing:
        return problem("secret", f"{name} lacks {' and '.join(missing)}", "create it again with both keys")
    return ok("secret", f"{name} has {' and '.join(sorted(KEYS))}")


def _words(rights: Iterable[Right]) -> str:
    return ", ".join(f"{right.verb} {right.resource}" for right in rights)


def _i_may(cluster: Cluster, namespace: str, right: Right) -> bool:
    from kubernetes import client

    spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=_attributes(namespace, right))
    review = client.V1SelfSubjectAccessReview(spec=spec)
    return bool(ask("rights", cluster.authorization.create_self_subject_access_review, review).status.allowed)


def _pods_may(cluster: Cluster, need: Need, right: Right) -> bool:
    from kubernetes import client

    # What a token of the account says of it.
    accounts = "system:serviceaccounts"
    spec = client.V1SubjectAccessReviewSpec(
        user=f"system:serviceaccount:{need.namespace}:{need.service_account}",
        groups=[accounts, f"{accounts}:{need.namespace}", "system:authenticated"],
        resource_attributes=_attributes(need.namespace, right),
    )
    # The local one: whoever rules one namespace may ask it.
    request = cluster.authorization.create_namespaced_local_subject_access_review
    review = client.V1LocalSubjectAccessReview(metadata={"namespace": need.namespace}, spec=spec)
    return bool(ask("pods' rights", request, need.namespace, review).status.allowed)


def _attributes(namespace: str, right: Right) -> Any:
    from kubernetes.client import V1ResourceAttributes

    kind, _, sub = right.resource.partition("/")
    return V1ResourceAttributes(
        namespace=namespace, group=right.group, resource=kind, subresource=sub or None, verb=right.verb
    )
