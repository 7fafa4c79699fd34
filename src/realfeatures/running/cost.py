"""An estimate of each cell's work, from configurations alone: floating-point operations and images.

What a network costs an image stands in flops.py; here, how often each cell asks for it. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from realfeatures.experiment.config import (
    AdversarialConfig,
    AttackConfig,
    ContrastiveConfig,
    DataConfig,
    DiffusionConfig,
    KNNConfig,
    LossCurvesConfig,
    MaskedConfig,
    MatchingConfig,
    OptimizerConfig,
    OutsideConfig,
    PixelsConfig,
    Preset,
    ProbeConfig,
    ResNetConfig,
    ResNetParadigmConfig,
    TargetedConfig,
    TransferConfig,
)
from realfeatures.experiment.experiments import maker_of
from realfeatures.experiment.grid import Cell
from realfeatures.experiment.vocabulary import Config, Control, Paradigm
from realfeatures.running.flops import mae_flops, resnet_flops, resnet_widths, unet_flops, vit_flops
from realfeatures.science.data.decoded import Sizes

TRAINING = 3
"""Cost of a training pass over a forward pass: the backward pass makes two gradients, each as dear as the forward."""
INPUT_GRADIENT = 2
"""Cost of a pass that asks for the gradient of the images only, the weights being frozen."""

AUTOATTACK_STEPS = 100
"""Steps of AutoAttack's APGD-CE, and of APGD-T and FAB-T for each target (Croce and Hein 2020, standard version)."""
AUTOATTACK_TARGETS = 9
"""Wrong classes that APGD-T and FAB-T each aim at, where there are so many."""
AUTOATTACK_QUERIES = 5000
"""Square attack's queries, each a forward pass."""

MASKING_RUNS = 8
"""Runs of PGD that the check for gradient masking takes, in runs of the usual length (attacks/gradient_masking.py)."""

AUTOATTACK_LIKELY_SHARE = 0.2
"""chosen: on digits, AutoAttack did between a twentieth and two fifths of its upper bound."""

FLOPS_PER_SECOND = 15e9
"""chosen: what one busy core did on the digits preset's models; it weighs cells against each other only."""
SECONDS_PER_IMAGE = 5e-6
"""chosen: what a pass of a tiny image costs besides its arithmetic; measured on linear probes, for the same use."""


@dataclass(frozen=True)
class Cost:
    """Work: `flops` floating-point operations in `images` passes of one image through a network."""

    flops: float = 0.0
    images: int = 0
    weight: float = 0.0
    """Roughly how many seconds of one CPU core it is likely to take: for the order of cells and the time left."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.images + other.images, self.weight + other.weight)


def total(costs: Sequence[Cost]) -> Cost:
    """Return the sum of costs."""
    return sum(costs, Cost())


def estimate(cell: Cell, preset: Preset, info: Sizes) -> Cost:
    """Return the work of a cell; for AutoAttack an upper bound, since images that are broken leave it."""
    config = cell.config
    match config:
        case DataConfig():
            return _passes(info.train + info.test, 0.0)
        case MatchingConfig() | TargetedConfig():
            maker = maker_of(str(cell.features), preset)
            return _synthesis(config, forward_flops(_encoder_of(maker, preset), info), info)
        case ProbeConfig():
            encoder = _encoder_of(str(cell.paradigm), preset)
            head = 2.0 * dimension(encoder, info) * info.classes
            fitted = config.views * info.train
            return _passes(fitted, forward_flops(encoder, info)) + _passes(config.epochs * fitted, TRAINING * head)
        case KNNConfig():
            encoder = _encoder_of(str(cell.paradigm), preset)
            similarities = 2.0 * dimension(encoder, info) * info.train
            return _passes(info.train + info.test, forward_flops(encoder, info)) + _passes(info.test, similarities)
        case AttackConfig():
            return _attack(config, _classifier_flops(str(cell.paradigm), preset, info), info)
        case TransferConfig():
            return total([_transfer(config, paradigm, preset, info) for paradigm in preset.paradigms])
        case LossCurvesConfig():
            return _loss_curves(config, _classifier_flops(Paradigm.CONTRASTIVE, preset, info))
        case _:
            return _pretraining(config, info)


def forward_flops(config: Config, info: Sizes) -> float:
    """Return the operations of an encoder on one image."""
    match config:
        case ResNetParadigmConfig():
            return resnet_flops(config.model, info)
        case MaskedConfig():
            return vit_flops(config, info)
        case DiffusionConfig():
            return unet_flops(config, info, until=config.feature_block)
        case OutsideConfig():
            return resnet_flops(ResNetConfig(), info)  # chosen: an architecture by name has no sizes here to count
    return 0.0


def dimension(config: Config, info: Sizes) -> int:
    """Return the length of an encoder's representation."""
    match config:
        case MaskedConfig():
            return config.width * (config.feature_pool or 1) ** 2
        case DiffusionConfig():
            return config.width * config.multipliers[-1] * config.feature_pool**2
        case PixelsConfig():
            return info.channels * info.height * info.width
        case ResNetParadigmConfig():
            return resnet_widths(config.model)[-1]
        case OutsideConfig():
            return resnet_widths(ResNetConfig())[-1]
    raise TypeError(f"{type(config).__name__} is no encoder's configuration")


