"""The same stages on a CUDA device, beside the CPU."""

import pytest
import torch

from realfeatures.experiment.config import RuntimeConfig
from realfeatures.experiment.presets import load_preset
from realfeatures.science import paradigms
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet
from realfeatures.science.evaluation import evaluate
from realfeatures.science.paradigms.base import WithHead, frozen
from realfeatures.science.probe import fit

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

SHORT = ("optimizer.epochs=3", "optimizer.batch_size=64")


def pretrain(name: str, images: ImageSet, runtime: RuntimeConfig):
    config = getattr(load_preset("digits", [f"{name}.{setting}" for setting in SHORT]), name)
    run = Run(seed=1, runtime=runtime)
    run.start()
    return paradigms.pretrain(config, images, run), run


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["supervised", "adversarial", "contrastive", "masked", "diffusion"])
def test_a_paradigm_reaches_about_the_loss_that_it_reaches_on_a_cpu(name, precision, digits_train) -> None:
    """Not the same loss: the devices' generators draw other batches and augmentations."""
    images = digits_train.first(512)
    on_gpu, _ = pretrain(name, images, RuntimeConfig(device="cuda", precision=precision))
    on_cpu, _ = pretrain(name, images, RuntimeConfig(device="cpu"))
    assert on_gpu.history[-1]["loss"] == pytest.approx(on_cpu.history[-1]["loss"], rel=0.25)


def test_a_probed_encoder_is_attacked_on_the_gpu(digits_train, digits_test) -> None:
    trained, run = pretrain("supervised", digits_train, RuntimeConfig(device="cuda"))
    preset = load_preset("digits", ["attack.images=32", "attack.autoattack_images=8", "probe.epochs=5"])
    probe = fit(preset.probe, trained.encoder, digits_train, run)
    measured = evaluate(preset.attack, frozen(WithHead(trained.encoder, probe.linear)), digits_test, run).measurements
    clean, *robust = (one["correct"] / one["n"] for one in measured)
    assert clean > 0.5
    assert all(share <= clean + 0.2 for share in robust)
