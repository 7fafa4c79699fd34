"""kubectl in one namespace of a cluster, and the manifests as they are applied there."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifest_checks import K8S, tool

JSON = dict[str, Any]


def require_cluster() -> None:
    """Skip the test where KUBECONFIG names no cluster that answers."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: no cluster to test on; see docs/kubernetes.md")
    asked = subprocess.run(
        [tool("kubectl"), "version", "--output=json", "--request-timeout=10s"], capture_output=True, text=True
    )
    if asked.returncode:
        pytest.skip(f"the cluster of KUBECONFIG does not answer: {asked.stderr.strip().splitlines()[-1]}")


@dataclass(frozen=True)
class Namespace:
    """kubectl in one namespace, and the manifests as they are for it."""

    name: str
    folder: Path

    def kubectl(self, *arguments: str, stdin: str | None = None, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl; unless ok is False, it has to succeed."""
        command = [tool("kubectl"), "--namespace", self.name, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 or not ok, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done

    def get(self, *arguments: str) -> JSON:
        return json.loads(self.kubectl("get", *arguments, "--output=json").stdout)

    def names(self, *arguments: str) -> set[str]:
        return {item["metadata"]["name"] for item in self.get(*arguments)["items"]}

    def manifests(self, directory: str, *, patches: Sequence[JSON] = (), image: str | None = None) -> Path:
        """Write an overlay of a directory of k8s/ for this namespace and return its folder."""
        own = self.folder / f"own-{len(list(self.folder.glob('own-*')))}"
        shutil.copytree(K8S, self.folder / "k8s", dirs_exist_ok=True)
        # Of the cluster, not of the namespace: a name that disturbs no installation.
        renames = [
            {"target": {"kind": kind}, "patch": json.dumps([change("/metadata/name", f"{self.name}-node-reader")])}
            for kind in ("ClusterRole", "ClusterRoleBinding")
        ]
        content: JSON = {"namespace": self.name, "resources": [f"../k8s/{directory}"], "patches": [*renames, *patches]}
        if image:
            name, _, tag = image.rpartition(":")
            content["images"] = [{"name": "realfeatures", "newName": name, "newTag": tag}]
        own.mkdir()
        (own / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return own

    def apply(self, folder: Path, *more: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Apply strictly: on the server, no unknown field, no warning (Pod Security's among them)."""
        strict = ("--server-side", "--validate=strict", "--warnings-as-errors")
        return self.kubectl("apply", *strict, "--kustomize", str(folder), *more, ok=ok)

    def delete(self) -> None:
        self.kubectl("delete", "--ignore-not-found", "--wait=false", "namespace", self.name)
        for kind in ("clusterrolebinding", "clusterrole"):
            self.kubectl("delete", "--ignore-not-found", kind, f"{self.name}-node-reader")

    def nodes(self) -> list[str]:
        """Return the addresses of the cluster's nodes."""
        addresses = [one for node in self.get("nodes")["items"] for one in node["status"]["addresses"]]
        return [one["address"] for one in addresses if one["type"] == "InternalIP"]

    def pods(self, component: str = "run") -> list[JSON]:
        return list(self.get("pods", f"--selector=app.kubernetes.io/component={component}")["items"])

    def wait_for(self, condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
        """Return what `condition` gives once that is true; what the namespace looks like is in the failure's text."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {seconds:.0f} seconds\n{self.state()}")
            time.sleep(1)
        return found

    def state(self) -> str:
        described = self.kubectl("describe", "pods,jobs", ok=False).stdout
        logs = self.kubectl("logs", "--selector=app.kubernetes.io/component=run", "--tail=30", ok=False).stdout
        return f"{described}\n{logs}"


def change(path: str, value: Any) -> JSON:
    return {"op": "replace", "path": path, "value": value}


def patch(kind: str, name: str, *operations: JSON) -> JSON:
    return {"target": {"kind": kind, "name": name}, "patch": json.dumps(operations)}
