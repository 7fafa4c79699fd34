"""The manifests on a real API server: every field known, every pod admitted."""

from collections.abc import Callable
from functools import partial

import pytest

from cluster.namespace import Namespace, patch

pytestmark = pytest.mark.cluster


def test_a_second_apply_changes_nothing(namespace: Namespace) -> None:
    differences = namespace.kubectl("diff", "--server-side", "--kustomize", str(namespace.manifests("base")), ok=False)
    assert differences.returncode == 0, differences.stdout + differences.stderr


def test_a_pod_that_is_not_restricted_is_refused(image: str, namespace: Namespace) -> None:
    # An account that is there: the default one appears a moment after its namespace.
    account = '--overrides={"spec": {"serviceAccountName": "realfeatures"}}'
    refused = namespace.kubectl("run", "lax", f"--image={image}", account, "--dry-run=server", ok=False)
    assert refused.returncode != 0
    assert "restricted" in refused.stderr


@pytest.mark.parametrize("directory", ["base", "job", "overlays/kind", "overlays/gpu"])
def test_the_server_knows_every_field(directory: str, namespace: Namespace) -> None:
    namespace.apply(namespace.manifests(directory), "--dry-run=server")


def test_a_field_that_the_server_does_not_know_is_refused(namespace: Namespace) -> None:
    misspelt = patch("Job", "realfeatures-run", {"op": "add", "path": "/spec/backOffLimit", "value": 1})
    refused = namespace.apply(namespace.manifests("job", patches=[misspelt]), "--dry-run=server", ok=False)
    assert refused.returncode != 0
    assert "backOffLimit" in refused.stderr


@pytest.mark.parametrize(
    ("directory", "components"), [("overlays/kind", ("run", "object-store")), ("overlays/gpu", ("run",))]
)
def test_quota_and_pod_security_admit_the_pods_of_an_overlay(
    directory: str, components: tuple[str, ...], new_namespace: Callable[[], Namespace]
) -> None:
    namespace = new_namespace()
    namespace.apply(namespace.manifests(directory))
    # Whether they start is another question: here no image and no GPU is needed.
    for component in components:
        (pod,) = namespace.wait_for(partial(namespace.pods, component), seconds=60, what=f"a pod of {component}")
        projected = [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
        assert not projected, "a token of the API server is mounted"
    namespace.delete()
