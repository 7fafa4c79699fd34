"""How encoders learn: a configuration for each paradigm, and for what stands in place of one."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from realfeatures.experiment.config.attacks import PGDConfig
from realfeatures.experiment.config.bounds import NonNegativeInt, PositiveFloat, PositiveInt
from realfeatures.experiment.config.data import CropFlipConfig, SimCLRAugmentationConfig
from realfeatures.experiment.config.outside import OutsideConfig
from realfeatures.experiment.config.training import OptimizerConfig
from realfeatures.experiment.vocabulary import Config, Control, Paradigm


class ResNetConfig(Config):
    """A ResNet with the CIFAR stem: 3x3 convolution, stride 1, no pooling."""

    block: Literal["basic", "bottleneck"] = "basic"
    blocks: tuple[PositiveInt, ...] = Field((2, 2, 2, 2), min_length=1)
    """Residual blocks in each stage; each stage after the first halves the resolution."""
    width: PositiveInt = 64
    """Channels of the first stage; each later stage doubles them."""


class ResNetParadigmConfig(Config):
    """A paradigm whose encoder is a ResNet."""

    model: ResNetConfig
    optimizer: OptimizerConfig


class AdversarialConfig(ResNetParadigmConfig):
    """Cross-entropy on PGD examples of the current weights (Madry et al. 2018); the robust source."""

    paradigm: Literal["adversarial"] = "adversarial"
    augmentation: CropFlipConfig
    attack: PGDConfig


class SupervisedConfig(ResNetParadigmConfig):
    """Cross-entropy on the labels."""

    paradigm: Literal[Paradigm.SUPERVISED] = Paradigm.SUPERVISED
    augmentation: CropFlipConfig


class ContrastiveConfig(ResNetParadigmConfig):
    """SimCLR: two augmented views, NT-Xent loss (Chen et al. 2020)."""

    paradigm: Literal[Paradigm.CONTRASTIVE] = Paradigm.CONTRASTIVE
    augmentation: SimCLRAugmentationConfig
    projection_hidden: PositiveInt = 512
    projection_output: PositiveInt = 256
    temperature: PositiveFloat


class MaskedConfig(Config):
    """MAE: reconstruct the masked patches from the visible ones (He et al. 2022)."""

    paradigm: Literal[Paradigm.MASKED] = Paradigm.MASKED
    patch_size: PositiveInt
    width: PositiveInt
    encoder_blocks: PositiveInt
    decoder_blocks: PositiveInt
    heads: PositiveInt
    mask_ratio: Annotated[float, Field(gt=0, lt=1)]
    feature_pool: PositiveInt | None = None
    """The representation: the patches' tokens averaged to feature_pool x feature_pool; None: the class token."""
    optimizer: OptimizerConfig
    augmentation: CropFlipConfig

    @model_validator(mode="after")
    def _width_is_divisible(self) -> "MaskedConfig":
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width {self.width} must be a multiple of heads ({self.heads}) and of 4")
        return self


class DiffusionConfig(Config):
    """DDPM: predict the noise (Ho et al. 2020); the representation is read at one small timestep."""

    paradigm: Literal[Paradigm.DIFFUSION] = Paradigm.DIFFUSION
    width: PositiveInt
    """Channels at full resolution."""
    multipliers: tuple[PositiveInt, ...] = Field(min_length=1)
    """Channel multiplier at each resolution; each after the first halves it."""
    blocks: PositiveInt
    """Residual blocks at each resolution."""
    attention_resolutions: tuple[PositiveInt, ...]
    """Resolutions, in pixels, whose blocks are followed by self-attention."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    timesteps: PositiveInt = 1000
    beta_start: PositiveFloat = 1e-4
    beta_end: Annotated[float, Field(gt=0, lt=1)] = 0.02
    ema_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of the weights' exponential moving average, which the encoder then uses; None: the raw weights."""
    timestep: NonNegativeInt = 11
    """Timestep whose noise level the encoder adds before it reads the representation."""
    noise: Literal["fixed", "fresh"] = "fixed"
    """Of the encoder: one noise for all images, or, declared random, another one at every call."""
    feature_block: Literal["middle", "up"] = "middle"
    """Read after the middle block, or after the first resolution of the up path."""
    feature_pool: PositiveInt = 1
    """The representation is average-pooled to feature_pool x feature_pool."""
    optimizer: OptimizerConfig
    augmentation: CropFlipConfig

    @model_validator(mode="after")
    def _timestep_exists(self) -> "DiffusionConfig":
        if self.timestep >= self.timesteps:
            raise ValueError(f"timestep {self.timestep} must be below timesteps ({self.timesteps})")
        return self


ParadigmConfig = SupervisedConfig | ContrastiveConfig | MaskedConfig | DiffusionConfig


class ParadigmSections(Config):
    """The part of a preset that says how each paradigm pretrains, under the paradigm's own name."""

    supervised: SupervisedConfig
    contrastive: ContrastiveConfig
    masked: MaskedConfig
    diffusion: DiffusionConfig


class PixelsConfig(Config):
    """No encoder at all: the pixels themselves."""

    paradigm: Literal[Control.PIXELS] = Control.PIXELS


class UntrainedConfig(Config):
    """A paradigm's encoder at its random initialisation."""

    paradigm: Literal["untrained"] = "untrained"
    encoder: ParadigmConfig = Field(discriminator="paradigm")


PretrainConfig = Annotated[
    ParadigmConfig | AdversarialConfig | OutsideConfig | PixelsConfig | UntrainedConfig, Field(discriminator="paradigm")
]
