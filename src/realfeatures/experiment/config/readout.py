"""How a frozen encoder is read."""

from pydantic import model_validator

from realfeatures.experiment.config.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from realfeatures.experiment.config.data import CropFlipConfig, GaussianNoiseConfig, SimCLRAugmentationConfig
from realfeatures.experiment.vocabulary import Config


class TimestepConfig(Config):
    """A diffusion encoder read at another timestep than it was configured with; its weights stay."""

    timestep: NonNegativeInt


class ProbeConfig(Config):
    """A linear classifier on a frozen encoder's standardised representations."""

    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    """Adam's peak learning rate, which falls to zero along a cosine."""
    weight_decay: NonNegativeFloat = 0.0
    augmentation: CropFlipConfig | SimCLRAugmentationConfig | GaussianNoiseConfig | None = None
    """Of the images, before their representations are taken."""
    views: PositiveInt = 1
    """How many augmented copies of each image are represented; one, the image itself, without augmentation."""

    @model_validator(mode="after")
    def _views_differ(self) -> "ProbeConfig":
        if self.augmentation is None and self.views > 1:
            raise ValueError(f"views {self.views}: without augmentation they are all the same; use 1")
        return self


class KNNConfig(Config):
    """A vote of the nearest training images, weighted by similarity (Wu et al. 2018, section 3.4)."""

    neighbours: PositiveInt
    temperature: PositiveFloat
    """Divides the cosine similarities before their exponential is taken."""
