"""Pooling of feature maps to a fixed size."""

import torch.nn.functional as F
from torch import Tensor


def pool_to(features: Tensor, side: int) -> Tensor:
    """Return feature maps (N, D, h, w), whose sides `side` divides, averaged to (N, D * side * side).

    Not adaptive_avg_pool2d: its backward pass has no deterministic form on CUDA.
    """
    kernel = (features.shape[2] // side, features.shape[3] // side)
    return F.avg_pool2d(features, kernel).flatten(1)
