"""Projected gradient descent, written once, with one ball for each norm.

Images are (N, C, H, W) float32 in [0, 1], in any memory format; epsilon and step sizes have the same unit.
Source: Madry et al. 2018, section 2.1 (arXiv 1706.06083).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from realfeatures.errors import ConfigError
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.inputs import require_attackable, require_classes, require_count, require_positive

Classifier = Callable[[Tensor], Tensor]
"""Maps images (N, C, H, W) float32 in [0, 1] to logits (N, K)."""

Objective = Callable[[Tensor], Tensor]
"""Maps images (N, C, H, W) to one value an image, (N,); the attack makes it larger."""

TINY = torch.finfo(torch.float32).tiny
"""Smallest normal float32; norms are raised to it, so that a zero gradient gives a zero step and not NaN."""

LARGEST_SPREAD = 80.0
"""Spread of logits up to which float32's softmax keeps every class: exp(-87) is its smallest normal number."""

STEPS = 20
"""Of `pgd` where none are given: MadryLab/robustness evaluates with 20 steps."""

REACH = 2.5
"""Epsilons that all of `pgd`'s steps cover together where no step size is given, as in MadryLab/robustness: from any
start in the ball they reach its boundary, and can still move along it."""


@dataclass(frozen=True)
class Ball:
    """The allowed perturbations, (N, C, H, W): all within epsilon of zero in one norm, image by image.

    Attributes:
        norm: L2 is the Euclidean length of an image's perturbation, Linf its largest absolute value.
        epsilon: the radius. An infinite one bounds nothing, and then there is no random perturbation.

    Raises:
        ConfigError: another norm, or a radius that is negative or no number.
    """

    norm: Norm | str
    epsilon: float

    def __post_init__(self) -> None:
        if self.norm not in tuple(Norm):
            raise ConfigError(f"norm {self.norm!r}: expected one of {', '.join(Norm)}")
        if not (isinstance(self.epsilon, Real) and self.epsilon >= 0):
            raise ConfigError(f"epsilon {self.epsilon!r}: expected 0 or more, as a number")

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the perturbation of norm one that raises a linear function of this gradient most.

        Linf: the gradient's sign. L2: the gradient divided by its length.
        """
        if self.norm == Norm.LINF:
            return gradient.sign()
        if self.norm == Norm.L2:
            # Scaled by its largest entry first: a confident model's gradient of 1e-25 has a square of zero.
            scaled = gradient / gradient.abs().amax(_pixel_dims(gradient), keepdim=True).clamp_min(TINY)
            return scaled / _length(scaled)
        raise NotImplementedError(self.norm)

    def project(self, perturbation: Tensor) -> Tensor:
        """Return the nearest perturbation in the ball: each value cut to epsilon, or the whole shortened to it."""
        if self.norm == Norm.LINF:
            return perturbation.clamp(-self.epsilon, self.epsilon)
        if self.norm == Norm.L2:
            return perturbation * (self.epsilon / _length(perturbation)).clamp_max(1)
        raise NotImplementedError(self.norm)

    def random(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Return perturbations drawn uniformly from the ball, of the shape of `like`.

        L2: a uniform direction times epsilon * u^(1/d) in d dimensions.
        Deviation: ref starts uniformly in a box, most of which lies outside an L2 ball.
        """
        if self.norm == Norm.LINF:
            return (torch.rand(like.shape, generator=generator, device=like.device) * 2 - 1) * self.epsilon
        if self.norm == Norm.L2:
            direction = torch.randn(like.shape, generator=generator, device=like.device)
            u = torch.rand(len(like), generator=generator, device=like.device)
            radius = self.epsilon * u.pow(1 / like.shape[1:].numel())
            return direction / _length(direction) * radius.view(-1, *[1] * (like.ndim - 1))  # (N, 1, 1, 1)
        raise NotImplementedError(self.norm)


