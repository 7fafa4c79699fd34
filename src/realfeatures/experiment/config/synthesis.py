"""How image sets are made from natural images."""

from typing import Literal

from realfeatures.experiment.config.attacks import PGDConfig
from realfeatures.experiment.config.bounds import PositiveFloat, PositiveInt
from realfeatures.experiment.vocabulary import Config


class MatchingConfig(Config):
    """Representation matching, which makes D_R and D_NR (Ilyas et al. 2019, section 3.1, equation 6)."""

    step_size: PositiveFloat
    """L2 length of a step."""
    steps: PositiveInt
    decay: bool = False
    """True: the step size falls linearly to a tenth over the steps."""
    delta: PositiveFloat | None = None
    """Bound on the L2 distance to the start image; None: unbounded."""
    start: Literal["image", "noise"] = "image"
    """Another training image, or uniform noise."""
    batch_size: PositiveInt = 512


class TargetedConfig(PGDConfig):
    """Targeted PGD, which makes D_rand and D_det (Ilyas et al. 2019, section 3.2)."""

    targets: Literal["random", "next"] = "random"
    """A uniformly random class, or the one after the image's own."""
    batch_size: PositiveInt = 512


class RelabellingConfig(Config):
    """Natural images with another set's labels."""

    order: Literal["kept", "shuffled"]
    """shuffled: each label goes to a random image, so that none tells of its own."""
