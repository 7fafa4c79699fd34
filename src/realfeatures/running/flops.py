"""Floating-point operations of each architecture on one image; each function walks its module in science/models/.

A multiply-add is two operations. Convolutions, matrix products and attention are counted; normalisation,
activations and augmentation are not. Imports no torch, whose own count tests hold against these.
"""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from realfeatures.experiment.config import DiffusionConfig, MaskedConfig, ResNetConfig
from realfeatures.science.data.decoded import Sizes


def resnet_widths(config: ResNetConfig) -> list[int]:
    """Return the channels behind each stage; a bottleneck block has four times its inner ones."""
    expansion = 4 if config.block == "bottleneck" else 1
    return [config.width * 2**stage * expansion for stage in range(len(config.blocks))]


def resnet_flops(config: ResNetConfig, info: Sizes) -> float:
    """Return the operations of a ResNet with the CIFAR stem (He et al. 2016, table 1)."""
    height, width = info.height, info.width
    flops, inputs = _conv(info.channels, config.width, 3, height * width), config.width
    for stage, outputs in enumerate(resnet_widths(config)):
        inner = config.width * 2**stage
        for block in range(config.blocks[stage]):
            entered = height * width
            if stage > 0 and block == 0:
                height, width = (height + 1) // 2, (width + 1) // 2
            positions = height * width
            if config.block == "bottleneck":
                flops += _conv(inputs, inner, 1, entered) + _conv(inner, inner, 3, positions)
                flops += _conv(inner, outputs, 1, positions)
            else:
                flops += _conv(inputs, inner, 3, positions) + _conv(inner, outputs, 3, positions)
            if inputs != outputs or entered != positions:
                flops += _conv(inputs, outputs, 1, positions)
            inputs = outputs
    return flops


def vit_flops(config: MaskedConfig, info: Sizes, *, visible: int | None = None) -> float:
    """Return the operations of MAE's encoder on an image of which `visible` patches, or all, are encoded."""
    patches = _patches(config, info)
    embed = 2.0 * info.channels * config.patch_size**2 * config.width * patches
    tokens = 1 + (patches if visible is None else visible)
    return embed + config.encoder_blocks * _transformer_block(tokens, config.width)


def mae_flops(config: MaskedConfig, info: Sizes) -> float:
    """Return the operations of MAE's encoder and decoder, as in pretraining."""
    patches = _patches(config, info)
    visible = max(1, int(patches * (1 - config.mask_ratio)))
    embed = 2.0 * config.width**2 * (1 + visible)
    blocks = config.decoder_blocks * _transformer_block(1 + patches, config.width)
    predict = 2.0 * config.width * info.channels * config.patch_size**2 * patches
    return vit_flops(config, info, visible=visible) + embed + blocks + predict


@dataclass(frozen=True)
class _Level:
    """A resolution of the U-Net."""

    width: int
    positions: int
    attends: bool
    time_width: int

    def block(self, inputs: int, *, attends: bool) -> float:
        """Return the operations of a residual block that takes in so many channels."""
        flops = _conv(inputs, self.width, 3, self.positions) + _conv(self.width, self.width, 3, self.positions)
        flops += 2.0 * self.time_width * self.width
        if inputs != self.width:
            flops += _conv(inputs, self.width, 1, self.positions)
        return flops + (_attention(self.positions, self.width) if attends else 0.0)


def unet_flops(config: DiffusionConfig, info: Sizes, *, until: Literal["middle", "up", "out"] = "out") -> float:
    """Return the operations of DDPM's U-Net: all, or those up to where the encoder reads its features."""
    levels = _levels(config, info)
    top, bottom, time_width = levels[0], levels[-1], 4 * config.width
    flops = 2.0 * (config.width * time_width + time_width**2)
    flops += _conv(info.channels, config.width, 3, top.positions)
    skips = [config.width]
    for level, lower in zip_longest(levels, levels[1:]):
        for _ in range(config.blocks):
            flops += level.block(skips[-1], attends=level.attends)
            skips.append(level.width)
        if lower is not None:
            flops += _conv(level.width, level.width, 3, lower.positions)
            skips.append(level.width)
    flops += bottom.block(bottom.width, attends=True) + bottom.block(bottom.width, attends=False)
    if until == "middle":
        return flops
    before = bottom.width
    for level, upper in zip_longest(levels[::-1], levels[-2::-1]):
        for _ in range(config.blocks + 1):
            flops += level.block(before + skips.pop(), attends=level.attends)
            before = level.width
        if until == "up":
            return flops
        if upper is not None:
            flops += _conv(before, before, 3, upper.positions)
    return flops + _conv(before, info.channels, 3, top.positions)


def _levels(config: DiffusionConfig, info: Sizes) -> list[_Level]:
    return [
        _Level(
            width=config.width * multiplier,
            positions=(info.height // 2**level) * (info.width // 2**level),
            attends=info.height // 2**level in config.attention_resolutions,
            time_width=4 * config.width,
        )
        for level, multiplier in enumerate(config.multipliers)
    ]


def _patches(config: MaskedConfig, info: Sizes) -> int:
    return (info.height // config.patch_size) * (info.width // config.patch_size)


def _conv(inputs: int, outputs: int, kernel: int, positions: int) -> float:
    return 2.0 * inputs * outputs * kernel**2 * positions


def _attention(tokens: int, width: int) -> float:
    """Query, key, value and output projections, and the two products of attention."""
    return 2.0 * tokens * width * 4 * width + 2 * 2.0 * tokens**2 * width


def _transformer_block(tokens: int, width: int) -> float:
    return _attention(tokens, width) + 2 * 2.0 * tokens * width * 4 * width