def pgd(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    ball: Ball,
    steps: int = STEPS,
    step_size: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return adversarial images: within the ball around the images, with a larger cross-entropy.

    Args:
        model: maps images (N, C, H, W) float32 in [0, 1] to logits (N, K); in eval mode. Any torch module does.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64, the right classes.
        ball: norm and epsilon of what may be added to an image.
        steps: how many steps of gradient ascent.
        step_size: of each step, in the ball's norm; None: 2.5 * epsilon / `steps`.
        generator: on the device of the images; draws the random start. None: start at the images.

    Returns:
        (N, C, H, W) float32 in [0, 1], detached: the last iterate, as in Madry et al., not the best.

    Raises:
        ConfigError: a model in train mode, steps below 1, or a step size that is not finite and above 0.
        DataError: images or labels of another type, shape or range.

    Source: Madry et al. 2018, section 2.1: x^(t+1) = Proj_{x+S}(x^t + alpha sgn(grad_x L(theta, x^t, y))).
    Deviation: ref (attack/PGD.py) subtracts the gradient, and so makes the images easier.

    Example: a linear model that takes bright images for class 1; each pixel moves by all of epsilon.
        >>> import torch
        >>> from realfeatures.science.attacks.pgd import Ball, pgd
        >>> def model(images):
        ...     brightness = images.flatten(1).mean(dim=1)
        ...     return torch.stack([0.5 - brightness, brightness - 0.5], dim=1)
        >>> images = torch.full((2, 3, 4, 4), 0.52)
        >>> attacked = pgd(model, images, torch.tensor([1, 1]), ball=Ball("Linf", 8 / 255))
        >>> model(images).argmax(dim=1).tolist(), model(attacked).argmax(dim=1).tolist()
        ([1, 1], [0, 0])
        >>> round((attacked - images).abs().max().item() * 255, 3)
        8.0
    """
    require_attackable(model, images, labels)
    require_count("steps", steps)
    if step_size is not None:
        require_positive("step_size", step_size)
    elif ball.epsilon == math.inf:
        raise ConfigError("epsilon inf: expected a finite one where no step_size is given; give a step_size")
    step_size = REACH * ball.epsilon / steps if step_size is None else step_size
    objective = untargeted(_within_classes(model, labels), labels)
    return maximise(objective, images, ball=ball, steps=steps, step_size=step_size, generator=generator)


def _within_classes(model: Classifier, labels: Tensor) -> Classifier:
    """Return the model, which refuses labels of no logit at its first call: one call more would cost a pass."""
    unchecked = [labels]

    def logits(images: Tensor) -> Tensor:
        found = model(images)
        if unchecked:
            require_classes(unchecked.pop(), found.shape[1])
        return found

    return logits


def maximise(
    objective: Objective,
    images: Tensor,
    *,
    ball: Ball,
    steps: int,
    step_size: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return what `pgd` finds for any objective: `untargeted`, `targeted`, `away_from` or one of your own.

    Args:
        objective: what to maximise.
        images: (N, C, H, W) float32 in [0, 1].
        ball: norm and epsilon of what may be added to an image.
        steps: how many steps of gradient ascent.
        step_size: of each step, in the ball's norm.
        generator: on the device of the images; draws the random start. None: start at the images.

    Returns:
        (N, C, H, W) float32 in [0, 1], detached.

    Example: each image moves a distance of epsilon towards another one.
        >>> import torch
        >>> from realfeatures.science.attacks.pgd import Ball, maximise
        >>> images, goal = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
        >>> moved = maximise(
        ...     lambda x: -(x - goal).flatten(1).norm(dim=1), images, ball=Ball("L2", 0.5), steps=10, step_size=0.1
        ... )
        >>> torch.allclose((moved - images).flatten(1).norm(dim=1), torch.tensor(0.5))
        True
    """
    start = images if generator is None else (images + ball.random(images, generator)).clamp(0, 1)
    return ascend(objective, start, centre=images, ball=ball, step_sizes=repeat(step_size, steps))


def ascend(objective: Objective, start: Tensor, *, centre: Tensor, ball: Ball, step_sizes: Iterable[float]) -> Tensor:
    """Return the images that steps of steepest ascent lead to: the loop that every attack here shares.

    It waits for nothing on the device, and asks for gradients with respect to the images only.

    Args:
        objective: what to maximise.
        start: (N, C, H, W) float32 in [0, 1].
        centre: (N, C, H, W) float32 in [0, 1]; the images stay in the ball around it.
        ball: whose norm also decides the direction of a step.
        step_sizes: the length of each step, in the ball's norm.

    Returns:
        (N, C, H, W) float32 in [0, 1], detached.
    """
    images = start.detach()
    for reached in iterates(objective, start, centre=centre, ball=ball, step_sizes=step_sizes):
        images = reached
    return images


def iterates(
    objective: Objective, start: Tensor, *, centre: Tensor, ball: Ball, step_sizes: Iterable[float]
) -> Iterator[Tensor]:
    """Yield the images after each step of `ascend`, whose arguments these are, detached."""
    images = start.detach()
    centre = centre.detach()
    for step_size in step_sizes:
        leaf = images.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(objective(leaf).sum(), leaf)
        moved = images + step_size * ball.steepest(gradient)
        # Ball, then box: cutting to the box moves each value towards the centre, so never out of the ball.
        images = (centre + ball.project(moved - centre)).clamp(0, 1)
        yield images


def untargeted(model: Classifier, labels: Tensor) -> Objective:
    """Return the cross-entropy of the labels, (N,) int64: away from the right class."""
    return lambda images: F.cross_entropy(_unsaturated(model(images)), labels, reduction="none")


def targeted(model: Classifier, targets: Tensor) -> Objective:
    """Return the negative cross-entropy of the targets, (N,) int64: towards a wrong class."""
    return lambda images: -F.cross_entropy(_unsaturated(model(images)), targets, reduction="none")


def away_from(encoder: Callable[[Tensor], Tensor], images: Tensor) -> Objective:
    """Return ||g(x') - g(x)||_2: away from an image's own representation, without labels.

    It asks how stable an encoder is without any readout, so that a probe's own weakness cannot hide it. At x itself it
    has its minimum and no gradient, so give `maximise` a generator for a random start.

    Args:
        encoder: g, deterministic: images (N, C, H, W) float32 in [0, 1] -> representations (N, D).
        images: x, (N, C, H, W) float32 in [0, 1]; the objective takes x' in the same order.

    Source: the distance that synthesis descends (Ilyas et al. 2019, arXiv 1905.02175, equation 6), here ascended.
    """
    with torch.no_grad():
        originals = encoder(images)

    def distance(moved: Tensor) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(encoder(moved) - originals, dim=1)
        return lengths

    return distance


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
