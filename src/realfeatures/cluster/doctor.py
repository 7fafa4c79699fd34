"""What of cluster, store and rights is not as a run of a preset needs it; each check stands for itself.

Looks only, but for the object store, where one small object is written, read and deleted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from realfeatures.cluster.findings import Check, Finding, ok, problem, unknown
from realfeatures.cluster.kubeflow_api import ENDPOINT_VARIABLE, Connection, Kubeflow, is_named
from realfeatures.cluster.kubernetes_api import MissingError, ask
from realfeatures.cluster.quantities import number

KEYS = {"accesskey", "secretkey"}
"""Of the store's secret; the names that Kubeflow's own has."""

LEAST_KUBEFLOW = (2, 15)
"""The release from which Kubeflow's pods run without root and with SeaweedFS; the locked kfp speaks 2.17."""

NEEDED_RIGHTS = (("batch", "jobs", "create"), ("", "pods", "list"), ("", "pods/log", "get"))
"""What starting a run by hand and looking after it takes: API group, resource, verb."""

POD_SECURITY = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True)
class Need:
    """What a run asks of a cluster."""

    namespace: str
    service_account: str
    secret: str
    image: str | None
    pull_policy: str
    accelerator: str | None
    cpu: str
    memory: str


def kubernetes_checks(client: Callable[[], Any], need: Need) -> dict[str, Check]:
    """Return the checks that ask the Kubernetes API, by name."""
    patient = _Patient(client, need)
    return {
        "kubernetes": patient.version,
        "namespace": patient.namespace,
        "service account": patient.service_account,
        "rights": patient.rights,
        "secret": patient.secret,
        "nodes": patient.nodes,
        "image": patient.image,
        "quota": patient.quota,
        "limits": patient.limits,
    }


def check_kubeflow(connection: Connection) -> Finding:
    """Return whether Kubeflow Pipelines answers, and in which version."""
    if not is_named(connection):
        return unknown("kubeflow", "none is named; the plain Job needs none", f"use --host, or set {ENDPOINT_VARIABLE}")
    found = Kubeflow(connection).version()
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if len(numbers) < 2:
        return unknown("kubeflow", f"answers, and calls its version {found!r}")
    if numbers < LEAST_KUBEFLOW:
        least = ".".join(map(str, LEAST_KUBEFLOW))
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


