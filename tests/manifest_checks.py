"""What tests ask of Kubernetes manifests: rendering, Pod Security "restricted", references that meet something."""

import functools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
K8S = ROOT / "k8s"

Document = dict[str, Any]

OUTSIDE = {"realfeatures-store", "seaweedfs-identities"}
"""Secrets that no manifest holds: a person or `make kind-up` creates them."""
RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")
}
"""https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""


def tool(name: str) -> str:
    """Return a program of the environment or of PATH; the test is skipped where there is none."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


@functools.cache
def rendered_text(directory: Path) -> str:
    """Return what kustomize makes of a directory."""
    built = subprocess.run([tool("kubectl"), "kustomize", directory], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return built.stdout


def rendered(directory: Path) -> list[Document]:
    return list(yaml.safe_load_all(rendered_text(directory)))


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def named(documents: list[Document], kind: str, name: str) -> Document:
    (found,) = (document for document in of_kind(documents, kind) if document["metadata"]["name"] == name)
    return found


def pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Yield the name and the pod of everything that makes pods; a pod has metadata and spec."""
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "Pod":
            yield name, document
        elif document["kind"] == "CronJob":
            yield name, document["spec"]["jobTemplate"]["spec"]["template"]
        elif "template" in document.get("spec", {}):
            yield name, document["spec"]["template"]


def containers(pod: Document) -> list[Document]:
    spec = pod["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"], *spec.get("ephemeralContainers", ())]


def insecurities(documents: list[Document]) -> list[str]:
    """Return where a pod breaks Pod Security "restricted", or our own rules beyond it, one line each."""
    found = []
    for name, pod in pods(documents):
        found += [f"{name}: {line}" for line in _pod_insecurities(pod["spec"])]
        for container in containers(pod):
            found += [f"{name}/{container['name']}: {line}" for line in _container_insecurities(pod["spec"], container)]
    return found


def _pod_insecurities(spec: Document) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield key
    for volume in spec.get("volumes", ()):
        for kind in set(volume) - {"name"} - RESTRICTED_VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    # Ours: no pod has a token of the API server.
    if spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"


def _container_insecurities(spec: Document, container: Document) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = {**spec.get("securityContext", {}), **own}
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield "privileged"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "may run as root"
    if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()) or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "keeps capabilities"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "a port of the host"
    # Ours: nothing can be changed but what is on a volume.
    if own.get("readOnlyRootFilesystem") is not True:
        yield "its root file system can be written"


def dangling(documents: list[Document]) -> list[str]:
    """Return the references that meet nothing in the same documents, one line each."""
    found = []
    for name, pod in pods(documents):
        found += [f"{name}: {line}" for line in (*_dangling_references(pod, documents), *_dangling_mounts(pod))]
    checks = {
        "Service": _dangling_service,
        "NetworkPolicy": _dangling_policy,
        "Deployment": _dangling_deployment,
        "RoleBinding": _dangling_binding,
        "ClusterRoleBinding": _dangling_binding,
    }
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        check = checks.get(document["kind"], _nothing)
        found += [f"{name}: {line}" for line in check(document, documents)]
    return found


def _nothing(_document: Document, _documents: list[Document]) -> Iterator[str]:
    return iter(())


def _dangling_references(pod: Document, documents: list[Document]) -> Iterator[str]:
    for kind, name in _references(pod):
        if not _exists(documents, kind, name):
            yield f"no {kind} {name}"


def _references(pod: Document) -> Iterator[tuple[str, str]]:
    spec = pod["spec"]
    yield "ServiceAccount", spec.get("serviceAccountName", "default")
    for volume in spec.get("volumes", ()):
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
    for container in containers(pod):
        for source in (
            *container.get("envFrom", ()),
            *(item.get("valueFrom", {}) for item in container.get("env", ())),
        ):
            for key, reference in source.items():
                if key.startswith(("secret", "configMap")):
                    yield ("Secret" if key.startswith("secret") else "ConfigMap"), reference["name"]


def _exists(documents: list[Document], kind: str, name: str) -> bool:
    if kind == "Secret":
        return name in OUTSIDE
    return any(document["metadata"]["name"] == name for document in of_kind(documents, kind))


def _dangling_mounts(pod: Document) -> Iterator[str]:
    volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
    mounts = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", ())}
    yield from (f"no volume {name}" for name in mounts - volumes)
    yield from (f"volume {name} is mounted nowhere" for name in volumes - mounts)


def _dangling_service(service: Document, documents: list[Document]) -> Iterator[str]:
    chosen = selected(documents, {"matchLabels": service["spec"]["selector"]})
    if not chosen:
        yield f"selects no pod: {service['spec']['selector']}"
    offered = {port.get("name") for pod in chosen for one in containers(pod) for port in one.get("ports", ())}
    for port in service["spec"]["ports"]:
        if port["targetPort"] not in offered:
            yield f"no container port {port['targetPort']}"


def _dangling_policy(policy: Document, documents: list[Document]) -> Iterator[str]:
    spec = policy["spec"]
    peers = [peer for rule in spec.get("egress", ()) for peer in rule["to"]]
    peers += [peer for rule in spec.get("ingress", ()) for peer in rule["from"]]
    # A peer with a namespaceSelector stands in another namespace.
    local = [peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer]
    for selector in (spec["podSelector"], *local):
        if not selected(documents, selector):
            yield f"selects no pod: {selector}"


def _dangling_deployment(deployment: Document, _documents: list[Document]) -> Iterator[str]:
    spec = deployment["spec"]
    if not matches(spec["selector"], spec["template"]["metadata"]["labels"]):
        yield "does not select its own pods"


def _dangling_binding(binding: Document, documents: list[Document]) -> Iterator[str]:
    for one in (binding["roleRef"], *binding["subjects"]):
        if not _exists(documents, one["kind"], one["name"]):
            yield f"no {one['kind']} {one['name']}"


def selected(documents: list[Document], selector: Document) -> list[Document]:
    return [pod for _, pod in pods(documents) if matches(selector, pod["metadata"]["labels"])]


def matches(selector: Document, labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, f"matchExpressions are not understood here: {selector}"
    return selector.get("matchLabels", {}).items() <= labels.items()
