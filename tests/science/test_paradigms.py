"""Pretraining as a whole: precision, moving averages, and what a label-free paradigm may not see."""

from dataclasses import replace

import pytest
import torch

from realfeatures.experiment.config import RuntimeConfig
from realfeatures.experiment.presets import load_preset
from realfeatures.science import paradigms
from realfeatures.science.context import Run
from realfeatures.science.data import augment
from realfeatures.science.data.images import ImageSet
from realfeatures.science.paradigms.contrastive import nt_xent_loss

BFLOAT16 = RuntimeConfig(device="cpu", precision="bfloat16")
LABEL_FREE = ("contrastive", "masked", "diffusion")


def pretrain(name: str, images: ImageSet, *assignments: str, runtime: RuntimeConfig | None = None):
    short = (f"{name}.optimizer.epochs=2", f"{name}.optimizer.batch_size=32")
    config = getattr(load_preset("digits", [*short, *assignments]), name)
    run = Run(seed=1) if runtime is None else Run(seed=1, runtime=runtime)
    run.start()
    return paradigms.pretrain(config, images, run)


@pytest.mark.parametrize("name", LABEL_FREE)
def test_a_self_supervised_encoder_does_not_depend_on_the_labels(name: str, digits_train: ImageSet) -> None:
    images = digits_train.first(96)
    other = replace(images, labels=images.labels.flip(0))
    first, second = (pretrain(name, chosen).encoder.state_dict() for chosen in (images, other))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["supervised", "adversarial", *LABEL_FREE])
def test_mixed_precision_trains_float32_weights_to_about_the_same_loss(name: str, digits_train: ImageSet) -> None:
    images = digits_train.first(96)
    exact, mixed = pretrain(name, images), pretrain(name, images, runtime=BFLOAT16)
    assert all(value.dtype != torch.bfloat16 for value in mixed.encoder.state_dict().values())
    assert mixed.history[-1]["loss"] == pytest.approx(exact.history[-1]["loss"], rel=0.1)
    assert mixed.history[-1]["loss"] != exact.history[-1]["loss"]


def test_only_networks_run_in_mixed_precision(digits_train: ImageSet, monkeypatch) -> None:
    """Autocast would take the resampling of a view, and the similarities of the loss, for parts of a network."""
    seen: list[bool] = []
    for module, name in ((augment, "_resized_crop"), (paradigms.contrastive, "nt_xent_loss")):
        original = getattr(module, name)

        def watched(*arguments, original=original):
            seen.append(torch.is_autocast_enabled("cpu"))
            return original(*arguments)

        monkeypatch.setattr(module, name, watched)
    pretrain("contrastive", digits_train.first(64), runtime=BFLOAT16)
    assert len(seen) == 12
    assert not any(seen)
    assert nt_xent_loss(torch.eye(2), torch.eye(2), 0.5).dtype == torch.float32


def test_a_diffusion_encoder_keeps_the_moving_average(digits_train: ImageSet) -> None:
    images = digits_train.first(64)
    raw = pretrain("diffusion", images).encoder.state_dict()
    still = pretrain("diffusion", images, "diffusion.ema_decay=0.999999").encoder.state_dict()
    last = pretrain("diffusion", images, "diffusion.ema_decay=0.0").encoder.state_dict()
    start = pretrain("diffusion", images, "diffusion.optimizer.learning_rate=1e-12").encoder.state_dict()
    assert all(torch.equal(last[key], raw[key]) for key in raw)
    assert all(torch.allclose(still[key], start[key], atol=1e-5) for key in raw)
    assert any(not torch.allclose(raw[key], start[key], atol=1e-4) for key in raw)
