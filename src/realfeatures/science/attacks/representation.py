"""The label-free attack: move an image's representation as far as the threat model allows.

It asks how stable an encoder is without any readout, so that a probe's own weakness cannot hide it.
Source: the distance that synthesis descends (Ilyas et al. 2019, arXiv 1905.02175, equation 6), here ascended.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from realfeatures.science.attacks.pgd import Objective


def away_from(encoder: Callable[[Tensor], Tensor], images: Tensor) -> Objective:
    """Return ||g(x') - g(x)||_2 of each image, (N,), for `pgd` to make larger.

    At x itself it has its minimum and no gradient, so give `pgd` a generator for a random start.

    Args:
        encoder: g, deterministic: images (N, C, H, W) float32 in [0, 1] -> representations (N, D).
        images: x, (N, C, H, W) float32 in [0, 1]; the objective takes x' in the same order.
    """
    with torch.no_grad():
        originals = encoder(images)

    def distance(moved: Tensor) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(encoder(moved) - originals, dim=1)
        return lengths

    return distance
