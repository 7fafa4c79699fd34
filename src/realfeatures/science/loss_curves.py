"""E5: attack a contrastive encoder's own loss and watch its probe's cross-entropy, and the other way round.

Reference protocol: L_inf 8/255, step 1/255, 100 steps, 3 samples of the augmentation a step
(github.com/PKU-ML/AdvNotRealFeatures, "ref").
"""

import math
from dataclasses import dataclass
from itertools import repeat
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realfeatures.errors import ConfigError
from realfeatures.experiment.config import PGDConfig, SimCLRAugmentationConfig
from realfeatures.science.attacks.pgd import (
    Ball,
    Objective,
    iterates,
    untargeted,
)
from realfeatures.science.data.augment import simclr_view_of_float
from realfeatures.science.data.images import to_float
from realfeatures.science.paradigms.contrastive import nt_xent_loss

Loss = Literal["info_nce", "cross_entropy"]

LOSSES: tuple[Loss, ...] = get_args(Loss)
"""What can be attacked; both are watched."""


def loss_curves(
    encoder: nn.Module,
    projection_head: nn.Module | None,
    linear: nn.Linear,
    images: Tensor,
    labels: Tensor,
    *,
    attacked: Loss,
    threat: PGDConfig,
    samples: int,
    augmentation: SimCLRAugmentationConfig,
    temperature: float,
    generator: torch.Generator,
    batch_size: int,
) -> dict[str, list[float]]:
    """Ascend one loss by PGD and return both losses and the accuracy after every step.

    The attack draws new views of the adversarial images at each step. The curve of InfoNCE is measured on views that
    are the same at each step, so that it moves by the images alone.

    Args:
        encoder: frozen, in eval mode: images (N, C, H, W) float32 in [0, 1] -> (N, D).
        projection_head: frozen: (N, D) -> (N, P); None: InfoNCE compares the representations themselves.
        linear: frozen: (N, D) -> logits (N, K).
        images: (N, C, H, W) uint8; the attack starts at them.
        labels: (N,) int64.
        attacked: the loss that is ascended.
        threat: norm, epsilon, step size and number of steps.
        samples: pairs of views whose NT-Xent losses are averaged.
        augmentation: of the views.
        temperature: of the NT-Xent loss.
        generator: on the device of the images; draws the views.
        batch_size: at most so many images are attacked together, in batches of about the same size, since each
            image's negatives are the rest of its batch.

    Returns:
        info_nce, cross_entropy (without augmentation) and accuracy in [0, 1]: means over the images, one at the
        clean images and one after each step.

    Raises:
        ConfigError: fewer than two images a batch, of which none would have a negative.
    """
    if min(len(images), batch_size) < 2:
        raise ConfigError(f"loss curves: {len(images)} images in batches of {batch_size}, expected at least 2 of each")
    contrastive = _Contrastive(encoder, projection_head or nn.Identity(), samples, augmentation, temperature)
    parts = math.ceil(len(images) / batch_size)
    curves = torch.stack(
        [
            len(batch) * _curve(contrastive, linear, to_float(batch), answers, attacked, threat, generator)
            for batch, answers in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)
        ]
    )  # (batches, steps + 1, 3)
    means = curves.sum(dim=0) / len(images)
    return dict(zip((*LOSSES, "accuracy"), means.T.tolist(), strict=True))


@dataclass(frozen=True)
class _Contrastive:
    """The InfoNCE loss of images: NT-Xent of `samples` pairs of views."""

    encoder: nn.Module
    projection_head: nn.Module
    samples: int
    augmentation: SimCLRAugmentationConfig
    temperature: float

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean over pairs and anchors, a scalar; differentiable with respect to the images."""
        return torch.stack([self._one(images, generator) for _ in range(self.samples)]).mean()

    def _one(self, images: Tensor, generator: torch.Generator) -> Tensor:
        views = [simclr_view_of_float(images, self.augmentation, generator) for _ in range(2)]
        first, second = self.projection_head(self.encoder(torch.cat(views))).chunk(2)
        return nt_xent_loss(first, second, self.temperature)


def _curve(
    contrastive: _Contrastive,
    linear: nn.Linear,
    images: Tensor,
    labels: Tensor,
    attacked: Loss,
    threat: PGDConfig,
    generator: torch.Generator,
) -> Tensor:
    """Return InfoNCE, cross-entropy and accuracy of a batch at the clean images and after each step, (steps + 1, 3)."""
    fixed = torch.Generator(images.device)
    seed = int(torch.randint(2**62, (), generator=generator, device=images.device))

    def classify(x: Tensor) -> Tensor:
        logits: Tensor = linear(contrastive.encoder(x))
        return logits

    @torch.no_grad()
    def watch(x: Tensor) -> Tensor:
        logits = classify(x)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        views = fixed.manual_seed(seed)
        return torch.stack([contrastive.loss(x, views), F.cross_entropy(logits, labels), accuracy])

    objectives: dict[Loss, Objective] = {
        "info_nce": lambda x: contrastive.loss(x, generator),
        "cross_entropy": untargeted(classify, labels),
    }
    steps = iterates(
        objectives[attacked],
        images,
        centre=images,
        ball=Ball(threat.norm, threat.epsilon),
        step_sizes=repeat(threat.step_size, threat.steps),
    )
    return torch.stack([watch(images), *(watch(reached) for reached in steps)]).cpu()
