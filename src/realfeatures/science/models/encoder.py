"""What every encoder is, and how a feature map becomes a representation of fixed length."""

import torch.nn.functional as F
from torch import Tensor, nn


class Encoder(nn.Module):
    """Maps images (N, C, H, W) float in [0, 1] to representations (N, dimension) float.

    It owns its normalisation and is deterministic in eval mode, unless it says that it is randomised.
    """

    dimension: int
    """Length of a representation."""
    randomised: bool = False
    """Whether every call draws fresh noise: AutoAttack has a version of its own for such models."""


def pool_to(features: Tensor, side: int) -> Tensor:
    """Return feature maps (N, D, h, w), whose sides `side` divides, averaged to (N, D * side * side).

    Not adaptive_avg_pool2d: its backward pass has no deterministic form on CUDA.
    """
    kernel = (features.shape[2] // side, features.shape[3] // side)
    return F.avg_pool2d(features, kernel).flatten(1)
