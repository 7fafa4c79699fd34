"""Threat models, and what is attacked with them."""

from typing import Annotated

from pydantic import Field

from realfeatures.experiment.config.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from realfeatures.experiment.config.data import SimCLRAugmentationConfig
from realfeatures.experiment.vocabulary import Config, Norm, Protocol


class ThreatModel(Config):
    """The set of allowed perturbations: a ball of radius epsilon, images in [0, 1]."""

    norm: Norm
    epsilon: NonNegativeFloat


class PGDConfig(ThreatModel):
    """Projected gradient descent (Madry et al. 2018)."""

    step_size: PositiveFloat
    steps: PositiveInt


class AttackConfig(Config):
    """What a probed encoder is attacked with, and on how many test images."""

    images: PositiveInt
    """The first n test images are attacked by PGD; clean accuracy uses all."""
    pgd: tuple[ThreatModel, ...]
    pgd_steps: PositiveInt
    pgd_relative_step_size: PositiveFloat
    """Step size as a share of epsilon."""
    autoattack: tuple[ThreatModel, ...] = ()
    autoattack_images: PositiveInt
    """The first n test images are attacked by AutoAttack."""
    representation: tuple[ThreatModel, ...] = ()
    """PGD without labels, that moves the representation as far as it can."""
    masking_images: NonNegativeInt = 0
    """The first n test images are looked at for signs of gradient masking."""
    protocol: Protocol = Protocol.NATURAL
    batch_size: PositiveInt = 512


class TransferConfig(Config):
    """PGD on each of some classifiers, and what the others make of its images."""

    images: PositiveInt
    threats: tuple[ThreatModel, ...] = Field(min_length=1)
    steps: PositiveInt
    relative_step_size: PositiveFloat
    """Step size as a share of epsilon."""
    batch_size: PositiveInt = 512


class LossCurvesConfig(PGDConfig):
    """Ascend the contrastive loss and watch cross-entropy, and the other way round."""

    images: Annotated[int, Field(ge=2)]
    """An image's negatives are the others of its batch."""
    samples: PositiveInt
    """Pairs of augmented views a step."""
    augmentation: SimCLRAugmentationConfig
    temperature: PositiveFloat
    batch_size: Annotated[int, Field(ge=2)] = 128