def _pretraining(config: Config, info: Sizes) -> Cost:
    match config:
        case AdversarialConfig():
            images = _trained_images(config.optimizer, info)
            flops = resnet_flops(config.model, info)
            return _passes(images, TRAINING * flops) + _passes(images * config.attack.steps, INPUT_GRADIENT * flops)
        case ContrastiveConfig():
            width = dimension(config, info)
            head = 2.0 * config.projection_hidden * (width + config.projection_output)
            views = 2 * _trained_images(config.optimizer, info)
            return _passes(views, TRAINING * (resnet_flops(config.model, info) + head))
        case ResNetParadigmConfig():
            return _passes(_trained_images(config.optimizer, info), TRAINING * resnet_flops(config.model, info))
        case MaskedConfig():
            return _passes(_trained_images(config.optimizer, info), TRAINING * mae_flops(config, info))
        case DiffusionConfig():
            return _passes(_trained_images(config.optimizer, info), TRAINING * unet_flops(config, info))
    return Cost()


def _synthesis(config: MatchingConfig | TargetedConfig, flops: float, info: Sizes) -> Cost:
    return _passes(info.train * config.steps, INPUT_GRADIENT * flops) + _passes(info.train, flops)


def _attack(config: AttackConfig, flops: float, info: Sizes) -> Cost:
    cost = _passes(info.test, flops)
    for _ in (*config.pgd, *config.representation):
        cost += _passes(config.images * config.pgd_steps, INPUT_GRADIENT * flops)
    for _ in {threat.norm for threat in config.pgd}:
        cost += _passes(MASKING_RUNS * config.masking_images * config.pgd_steps, INPUT_GRADIENT * flops)
    for _ in config.autoattack:
        images, likely = config.autoattack_images, AUTOATTACK_LIKELY_SHARE
        runs = 1 + 2 * min(AUTOATTACK_TARGETS, info.classes - 1)
        steps = images * runs * AUTOATTACK_STEPS
        cost += _passes(steps, INPUT_GRADIENT * flops, likely_share=likely)
        cost += _passes(images * AUTOATTACK_QUERIES, flops, likely_share=likely)
    return cost


def _transfer(config: TransferConfig, paradigm: Paradigm, preset: Preset, info: Sizes) -> Cost:
    flops = _classifier_flops(paradigm, preset, info)
    runs = len(config.threats) * config.images
    return _passes(runs * config.steps, INPUT_GRADIENT * flops) + _passes(runs * len(preset.paradigms), flops)


def _loss_curves(config: LossCurvesConfig, flops: float) -> Cost:
    views = 2 * config.samples  # a pair each
    steps = config.images * config.steps
    attacks = _passes(steps * (views + 1), INPUT_GRADIENT * flops)  # one ascends the views' loss, one cross-entropy
    return attacks + _passes(2 * steps * (views + 1), flops)  # both losses are watched in both


def _classifier_flops(paradigm: object, preset: Preset, info: Sizes) -> float:
    encoder = _encoder_of(paradigm, preset)
    return forward_flops(encoder, info) + 2.0 * dimension(encoder, info) * info.classes


def _encoder_of(paradigm: object, preset: Preset) -> Config:
    """Return the configuration of a paradigm's encoder, or of what stands in its place."""
    if paradigm == Control.PIXELS:
        return PixelsConfig()
    config: Config = getattr(preset, str(paradigm))
    return config


def _trained_images(optimizer: OptimizerConfig, info: Sizes) -> int:
    """Return how many images a training sees; the last incomplete batch of an epoch is dropped."""
    batch = min(optimizer.batch_size, info.train)
    return optimizer.epochs * (info.train // batch) * batch


def _passes(images: int, flops: float, *, likely_share: float = 1.0) -> Cost:
    weight = likely_share * images * (flops / FLOPS_PER_SECOND + SECONDS_PER_IMAGE)
    return Cost(images * flops, images, weight)