class _Patient:
    """A cluster, asked only for what a check needs."""

    def __init__(self, client: Callable[[], Any], need: Need) -> None:
        self._connect, self.need = client, need
        self._client: Any = None

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = self._connect()
        return self._client

    @property
    def core(self) -> Any:
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self.client)

    def version(self) -> Finding:
        from kubernetes.client import VersionApi

        found = ask("kubernetes", VersionApi(self.client).get_code)
        return ok("kubernetes", f"{found.git_version} at {self.client.configuration.host}")

    def namespace(self) -> Finding:
        name = self.need.namespace
        try:
            found = ask(f"namespace {name}", self.core.read_namespace, name)
        except MissingError:
            return problem("namespace", f"there is no namespace {name}", "kubectl apply -k k8s/base")
        level = (found.metadata.labels or {}).get(POD_SECURITY, "no level")
        return ok("namespace", f"{name}, Pod Security enforces {level}")

    def service_account(self) -> Finding:
        name, namespace = self.need.service_account, self.need.namespace
        try:
            ask(f"service account {name}", self.core.read_namespaced_service_account, name, namespace)
        except MissingError:
            return problem(
                "service account", f"{namespace} has no {name}", "kubectl apply -k k8s/base, or --service-account"
            )
        return ok("service account", name)

    def rights(self) -> Finding:
        missing = [
            f"{verb} {resource}" for group, resource, verb in NEEDED_RIGHTS if not self._may(group, resource, verb)
        ]
        if missing:
            return problem(
                "rights",
                f"these credentials may not {', '.join(missing)} in {self.need.namespace}",
                "add yourself to the role binding realfeatures-operator",
            )
        return ok("rights", f"these credentials may start and follow runs in {self.need.namespace}")

    def _may(self, group: str, resource: str, verb: str) -> bool:
        from kubernetes import client

        kind, _, sub = resource.partition("/")
        attributes = client.V1ResourceAttributes(
            namespace=self.need.namespace, group=group, resource=kind, subresource=sub or None, verb=verb
        )
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        api = client.AuthorizationV1Api(self.client)
        return bool(ask("rights", api.create_self_subject_access_review, review).status.allowed)

    def secret(self) -> Finding:
        name, namespace = self.need.secret, self.need.namespace
        try:
            found = ask(f"secret {name}", self.core.read_namespaced_secret, name, namespace)
        except MissingError:
            create = f"kubectl -n {namespace} create secret generic {name}"
            remedy = f"{create} --from-file=accesskey=FILE --from-file=secretkey=FILE"
            return problem("secret", f"{namespace} has no secret {name}", remedy)
        # Only the names of its keys are looked at.
        missing = sorted(KEYS - {key for key, value in (found.data or {}).items() if value})
        if missing:
            return problem("secret", f"{name} lacks {' and '.join(missing)}", "create it again with both keys")
        return ok("secret", f"{name} has {' and '.join(sorted(KEYS))}")

    def nodes(self) -> Finding:
        ready = [node for node in ask("nodes", self.core.list_node).items if _is_ready(node)]
        wanted = self.need.accelerator
        if wanted is None:
            cores = sum(number(node.status.allocatable["cpu"]) for node in ready)
            if not ready:
                return problem("nodes", "none is ready", "kubectl get nodes")
            return ok("nodes", f"{len(ready)} ready, {cores:g} cores; the profile asks for no accelerator")
        counts = {node.metadata.name: int(number(node.status.allocatable.get(wanted, 0))) for node in ready}
        having = {name: count for name, count in counts.items() if count}
        if not having:
            return problem("nodes", f"no node has {wanted}", "install the device plugin, or use --profile cpu")
        return ok("nodes", f"{sum(having.values())} {wanted} on {', '.join(sorted(having))}")

    def image(self) -> Finding:
        name = self.need.image
        if name is None:
            return unknown("image", "none was named", "name it by --image")
        having = [node.metadata.name for node in ask("image", self.core.list_node).items if _has_image(node, name)]
        if having:
            return ok("image", f"{name} is on {', '.join(sorted(having))}")
        if self.need.pull_policy == "Never":
            return problem(
                "image", f"no node has {name}, and it is never pulled", "import it into the nodes' containerd"
            )
        return unknown("image", f"no node has {name} yet; whether it can be pulled shows with the first pod")

    def quota(self) -> Finding:
        found = ask("quota", self.core.list_namespaced_resource_quota, self.need.namespace).items
        demands = self._demands()
        for quota in found:
            for name, limit in (quota.status.hard or {}).items():
                left = number(limit) - number((quota.status.used or {}).get(name, 0))
                if name in demands and demands[name] > left:
                    return problem(
                        "quota",
                        f"{quota.metadata.name} leaves {left:g} of {name}, and one pod needs {demands[name]:g}",
                        "wait for other runs, raise the quota, or use smaller --profile-set cpu= and memory=",
                    )
        names = ", ".join(quota.metadata.name for quota in found)
        return ok("quota", f"{names} leaves room for a pod" if found else "none is set")

    def _demands(self) -> Mapping[str, Any]:
        demands = {
            "requests.cpu": number(self.need.cpu),
            "limits.cpu": number(self.need.cpu),
            "requests.memory": number(self.need.memory),
            "limits.memory": number(self.need.memory),
            "pods": number("1"),
        }
        if self.need.accelerator:
            demands[f"requests.{self.need.accelerator}"] = number("1")
        return demands

    def limits(self) -> Finding:
        found = ask("limits", self.core.list_namespaced_limit_range, self.need.namespace).items
        wanted = {"cpu": number(self.need.cpu), "memory": number(self.need.memory)}
        for limits in found:
            for one in limits.spec.limits:
                for name, most in (one.max or {}).items():
                    if one.type in ("Container", "Pod") and name in wanted and wanted[name] > number(most):
                        return problem(
                            "limits",
                            f"{limits.metadata.name} allows a {one.type.lower()} {most} of {name}",
                            f"use --profile-set {name}={most}, or raise the limit",
                        )
        return ok("limits", f"{', '.join(one.metadata.name for one in found) or 'none is set'}")


def _is_ready(node: Any) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions or ())


def _has_image(node: Any, image: str) -> bool:
    """Return whether a node lists an image, with or without the registry that containerd puts before a short name."""
    names = {name for one in node.status.images or () for name in one.names or ()}
    return any(name == image or name.removeprefix("docker.io/library/") == image for name in names)
