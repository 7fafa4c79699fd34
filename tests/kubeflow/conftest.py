"""What the tests of Kubeflow share: its API server, a client of it, a small pipeline."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kfp_server import KfpServer
from kubernetes_server import KubernetesServer
from small_pipeline import compile_small

from realfeatures.kubeflow.server.connection import Connection
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer() as running:
        yield running


@pytest.fixture
def kubeflow(server: KfpServer) -> Kubeflow:
    return Kubeflow(Connection(server.host), pause_seconds=0.01, request_seconds=2.0)


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Iterator[KubernetesServer]:
    with KubernetesServer() as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig(tmp_path)))
        yield running


@pytest.fixture(scope="session")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_small(tmp_path_factory.mktemp("paper") / "paper.yaml")
