"""Fixtures that many tests share: scikit-learn's digits as image sets, small encoders trained once, an S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from seaweedfs import BUCKET, QUICK, STORE, SeaweedFS
from started_run import started_run

from realfeatures.experiment.config import DataConfig
from realfeatures.experiment.presets import load_preset
from realfeatures.science import paradigms
from realfeatures.science.data.images import ImageSet
from realfeatures.science.data.sources import load_source
from realfeatures.science.paradigms.base import Pretrained
from realfeatures.store import ObjectStore


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits_train() -> ImageSet:
    return load_source(DataConfig(source="digits"))["train"]


@pytest.fixture(scope="session")
def digits_test() -> ImageSet:
    return load_source(DataConfig(source="digits"))["test"]


@pytest.fixture(scope="session")
def standard(digits_train: ImageSet) -> Pretrained:
    config = load_preset("digits", ["supervised.optimizer.epochs=10"]).supervised
    return paradigms.pretrain(config, digits_train, started_run())


@pytest.fixture(scope="session")
def adversarial(digits_train: ImageSet) -> Pretrained:
    config = load_preset("digits", ["adversarial.optimizer.epochs=15", "adversarial.attack.steps=3"]).adversarial
    return paradigms.pretrain(config, digits_train, started_run())


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    running = SeaweedFS(tmp_path_factory.mktemp("seaweedfs")).start()
    yield running
    running.stop()


@pytest.fixture
def s3_environment(s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variables that lead to the server, and a data cache of the test's own."""
    for name, value in {**s3_server.environment(), "REALFEATURES_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(s3_server: SeaweedFS, s3_environment: None) -> ObjectStore:  # noqa: ARG001 - sets the variables
    """An empty store that gives up soon."""
    for found in s3_server.admin().list_objects(BUCKET, recursive=True):
        s3_server.admin().remove_object(BUCKET, found.object_name)
    return ObjectStore.from_location(STORE, patience=QUICK)
