"""ResNets with the CIFAR stem (He et al. 2016): a 3x3 convolution of stride 1 and no pooling.

`ResNetConfig()` is ResNet-18; bottleneck blocks (3, 4, 6, 3) are ResNet-50; tiny ones differ only in size.
"""

from itertools import pairwise
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from realfeatures.experiment.config import ResNetConfig
from realfeatures.science.models.encoder import Encoder

AnyModule = TypeVar("AnyModule", bound=nn.Module)

BOTTLENECK_EXPANSION = 4
"""Output channels of a bottleneck block over its inner ones (He et al. 2016, table 1)."""


class ResNet(Encoder):
    """An encoder that normalises to [-1, 1] and averages its last feature map over the positions."""

    def __init__(self, config: ResNetConfig, *, channels: int) -> None:
        super().__init__()
        block = Bottleneck if config.block == "bottleneck" else BasicBlock
        widths = [config.width * 2**stage for stage in range(len(config.blocks))]
        outputs = [config.width, *(width * block.expansion for width in widths)]
        self.stem = nn.Sequential(_conv3x3(channels, config.width), nn.BatchNorm2d(config.width), nn.ReLU(True))
        stages = []
        for stage, (width, count, (before, after)) in enumerate(
            zip(widths, config.blocks, pairwise(outputs), strict=True)
        ):
            first = block(before, width, stride=1 if stage == 0 else 2)
            stages.append(nn.Sequential(first, *(block(after, width, stride=1) for _ in range(count - 1))))
        self.stages = nn.Sequential(*stages)
        self.dimension = outputs[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return representations (N, dimension)."""
        features: Tensor = self.stages(self.stem(2 * images - 1))  # (N, dimension, h, w)
        return features.mean(dim=(2, 3))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 5 left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv3x3(inputs, width, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            _conv3x3(width, width),
            nn.BatchNorm2d(width),
        )
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, width, h / stride, w / stride)."""
        return F.relu(self.residual(features) + self.shortcut(features))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut (He et al. 2016, figure 5 right)."""

    expansion = BOTTLENECK_EXPANSION

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            _conv3x3(width, width, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, 4 * width, h / stride, w / stride)."""
        return F.relu(self.residual(features) + self.shortcut(features))


def fold_batch_norm(module: AnyModule) -> AnyModule:
    """Fold every BatchNorm that follows a convolution into it, in place: the same function with fewer kernels.

    For frozen networks in eval mode only. Attacks and synthesis spend their time in these.
    """
    for sequence in [child for child in module.modules() if isinstance(child, nn.Sequential)]:
        for index, (first, second) in enumerate(pairwise(list(sequence))):
            # Not subclasses, which timm has: they also standardise their weights, or apply an activation.
            if type(first) is nn.Conv2d and type(second) is nn.BatchNorm2d:
                sequence[index] = fuse_conv_bn_eval(first, second)
                sequence[index + 1] = nn.Identity()
    return module


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
