"""Projected gradient descent, written once, with one ball for each norm.

Images are (N, C, H, W) float32 in [0, 1], in any memory format; epsilon and step sizes have the same unit.
Source: Madry et al. 2018, section 2.1 (arXiv 1706.06083).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from realfeatures.experiment.config import PGDConfig
from realfeatures.experiment.vocabulary import Norm

Classifier = Callable[[Tensor], Tensor]
"""Maps images (N, C, H, W) float32 in [0, 1] to logits (N, K)."""

Objective = Callable[[Tensor], Tensor]
"""Maps images (N, C, H, W) to one value an image, (N,); the attack makes it larger."""

TINY = torch.finfo(torch.float32).tiny
"""Smallest normal float32; norms are raised to it, so that a zero gradient gives a zero step and not NaN."""

LARGEST_SPREAD = 80.0
"""Spread of logits up to which float32's softmax keeps every class: exp(-87) is its smallest normal number."""


class Ball(Protocol):
    """The allowed perturbations, (N, C, H, W): all within `epsilon` of zero in one norm, image by image."""

    @property
    def epsilon(self) -> float:
        """The radius."""

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the perturbation of norm one that raises a linear function of this gradient most."""

    def project(self, perturbation: Tensor) -> Tensor:
        """Return the nearest perturbation in the ball."""

    def random(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Return perturbations drawn uniformly from the ball, of the shape of `like`."""


@dataclass(frozen=True)
class L2Ball:
    """Perturbations of Euclidean length at most epsilon, which may be infinite."""

    epsilon: float

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the gradient divided by its length."""
        # Scaled by its largest entry first: a confident model's gradient of 1e-25 has a square of zero.
        scaled = gradient / gradient.abs().amax(_pixel_dims(gradient), keepdim=True).clamp_min(TINY)
        return scaled / _length(scaled)

    def project(self, perturbation: Tensor) -> Tensor:
        """Return the perturbation shortened to epsilon where it is longer."""
        return perturbation * (self.epsilon / _length(perturbation)).clamp_max(1)

    def random(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Return a uniform direction times epsilon * u^(1/d): uniform in the ball of d dimensions.

        Deviation: ref starts uniformly in a box, most of which lies outside an L2 ball.
        """
        direction = torch.randn(like.shape, generator=generator, device=like.device)
        u = torch.rand(len(like), generator=generator, device=like.device)
        radius = self.epsilon * u.pow(1 / like.shape[1:].numel())
        return direction / _length(direction) * radius.view(-1, *[1] * (like.ndim - 1))  # (N, 1, 1, 1)


@dataclass(frozen=True)
class LinfBall:
    """Perturbations that change no value by more than epsilon, which may be infinite."""

    epsilon: float

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the sign of the gradient."""
        return gradient.sign()

    def project(self, perturbation: Tensor) -> Tensor:
        """Return the perturbation with each value cut to epsilon."""
        return perturbation.clamp(-self.epsilon, self.epsilon)

    def random(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Return values drawn uniformly from [-epsilon, epsilon]."""
        return (torch.rand(like.shape, generator=generator, device=like.device) * 2 - 1) * self.epsilon


def ball(norm: Norm, epsilon: float) -> Ball:
    """Return the ball of a norm; an infinite epsilon bounds nothing, and then has no random start."""
    return L2Ball(epsilon) if norm is Norm.L2 else LinfBall(epsilon)


def pgd(objective: Objective, images: Tensor, *, threat: PGDConfig, generator: torch.Generator | None) -> Tensor:
    """Return adversarial images: within the threat model, with a larger objective.

    Args:
        objective: what to maximise; see `untargeted` and `targeted`.
        images: (N, C, H, W) float32 in [0, 1].
        threat: norm, epsilon, step size and number of steps.
        generator: on the device of the images; draws the random start. None: start at the images.

    Returns:
        (N, C, H, W) float32 in [0, 1], detached: the last iterate, as in Madry et al., not the best.

    Source: Madry et al. 2018, section 2.1: x^(t+1) = Proj_{x+S}(x^t + alpha sgn(grad_x L(theta, x^t, y))).
    Deviation: ref (attack/PGD.py) subtracts the gradient, and so makes the images easier.
    """
    region = ball(threat.norm, threat.epsilon)
    start = images if generator is None else (images + region.random(images, generator)).clamp(0, 1)
    return ascend(objective, start, centre=images, region=region, step_sizes=repeat(threat.step_size, threat.steps))


def ascend(objective: Objective, start: Tensor, *, centre: Tensor, region: Ball, step_sizes: Iterable[float]) -> Tensor:
    """Return the images that steps of steepest ascent lead to: the loop that every attack here shares.

    It waits for nothing on the device, and asks for gradients with respect to the images only.

    Args:
        objective: what to maximise.
        start: (N, C, H, W) float32 in [0, 1].
        centre: (N, C, H, W) float32 in [0, 1]; the images stay in the region around it.
        region: whose norm also decides the direction of a step.
        step_sizes: the length of each step, in the region's norm.

    Returns:
        (N, C, H, W) float32 in [0, 1], detached.
    """
    images = start.detach()
    for reached in iterates(objective, start, centre=centre, region=region, step_sizes=step_sizes):
        images = reached
    return images


def iterates(
    objective: Objective, start: Tensor, *, centre: Tensor, region: Ball, step_sizes: Iterable[float]
) -> Iterator[Tensor]:
    """Yield the images after each step of `ascend`, whose arguments these are, detached."""
    images = start.detach()
    centre = centre.detach()
    for step_size in step_sizes:
        leaf = images.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(objective(leaf).sum(), leaf)
        moved = images + step_size * region.steepest(gradient)
        # Ball, then box: cutting to the box moves each value towards the centre, so never out of the ball.
        images = (centre + region.project(moved - centre)).clamp(0, 1)
        yield images


def untargeted(model: Classifier, labels: Tensor) -> Objective:
    """Return the cross-entropy of the labels, (N,) int64: away from the right class."""
    return lambda images: F.cross_entropy(_unsaturated(model(images)), labels, reduction="none")


def targeted(model: Classifier, targets: Tensor) -> Objective:
    """Return the negative cross-entropy of the targets, (N,) int64: towards a wrong class."""
    return lambda images: -F.cross_entropy(_unsaturated(model(images)), targets, reduction="none")


def _unsaturated(logits: Tensor) -> Tensor:
    """Return the logits (N, K) of each image, scaled down where their spread exceeds LARGEST_SPREAD.

    A linear probe on features of little variance has weights so large that the cross-entropy of its own class is
    exactly zero, and so is its gradient: PGD would not move, and the image would pass for robust.
    """
    spread = logits.amax(dim=1, keepdim=True) - logits.amin(dim=1, keepdim=True)
    return logits * (LARGEST_SPREAD / spread.detach()).clamp_max(1)


def _pixel_dims(images: Tensor) -> tuple[int, ...]:
    return tuple(range(1, images.ndim))


def _length(perturbation: Tensor) -> Tensor:
    """Return each image's L2 norm, at least TINY, as (N, 1, 1, 1)."""
    length: Tensor = torch.linalg.vector_norm(perturbation, dim=_pixel_dims(perturbation), keepdim=True)
    return length.clamp_min(TINY)
