"""The kind overlay's object store on a real cluster, with the credentials that `make kind-up` makes."""

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from manifest_checks import K8S, tool
from minio import Minio, S3Error

from cluster.namespace import JSON, Namespace, change, patch

pytestmark = pytest.mark.cluster

IMAGE = os.environ.get("REALFEATURES_CLUSTER_SEAWEEDFS_IMAGE")


def credentials(namespace: Namespace) -> tuple[str, str]:
    """Run kind's script for this cluster and namespace; return the two keys."""
    context = namespace.kubectl("config", "current-context").stdout.strip()
    environment = {**os.environ, "CONTEXT": context, "NAMESPACE": namespace.name}
    subprocess.run([K8S / "kind/credentials.sh"], env=environment, check=True, capture_output=True)
    asked = "go-template={{.data.accesskey | base64decode}} {{.data.secretkey | base64decode}}"
    accesskey, secretkey = namespace.kubectl("get", "secret", "realfeatures-store", f"--output={asked}").stdout.split()
    return accesskey, secretkey


def available(namespace: Namespace) -> bool:
    """Return whether the store answers its probe; skip the test where its image is not to be had."""
    for pod in namespace.pods("object-store"):
        for status in pod["status"].get("containerStatuses", ()):
            reason = status["state"].get("waiting", {}).get("reason", "")
            if reason in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"):
                pytest.skip(f"the nodes cannot get {status['image']}; set REALFEATURES_CLUSTER_SEAWEEDFS_IMAGE")
    return bool(namespace.get("deployment", "seaweedfs")["status"].get("availableReplicas"))


@contextmanager
def forwarded(namespace: Namespace) -> Iterator[str]:
    """Yield an address of this machine that leads to the store."""
    command = [tool("kubectl"), "--namespace", namespace.name, "port-forward", "deployment/seaweedfs", ":9000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout
            said = re.search(r"127.0.0.1:(\d+)", forwarding.stdout.readline())
            assert said, "kubectl port-forward names no port"
            with socket.create_connection(("127.0.0.1", int(said[1])), timeout=10):
                yield f"127.0.0.1:{said[1]}"
        finally:
            forwarding.kill()


def test_the_overlay_s_store_serves_its_bucket_to_its_identity_only(new_namespace: Callable[[], Namespace]) -> None:
    namespace = new_namespace()
    keys = credentials(namespace)
    assert credentials(namespace) == keys, "a second run made others"
    # No provisioner of volumes is needed for this test.
    volumes = "/spec/template/spec/volumes/0"
    changes: list[JSON] = [change(volumes, {"name": "data", "emptyDir": {}})]
    if IMAGE:
        changes.append(change("/spec/template/spec/containers/0/image", IMAGE))
    namespace.apply(namespace.manifests("overlays/kind", patches=[patch("Deployment", "seaweedfs", *changes)]))
    namespace.wait_for(lambda: available(namespace), seconds=180, what="the object store is available")
    with forwarded(namespace) as address:
        client = Minio(address, *keys, secure=False, region="us-east-1")
        assert [bucket.name for bucket in client.list_buckets()] == ["realfeatures"]
        client.fput_object("realfeatures", "cells/one", __file__)
        assert [item.object_name for item in client.list_objects("realfeatures", recursive=True)] == ["cells/one"]
        with pytest.raises(S3Error, match="AccessDenied"):
            client.make_bucket("another")
        stranger = Minio(address, keys[0], "wrong", secure=False, region="us-east-1")
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            list(stranger.list_objects("realfeatures"))
        anonymous = Minio(address, secure=False, region="us-east-1")
        with pytest.raises(S3Error, match="AccessDenied"):
            list(anonymous.list_objects("realfeatures"))
