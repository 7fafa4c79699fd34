"""Images: where they come from, and how they are augmented."""

from typing import Annotated, Any

from pydantic import Field

from realfeatures.experiment.config.bounds import Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from realfeatures.experiment.vocabulary import Config


class DataConfig(Config):
    """A labelled image set: where it comes from and how much of it is used."""

    source: str
    """digits | cifar10 | cifar100 | svhn | fashion-mnist | folder:PATH (a tree or an archive of one)"""
    train_size: PositiveInt | None = None
    """Stratified subset of the training images; None: all."""
    test_size: PositiveInt | None = None
    """Stratified subset of the test images; None: all."""
    sha256: str | None = None
    """Digest of a folder's or archive's content; filled in before a run, so that changed data is another cell."""

    def identity(self) -> dict[str, Any]:
        """Leave a folder's path out once its content is known: moving it changes nothing."""
        values = super().identity()
        if self.sha256 is not None:
            values["source"] = "folder"
        return values


class CropFlipConfig(Config):
    """Random translation by zero-padding and cropping, and horizontal flip."""

    padding: NonNegativeInt = 4
    flip: bool = True
    """False for digits and house numbers, where a mirror image is another thing."""


class SimCLRAugmentationConfig(Config):
    """SimCLR's augmentation (Chen et al. 2020, appendix A)."""

    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Smallest area of the random resized crop."""
    flip: bool = True
    brightness: Fraction = 0.8
    contrast: Fraction = 0.8
    saturation: Fraction = 0.8
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    jitter_probability: Fraction = 0.8
    grey_probability: Fraction = 0.2
    blur_probability: Fraction = 0.5


class GaussianNoiseConfig(Config):
    """Normal noise on every value, cut to [0, 1] with the image."""

    deviation: PositiveFloat
