"""E5: attack a contrastive encoder's own loss and watch its probe's cross-entropy, and the other way round.

Reference protocol: L_inf 8/255, step 1/255, 100 steps, 3 samples of the augmentation a step
(github.com/PKU-ML/AdvNotRealFeatures, "ref").
"""

import math
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realfeatures.errors import ConfigError
from realfeatures.experiment.config import LossCurvesConfig
from realfeatures.science.artifacts import OutputDir, write_json
from realfeatures.science.attacks.pgd import Ball, Objective, iterates, untargeted
from realfeatures.science.context import Run
from realfeatures.science.data.augment import simclr_view_of_float
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.paradigms.contrastive import nt_xent_loss
from realfeatures.science.probe import ProbedEncoder

Loss = Literal["info_nce", "cross_entropy"]

LOSSES: tuple[Loss, ...] = get_args(Loss)
"""What can be attacked; both are watched."""


@dataclass(frozen=True)
class LossCurves:
    """What became of both losses while one of them was attacked.

    Attributes:
        rows: one for each attacked loss: its name (`attacked`), norm, epsilon and step size, `n` images, and by `step`,
            from the clean images on: info_nce, cross_entropy (without augmentation) and accuracy in [0, 1], means over
            the images.
    """

    rows: list[dict[str, Any]]

    def save(self, folder: OutputDir) -> None:
        """Write the rows as `loss_curves.json`.

        Raises:
            StorageError: the file cannot be written.
        """
        write_json(folder / "loss_curves.json", self.rows)


def measure(
    config: LossCurvesConfig, model: ProbedEncoder, projection_head: nn.Module | None, images: ImageSet, run: Run
) -> LossCurves:
    """Ascend each loss by PGD and note both losses and the accuracy after every step.

    The attack draws new views of the adversarial images at each step. The curve of InfoNCE is measured on views that
    are the same at each step, so that it moves by the images alone.

    Args:
        config: the attack, how many of the first images, the views and their loss. At most `batch_size` images are
            attacked together, in batches of about the same size, since each image's negatives are the rest of its
            batch.
        model: frozen, in eval mode: images (N, C, H, W) float32 in [0, 1] -> logits (N, K).
        projection_head: frozen: the encoder's representations (N, D) -> (N, P); None: InfoNCE compares the
            representations themselves.
        images: the attack starts at them.
        run: seed and device.

    Raises:
        ConfigError: fewer than two images, of which none has a negative.
    """
    images = images.first(config.images).to(run.device)
    if len(images) < 2:
        raise ConfigError(f"loss curves: {len(images)} image, expected at least 2; use more test images")
    attack = {"norm": config.norm.value, "epsilon": config.epsilon, "step_size": config.step_size}
    steps = list(range(config.steps + 1))
    contrastive = _Contrastive(config, model.encoder, projection_head or nn.Identity())
    rows = []
    for attacked in LOSSES:
        generator = run.generator("views")  # the same for both: their curves start at one point
        curves = _curves(attacked, contrastive, model, images, generator)
        rows.append({"attacked": attacked, **attack, "n": len(images), "step": steps, **curves})
    return LossCurves(rows)


@dataclass(frozen=True)
class _Contrastive:
    """The InfoNCE loss of images: NT-Xent of `samples` pairs of views."""

    config: LossCurvesConfig
    encoder: nn.Module
    projection_head: nn.Module

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean over pairs and anchors, a scalar; differentiable with respect to the images."""
        return torch.stack([self._pair_loss(images, generator) for _ in range(self.config.samples)]).mean()

    def _pair_loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        views = [simclr_view_of_float(images, self.config.augmentation, generator) for _ in range(2)]
        first, second = self.projection_head(self.encoder(torch.cat(views))).chunk(2)
        return nt_xent_loss(first, second, self.config.temperature)


def _curves(
    attacked: Loss, contrastive: _Contrastive, model: ProbedEncoder, images: ImageSet, generator: torch.Generator
) -> dict[str, list[float]]:
    """Return the means over all images of each loss and of accuracy, (steps + 1) values each."""
    parts = math.ceil(len(images) / contrastive.config.batch_size)
    batches = zip(images.images.tensor_split(parts), images.labels.tensor_split(parts), strict=True)
    curves = torch.stack(
        [
            len(batch) * _curve(attacked, contrastive, model, to_float(batch), labels, generator)
            for batch, labels in batches
        ]
    )  # (batches, steps + 1, 3)
    means = curves.sum(dim=0) / len(images)
    return dict(zip((*LOSSES, "accuracy"), means.T.tolist(), strict=True))


def _curve(
    attacked: Loss,
    contrastive: _Contrastive,
    model: ProbedEncoder,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Return InfoNCE, cross-entropy and accuracy of a batch at the clean images and after each step, (steps + 1, 3)."""
    fixed = torch.Generator(images.device)
    seed = int(torch.randint(2**62, (), generator=generator, device=images.device))

    @torch.no_grad()
    def watch(x: Tensor) -> Tensor:
        logits = model(x)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        views = fixed.manual_seed(seed)
        return torch.stack([contrastive.loss(x, views), F.cross_entropy(logits, labels), accuracy])

    objectives: dict[Loss, Objective] = {
        "info_nce": lambda x: contrastive.loss(x, generator),
        "cross_entropy": untargeted(model, labels),
    }
    config = contrastive.config
    steps = iterates(
        objectives[attacked],
        images,
        centre=images,
        ball=Ball(config.norm, config.epsilon),
        step_sizes=repeat(config.step_size, config.steps),
    )
    return torch.stack([watch(images), *(watch(reached) for reached in steps)]).cpu()
