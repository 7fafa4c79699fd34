"""A Kubernetes API server for the tests, as far as reading goes: it answers with the real client's own models."""

import json
import re
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

NAMESPACE = "realfeatures"


def meta(name: str, **rest: Any) -> client.V1ObjectMeta:
    return client.V1ObjectMeta(name=name, **rest)


def version(text: str) -> client.VersionInfo:
    unread = ("build_date", "compiler", "git_commit", "git_tree_state", "go_version", "major", "minor", "platform")
    return client.VersionInfo(git_version=text, **dict.fromkeys(unread, "unread"))


def node(
    name: str,
    *,
    gpus: int = 0,
    images: tuple[str, ...] = (),
    ready: bool = True,
    taint: str | None = None,
    cordoned: bool | None = None,
    labels: Mapping[str, str] | None = None,
) -> client.V1Node:
    allocatable = {"cpu": "4", "memory": "16Gi", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    taints = [client.V1Taint(key=taint, value="here", effect="NoSchedule")] if taint else None
    return client.V1Node(
        metadata=meta(name, labels=dict(labels or {})),
        spec=client.V1NodeSpec(taints=taints, unschedulable=cordoned),
        status=client.V1NodeStatus(
            allocatable=allocatable,
            conditions=[client.V1NodeCondition(type="Ready", status="True" if ready else "False")],
            images=[client.V1ContainerImage(names=[image]) for image in images],
        ),
    )


def quota(hard: Mapping[str, str], used: Mapping[str, str]) -> client.V1ResourceQuota:
    status = client.V1ResourceQuotaStatus(hard=dict(hard), used=dict(used))
    return client.V1ResourceQuota(metadata=meta("realfeatures"), status=status)


def limit_range(most: Mapping[str, str] = {}, least: Mapping[str, str] = {}) -> client.V1LimitRange:
    item = client.V1LimitRangeItem(type="Container", max=dict(most), min=dict(least))
    return client.V1LimitRange(metadata=meta("realfeatures"), spec=client.V1LimitRangeSpec(limits=[item]))


def secret(*keys: str) -> client.V1Secret:
    return client.V1Secret(metadata=meta("realfeatures-store"), data=dict.fromkeys(keys, "c2VjcmV0"))


class KubernetesServer:
    """Serves objects by path; `faults` gives paths another status, `denied` are the rights that nobody has."""

    def __init__(self) -> None:
        here = f"/api/v1/namespaces/{NAMESPACE}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.objects: dict[str, Any] = {
            "/version/": version("v1.36.1"),
            here: client.V1Namespace(metadata=meta(NAMESPACE, labels=labels)),
            f"{here}/serviceaccounts/realfeatures": client.V1ServiceAccount(metadata=meta("realfeatures")),
            f"{here}/secrets/realfeatures-store": secret("accesskey", "secretkey"),
            f"{here}/resourcequotas": client.V1ResourceQuotaList(items=[]),
            f"{here}/limitranges": client.V1LimitRangeList(items=[]),
            "/api/v1/nodes": client.V1NodeList(items=[node("worker")]),
        }
        self.faults: dict[str, int] = {}
        self.silence_seconds = 0.0
        """Before each answer."""
        self.denied: set[tuple[str, str]] = set()
        self.reviewed: list[str | None] = []
        """Whose rights were asked for; None: one's own."""
        self.page = False
        """A sign-in page in place of every answer."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def kubeconfig(self, folder: Path) -> Path:
        """Write a configuration whose token is a secret that must never be shown."""
        path = folder / "kubeconfig"
        url = f"http://127.0.0.1:{self._http.server_address[1]}"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {"token": "token-of-the-test"}}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def __enter__(self) -> "KubernetesServer":
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _review(self, path: str, body: dict[str, Any]) -> Any:
        """Answer a review as its kind does, after the real client's model has read it."""
        kind = {
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": "V1SelfSubjectAccessReview",
            f"/apis/authorization.k8s.io/v1/namespaces/{NAMESPACE}/localsubjectaccessreviews": (
                "V1LocalSubjectAccessReview"
            ),
        }[path]
        review = client.ApiClient()._ApiClient__deserialize(body, kind)
        asked = review.spec.resource_attributes
        assert asked.namespace == NAMESPACE
        self.reviewed.append(getattr(review.spec, "user", None))
        allowed = (asked.verb, asked.resource) not in self.denied
        review.status = client.V1SubjectAccessReviewStatus(allowed=allowed)
        return review

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = re.sub(r"\?.*", "", self.path)
                time.sleep(server.silence_seconds)
                status = server.faults.get(path) or (200 if path in server.objects else 404)
                self._answer(status, server.objects.get(path) if status == 200 else None)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = server.faults.get(self.path, 201)
                self._answer(status, server._review(self.path, body) if status == 201 else None)

            def _answer(self, status: int, content: Any) -> None:
                told = content if content is not None else client.V1Status(code=status, status="Failure")
                text = json.dumps(client.ApiClient().sanitize_for_serialization(told)).encode()
                if server.page:
                    status, text = 200, b"<html><body>Sign in</body></html>"
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if server.page else "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
