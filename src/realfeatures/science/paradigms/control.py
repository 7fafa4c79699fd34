"""Controls: encoders that learn nothing, so that a probe's accuracy can be told from the encoder's merit."""

from torch import Tensor

from realfeatures.experiment.config import PixelsConfig
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet
from realfeatures.science.models.encoder import Encoder
from realfeatures.science.paradigms.base import ImageShape, Pretrained, frozen


class Pixels(Encoder):
    """The image itself: (N, C, H, W) float in [0, 1] -> (N, C * H * W)."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.dimension = shape.channels * shape.height * shape.width

    def forward(self, images: Tensor) -> Tensor:
        """Return the pixels of each image in one row."""
        return images.flatten(1)


def build(config: PixelsConfig, shape: ImageShape) -> Pixels:  # noqa: ARG001 - as every paradigm's
    """Return the pixels."""
    return Pixels(shape)


def pretrain(config: PixelsConfig, images: ImageSet, run: Run) -> Pretrained:  # noqa: ARG001 - nothing is trained
    """Return the encoder as it was built."""
    shape = ImageShape.of(images)
    return Pretrained(frozen(build(config, shape)), shape)
