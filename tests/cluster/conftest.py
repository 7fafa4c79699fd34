"""Fixtures of the tests on a real cluster, whichever KUBECONFIG names; the settings are in the environment:

KUBECONFIG                            the cluster; without it these tests are skipped
REALFEATURES_CLUSTER_IMAGE            the image as the nodes name it; default: what `make image-name` prints
REALFEATURES_CLUSTER_PULL_POLICY      default IfNotPresent; Never where images were imported
REALFEATURES_CLUSTER_STORE            s3://BUCKET[/PREFIX]; default: SeaweedFS, started on this machine
REALFEATURES_CLUSTER_STORE_ENDPOINT   its URL as pods reach it
AWS_ENDPOINT_URL                      its URL as this machine reaches it; default: the pods' URL
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION
REALFEATURES_CLUSTER_HOST             an address of this machine that pods reach; default: the one on the way to a node
REALFEATURES_CLUSTER_SEAWEEDFS_IMAGE  the kind overlay's object store as the nodes name it; default: what it pins
"""

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator

import pytest
from manifest_checks import ROOT

from cluster.namespace import Namespace, require_cluster
from cluster.object_store import Store, given_store, own_store


@pytest.fixture(scope="session", autouse=True)
def _cluster() -> None:
    require_cluster()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    given = given_store()
    if given is None:
        with own_store(tmp_path_factory.mktemp("store")) as own:
            yield own
        return
    ours = given.below(f"test-{secrets.token_hex(4)}")
    yield ours
    ours.remove()


@pytest.fixture(scope="session")
def new_namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Namespace]]:
    made: list[Namespace] = []

    def make() -> Namespace:
        name = f"realfeatures-test-{secrets.token_hex(4)}"
        made.append(Namespace(name, tmp_path_factory.mktemp(name)))
        made[-1].apply(made[-1].manifests("base"))
        return made[-1]

    yield make
    for one in made:
        one.delete()


@pytest.fixture(scope="session")
def namespace(new_namespace: Callable[[], Namespace]) -> Namespace:
    return new_namespace()


@pytest.fixture(scope="session")
def image() -> str:
    """Return the image that runs: a setting, or what `make image` makes of this checkout."""
    named = os.environ.get("REALFEATURES_CLUSTER_IMAGE")
    if named:
        return named
    made = subprocess.run(["make", "--no-print-directory", "image-name"], cwd=ROOT, capture_output=True, text=True)
    return made.stdout.strip()
