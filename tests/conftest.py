"""Fixtures that many tests share: scikit-learn's digits as image sets, and small encoders trained once."""

import pytest
import torch

from realfeatures import paradigms
from realfeatures.config import DataConfig
from realfeatures.data.images import ImageSet
from realfeatures.data.sources import load_source
from realfeatures.paradigms.base import Pretrained
from realfeatures.presets import load_preset
from realfeatures.run import Run


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits_train() -> ImageSet:
    return load_source(DataConfig(source="digits")).train


@pytest.fixture(scope="session")
def digits_test() -> ImageSet:
    return load_source(DataConfig(source="digits")).test


def started_run(seed: int = 0) -> Run:
    run = Run(seed=seed)
    run.start()
    return run


@pytest.fixture(scope="session")
def standard(digits_train: ImageSet) -> Pretrained:
    config = load_preset("digits", ["supervised.optimizer.epochs=10"]).supervised
    return paradigms.pretrain(config, digits_train, started_run())


@pytest.fixture(scope="session")
def adversarial(digits_train: ImageSet) -> Pretrained:
    config = load_preset("digits", ["adversarial.optimizer.epochs=15", "adversarial.attack.steps=3"]).adversarial
    return paradigms.pretrain(config, digits_train, started_run())
