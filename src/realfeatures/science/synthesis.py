"""Image sets made from a model's features: D_R and D_NR by matching representations, D_rand by targeted PGD.

Source: Ilyas et al. 2019 (arXiv 1905.02175), sections 3.1 and 3.2. Every set is rounded to 256 levels, as
real images are, before anything trains on it; what that costs is part of the summary.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from realfeatures.experiment.config import MatchingConfig, RelabellingConfig, TargetedConfig
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.attacks.pgd import Ball, ascend, targeted
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet, to_float, to_uint8
from realfeatures.science.inputs import require_eval, require_logits

FINAL_STEP_SHARE = 0.1
"""Share of the step size that a decaying schedule ends at, so that the last steps refine."""


@dataclass(frozen=True)
class Crafted:
    """A crafted image set and how well it came out.

    Attributes:
        images: uint8, as long as the natural set, in its order.
        summary: means over all images: `mean_l2_perturbation` from the start image, and what the synthesis
            was after: `distance_before`, `distance_after`, `distance_quantised` (L2 between representations),
            or `target_rate`, `target_rate_quantised` (share that the source takes for the target class).
    """

    images: ImageSet
    summary: dict[str, float]


def match_representations(
    config: MatchingConfig, encoder: nn.Module, natural: ImageSet, run: Run | None = None
) -> Crafted:
    """Return images whose representations are those of the natural ones, started at other natural images.

    For each (x, y): minimise ||g(x') - g(x)||_2 from x' = x0, a random other training image or noise, by steps of
    normalised gradients, within [0, 1] and, if set, ||x' - x0||_2 <= delta; the label is y.

    Args:
        config: the steps, their bound and where they start.
        encoder: g, frozen and in eval mode: images (N, C, H, W) float32 in [0, 1] -> representations (N, D).
        natural: the pairs (x, y).
        run: seed, device, checkpoint and progress; None: seed 0 on the CPU, and nothing is kept.

    Raises:
        ConfigError: an encoder in train mode.

    Source: Ilyas et al. 2019, equation 6. Deviation: ref leaves g in train mode (generate_dataset.py:35).

    Example: an encoder that forgets nothing leads back to the images themselves.
        >>> import torch
        >>> from realfeatures.experiment.config import MatchingConfig
        >>> from realfeatures.science.data.images import ImageSet
        >>> from realfeatures.science.synthesis import match_representations
        >>> images = torch.randint(256, (6, 1, 4, 4), dtype=torch.uint8)
        >>> natural = ImageSet(images, torch.arange(6) % 2, ("even", "odd"))
        >>> config = MatchingConfig(step_size=0.05, steps=100, decay=True)
        >>> crafted = match_representations(config, torch.nn.Flatten().eval(), natural)
        >>> (crafted.images.images.int() - images.int()).abs().max().item() < 8
        True
    """
    require_eval(encoder)
    run = run or Run(seed=0)
    natural = natural.to(run.device)
    starts = _starts(config, natural, run)
    ball = Ball(Norm.L2, config.delta or math.inf)
    represent = run.mixed(encoder)

    def craft(chosen: Tensor, step_sizes: Iterator[float]) -> tuple[Tensor, dict[str, Tensor]]:
        start = starts(chosen)
        with torch.no_grad():
            wanted = represent(_floats(natural.images[chosen], run))

        def distance(images: Tensor) -> Tensor:
            gap: Tensor = torch.linalg.vector_norm(represent(images) - wanted, dim=1)
            return gap

        found = ascend(lambda x: -distance(x), start, centre=start, ball=ball, step_sizes=step_sizes)
        crafted = to_uint8(found)
        quantised = _floats(crafted, run)
        with torch.no_grad():
            return crafted, {
                "distance_before": distance(start),
                "distance_after": distance(found),
                "distance_quantised": distance(quantised),
                "mean_l2_perturbation": (quantised - start).flatten(1).norm(dim=1),
            }

    images, summary = _in_batches(craft, natural, config.batch_size, _step_sizes(config), run)
    return Crafted(ImageSet(images, natural.labels.cpu(), natural.classes), summary)


def perturb_towards_targets(
    config: TargetedConfig, classifier: nn.Module, natural: ImageSet, run: Run | None = None
) -> Crafted:
    """Return D_rand or D_det: natural images perturbed towards a class, which becomes their label.

    Args:
        config: the ball, the steps in it and how the classes are chosen.
        classifier: frozen and in eval mode: images (N, C, H, W) float32 in [0, 1] -> logits (N, K).
        natural: the images, of K classes.
        run: seed, device, checkpoint and progress; None: seed 0 on the CPU, and nothing is kept.

    Raises:
        ConfigError: a classifier in train mode, or of another number of classes.

    Source: Ilyas et al. 2019, section 3.2. D_rand's classes are uniformly random and may be the image's own, as there:
    a tenth of the labels then carries robust features too, and none of them is favoured. D_det's are the next ones,
    y + 1 mod K: what is left of an image's own features then speaks against its label.

    Example: a linear classifier, whose every image is taken for the next class.
        >>> import torch
        >>> from realfeatures.experiment.config import TargetedConfig
        >>> from realfeatures.science.data.images import ImageSet
        >>> from realfeatures.science.synthesis import perturb_towards_targets
        >>> classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval().requires_grad_(False)
        >>> images = torch.randint(64, 192, (6, 1, 4, 4), dtype=torch.uint8)
        >>> natural = ImageSet(images, torch.arange(6) % 3, ("a", "b", "c"))
        >>> config = TargetedConfig(norm="L2", epsilon=2, step_size=0.2, steps=40, targets="next")
        >>> crafted = perturb_towards_targets(config, classifier, natural)
        >>> crafted.images.labels.tolist(), crafted.summary["target_rate"]
        ([1, 2, 0, 1, 2, 0], 1.0)
    """
    require_eval(classifier)
    run = run or Run(seed=0)
    natural = natural.to(run.device)
    targets = _targets(config, natural, run)
    predict = run.mixed(classifier)

    def classify(images: Tensor) -> Tensor:
        logits = predict(images)
        require_logits(logits, len(natural.classes))
        return logits

    def craft(chosen: Tensor, step_sizes: Iterator[float]) -> tuple[Tensor, dict[str, Tensor]]:
        start = _floats(natural.images[chosen], run)
        aim = targets[chosen]
        found = ascend(
            targeted(classify, aim), start, centre=start, ball=Ball(config.norm, config.epsilon), step_sizes=step_sizes
        )
        crafted = to_uint8(found)
        quantised = _floats(crafted, run)
        with torch.no_grad():
            return crafted, {
                "target_rate": (classify(found).argmax(1) == aim).float(),
                "target_rate_quantised": (classify(quantised).argmax(1) == aim).float(),
                "mean_l2_perturbation": (quantised - start).flatten(1).norm(dim=1),
            }

    images, summary = _in_batches(craft, natural, config.batch_size, [config.step_size] * config.steps, run)
    return Crafted(ImageSet(images, targets.cpu(), natural.classes), summary)


def _targets(config: TargetedConfig, natural: ImageSet, run: Run) -> Tensor:
    """Return the class towards which each image is perturbed, (N,) int64."""
    classes = len(natural.classes)
    if config.targets == "random":
        return torch.randint(classes, (len(natural),), generator=run.generator("targets"), device=run.device)
    return (natural.labels + 1) % classes


Craft = Callable[[Tensor, Iterator[float]], tuple[Tensor, dict[str, Tensor]]]
"""(indices of the batch, step sizes) -> (crafted uint8 images, a value an image for each figure of the summary)."""


def _in_batches(
    craft: Craft, natural: ImageSet, batch_size: int, step_sizes: list[float], run: Run
) -> tuple[Tensor, dict[str, float]]:
    """Craft a whole set batch by batch, keeping finished batches in the checkpoint."""
    batches = torch.split(torch.arange(len(natural), device=run.device), batch_size)
    done: list[dict[str, Any]] = run.checkpoint.load() or []

    def watched(finished: int) -> Iterator[float]:
        for step, size in enumerate(step_sizes):
            run.progress(finished * len(step_sizes) + step, len(batches) * len(step_sizes))
            if run.checkpoint.stop():
                run.checkpoint.step(lambda: done)
            yield size

    for chosen in batches[len(done) :]:
        images, figures = craft(chosen, watched(len(done)))
        done.append({"images": images.cpu(), "figures": {name: value.cpu() for name, value in figures.items()}})
        run.checkpoint.step(lambda: done)
    names = done[0]["figures"]
    summary = {name: torch.cat([batch["figures"][name] for batch in done]).mean().item() for name in names}
    return torch.cat([batch["images"] for batch in done]), summary


def _step_sizes(config: MatchingConfig) -> list[float]:
    if not config.decay:
        return [config.step_size] * config.steps
    fall = (1 - FINAL_STEP_SHARE) / max(1, config.steps - 1)
    return [config.step_size * (1 - fall * step) for step in range(config.steps)]


def relabel(config: RelabellingConfig, natural: ImageSet, labelled: ImageSet, run: Run) -> ImageSet:
    """Return natural images with another set's labels, in order or shuffled.

    With D_rand's labels: what a model learns of them where no perturbation carries them.

    Source: the question is that of Wallace 2019 (Distill, "Learning from Incorrectly Labeled Data"). Deviation: his
    labels are a weak model's mistakes, which tell of an image's features; D_rand's targets are drawn blindly.
    """
    labels = labelled.labels
    if config.order == "shuffled":
        order = torch.randperm(len(labels), generator=run.generator("order"), device=run.device)
        labels = labels[order.to(labels.device)]
    return ImageSet(natural.images, labels, natural.classes)


def _starts(config: MatchingConfig, natural: ImageSet, run: Run) -> Callable[[Tensor], Tensor]:
    """Return what gives the start images (N, C, H, W) of a batch of indices."""
    if config.start == "image":
        others = _other_images(len(natural), run)
        return lambda chosen: _floats(natural.images[others[chosen]], run)

    def noise(chosen: Tensor) -> Tensor:
        # A generator a batch: a resumed synthesis starts the rest at the same noise.
        generator = run.generator(f"noise/{int(chosen[0])}")
        shape = (len(chosen), *natural.images.shape[1:])
        images = torch.rand(shape, generator=generator, device=run.device)
        return images.contiguous(memory_format=run.memory_format)

    return noise


def _other_images(count: int, run: Run) -> Tensor:
    """Return (N,) int64: for each image the index of a uniformly random other one."""
    generator = run.generator("starts")
    offsets = torch.randint(1, max(2, count), (count,), generator=generator, device=run.device)
    return (torch.arange(count, device=run.device) + offsets) % count


def _floats(images: Tensor, run: Run) -> Tensor:
    return to_float(images).contiguous(memory_format=run.memory_format)
