"""Signs that a classifier hides its gradients, which makes gradient-based robust accuracy too high.

Source: Athalye et al. 2018, section 3.1 (arXiv 1802.00420), and Carlini et al. 2019, section 5 (arXiv 1902.06705),
for what to look for; Croce and Hein 2020 (arXiv 2003.01690) for the zero gradients. Thresholds are chosen here.
"""

from dataclasses import dataclass, replace
from itertools import pairwise, repeat

import torch
from scipy.stats import binomtest
from torch import Tensor

from realfeatures.experiment.config import ThreatModel
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.attacks.pgd import TINY, Ball, Classifier, ascend, untargeted

RANDOM_STEPS = 4
"""Random steps that a step along the gradient is compared with; one that says nothing loses four times of five."""

FLAT_SHARE = 0.25
"""Share of images on which it loses that is suspicious: an honest gradient hardly ever loses in so many dimensions, and
a quarter is well below the four fifths of a model that hides all of them."""

SIGNIFICANCE = 0.01
"""Of the sign test on images that a stronger attack loses: a report has hundreds of cells, so 0.05 would cry wolf."""

STEPS_FACTOR = 5
"""How many times as many steps a working attack must not profit less from."""

UNBOUNDED_SHARE = 0.05
"""Share of images that may survive where a ball holds every grey image; none should, steps so long may overshoot."""


@dataclass(frozen=True)
class GradientMasking:
    """What was found on N images.

    Attributes:
        checks: true where something is suspicious.
            zero_gradient: the loss of a correctly classified image has a gradient of exactly zero.
            flat_loss: the gradient leads nowhere that random steps do not lead.
            not_monotone_in_steps: an attack with more steps fools fewer images.
            not_monotone_in_epsilon: an attack with a larger epsilon fools fewer images.
            unbounded_fails: images survive an attack that may turn them into plain grey.
        details: the numbers behind them: n, the share of images under each of these signs, the accuracy in [0, 1]
            under each attack, and `linearity_error`: by what share the gradient misjudges how far a step of epsilon
            along it raises the loss, 0 for a linear loss (median over images; as the local linearity measure of Qin
            et al. 2019, arXiv 1907.02610, but relative).
    """

    checks: dict[str, bool]
    details: dict[str, float]


def check_gradient_masking(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    threat: ThreatModel,
    steps: int,
    step_size: float,
    generator: torch.Generator,
    batch_size: int,
) -> GradientMasking:
    """Look for signs of gradient masking under one threat model.

    It costs 8 * `steps` + 2 passes of images and gradients, so a few dozen images will do.

    Args:
        model: deterministic, in eval mode, its weights frozen; logits (N, K) out.
        images: (N, C, H, W) float32 in [0, 1], at least one; those that are misclassified are not looked at.
        labels: (N,) int64.
        threat: norm and epsilon; for an epsilon of zero there is nothing to look for.
        steps: of the PGD attack whose accuracy is in doubt.
        step_size: of that attack; at another epsilon it is changed in proportion.
        generator: on the device of the images; draws random starts and steps.
        batch_size: images looked at together.
    """
    if threat.epsilon == 0:
        return GradientMasking({}, {})
    batches = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
    seen = [
        _look(_Trial(model, *batch, threat=threat, steps=steps, step_size=step_size, generator=generator))
        for batch in batches
    ]
    found = {name: torch.cat([torch.empty(0), *(one[name].cpu() for one in seen if one)]) for name in _NAMES}
    return _judge(found, len(images))


_ORDERS = {
    "not_monotone_in_steps": ("one_step", "pgd", "more_steps"),
    "not_monotone_in_epsilon": ("half_epsilon", "pgd", "double_epsilon"),
}
"""Attacks of which each must fool at least as many images as the one before."""

_ATTACKS = ("one_step", "pgd", "more_steps", "half_epsilon", "double_epsilon", "unbounded")

_NAMES = ("zero_gradient", "flat", "linearity_error", *_ATTACKS)


@dataclass(frozen=True)
class _Trial:
    """A batch of images, and the attack in doubt."""

    model: Classifier
    images: Tensor
    labels: Tensor
    threat: ThreatModel
    steps: int
    step_size: float
    generator: torch.Generator

    def survived(self, images: Tensor) -> Tensor:
        """Return which images are classified correctly, (N,) bool."""
        with torch.no_grad():
            return self.model(images).argmax(dim=1) == self.labels

    def ascend(self, start: Tensor, *, steps: int, epsilon: float) -> Tensor:
        """Return where steps of PGD lead, whose length keeps its ratio to epsilon."""
        return ascend(
            untargeted(self.model, self.labels),
            start,
            centre=self.images,
            ball=Ball(self.threat.norm, epsilon),
            step_sizes=repeat(self.step_size * epsilon / self.threat.epsilon, steps),
        )


def _look(trial: _Trial) -> dict[str, Tensor]:
    """Return, for the M correctly classified images, what `_NAMES` are, (M,) each; nothing where M is zero."""
    correct = trial.survived(trial.images)
    if not correct.any():  # not every network takes an empty batch
        return {}
    trial = replace(trial, images=trial.images[correct], labels=trial.labels[correct])
    return {**_surface(trial), **_attacks(trial)}


def _surface(trial: _Trial) -> dict[str, Tensor]:
    """Compare a step of epsilon along the gradient with random ones, and with what the gradient promises."""
    loss, images, epsilon = untargeted(trial.model, trial.labels), trial.images, trial.threat.epsilon
    ball = Ball(trial.threat.norm, epsilon)
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        before = loss(leaf)
        (gradient,) = torch.autograd.grad(before.sum(), leaf)

    def step(direction: Tensor) -> Tensor:
        return (images + epsilon * ball.steepest(direction)).clamp(0, 1)

    def random_direction() -> Tensor:
        return torch.randn(images.shape, generator=trial.generator, device=images.device)

    ahead = step(gradient)
    with torch.no_grad():
        after = loss(ahead)
        best_random = torch.stack([loss(step(random_direction())) for _ in range(RANDOM_STEPS)]).amax(dim=0)
    rise, promised = after - before.detach(), ((ahead - images) * gradient).flatten(1).sum(dim=1)
    return {
        "zero_gradient": (gradient == 0).flatten(1).all(dim=1),
        "flat": after <= best_random,
        "linearity_error": (rise - promised).abs() / torch.maximum(rise.abs(), promised.abs()).clamp_min(TINY),
        "one_step": trial.survived(ahead),
    }


def _attacks(trial: _Trial) -> dict[str, Tensor]:
    """Return which images survive PGD with more steps and with other epsilons, (M,) bool each."""
    images, epsilon, steps = trial.images, trial.threat.epsilon, trial.steps
    # One random start, scaled to each epsilon: the attacks then differ by epsilon and steps alone.
    unit = Ball(trial.threat.norm, 1.0).random(images, trial.generator)

    def start(radius: float) -> Tensor:
        return (images + radius * unit).clamp(0, 1)

    reached = trial.ascend(start(epsilon), steps=steps, epsilon=epsilon)
    ends = {
        "pgd": reached,
        "more_steps": trial.ascend(reached, steps=(STEPS_FACTOR - 1) * steps, epsilon=epsilon),
        "half_epsilon": trial.ascend(start(epsilon / 2), steps=steps, epsilon=epsilon / 2),
        "double_epsilon": trial.ascend(start(epsilon * 2), steps=steps, epsilon=epsilon * 2),
        # From nearby: noise as large as this ball would fool most models without any gradient.
        "unbounded": trial.ascend(start(epsilon), steps=steps, epsilon=_reach_of_grey(trial)),
    }
    return {name: trial.survived(end) for name, end in ends.items()}


def _reach_of_grey(trial: _Trial) -> float:
    """Return the radius within which every image in [0, 1] finds plain grey, where no classifier can tell them."""
    return 0.5 * (trial.images[0].numel() ** 0.5 if trial.threat.norm is Norm.L2 else 1.0)


def _judge(found: dict[str, Tensor], count: int) -> GradientMasking:
    """Return the verdicts on what was found, 0.0 or 1.0 for no and yes, of `count` images."""
    correct = len(found["pgd"])
    shares = {name: _mean(found[name]) for name in ("zero_gradient", "flat")}
    linearity_error = found["linearity_error"].median().item() if correct else 0.0
    checks = {
        "zero_gradient": shares["zero_gradient"] > 0,
        "flat_loss": shares["flat"] > FLAT_SHARE,
        **{name: _falls_behind([found[attack] for attack in attacks]) for name, attacks in _ORDERS.items()},
        "unbounded_fails": _mean(found["unbounded"]) > UNBOUNDED_SHARE,
    }
    details = {
        "n": count,
        "accuracy_clean": correct / count,
        **{f"accuracy_{attack}": int(found[attack].sum()) / count for attack in _ATTACKS},
        **{f"{name}_share": share for name, share in shares.items()},
        "linearity_error": linearity_error,
    }
    return GradientMasking(checks, {name: round(value, 4) for name, value in details.items()})


def _mean(values: Tensor) -> float:
    return values.float().mean().item() if len(values) else 0.0


def _falls_behind(survived: list[Tensor]) -> bool:
    """Return whether an attack loses more images that the weaker one before fools than it gains: a sign test.

    Of images that only one of two equally good attacks fools, each fools half, but for chance.
    """
    for weaker, stronger in pairwise(survived):
        lost, gained = int((weaker < stronger).sum()), int((weaker > stronger).sum())
        if lost and binomtest(lost, lost + gained, alternative="greater").pvalue < SIGNIFICANCE:
            return True
    return False
