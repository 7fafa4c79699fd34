"""The U-Net of DDPM (Ho et al. 2020, appendix B): residual blocks with a timestep, attention at low resolution."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realfeatures.experiment.config import DiffusionConfig

TIMESTEP_PERIOD = 10_000
"""Longest period of the timestep's sines (Vaswani et al. 2017; Ho et al. 2020)."""
CHANNELS_PER_GROUP = 4
"""Group norm has 32 groups at DDPM's 128 channels; narrow models keep the channels a group, not the groups."""


class UNet(nn.Module):
    """Predicts the noise in images (N, C, H, W) float, about [-1, 1], at timesteps (N,) int64, or (1,) for all."""

    def __init__(self, config: DiffusionConfig, *, channels: int, resolution: int) -> None:
        super().__init__()
        time_width = 4 * config.width
        widths = [config.width * multiplier for multiplier in config.multipliers]
        self.width = config.width
        self.time = nn.Sequential(nn.Linear(config.width, time_width), nn.SiLU(), nn.Linear(time_width, time_width))
        self.stem = nn.Conv2d(channels, config.width, 3, padding=1)

        def block(inputs: int, level: int) -> Block:
            attends = resolution // 2**level in config.attention_resolutions
            return Block(inputs, widths[level], time_width, dropout=config.dropout, attends=attends)

        skips = [config.width]
        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            for _ in range(config.blocks):
                self.down.append(block(skips[-1], level))
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(Downsample(width))
                skips.append(width)

        bottom = widths[-1]
        self.middle = nn.ModuleList(
            Block(bottom, bottom, time_width, dropout=config.dropout, attends=attends) for attends in (True, False)
        )

        self.up = nn.ModuleList()
        self.first_level_up = config.blocks + 1
        """How many modules of `up` work at the lowest resolution."""
        before = bottom
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(config.blocks + 1):
                self.up.append(block(before + skips.pop(), level))
                before = width
            if level > 0:
                self.up.append(Upsample(width))
        self.out = nn.Sequential(_norm(before), nn.SiLU(), _zero(nn.Conv2d(before, channels, 3, padding=1)))

    def forward(self, images: Tensor, timesteps: Tensor) -> Tensor:
        """Return the predicted noise (N, C, H, W)."""
        time = self._embed_time(timesteps)
        features, skips = self._down(images, time)
        features = self._up(self._middle(features, time), skips, time, modules=len(self.up))
        predicted: Tensor = self.out(features)
        return predicted

    def features(self, images: Tensor, timesteps: Tensor, block: Literal["middle", "up"]) -> Tensor:
        """Return the feature map (N, D, h, w) behind the middle, or behind the first resolution of the up path."""
        time = self._embed_time(timesteps)
        features, skips = self._down(images, time)
        features = self._middle(features, time)
        return features if block == "middle" else self._up(features, skips, time, modules=self.first_level_up)

    def _embed_time(self, timesteps: Tensor) -> Tensor:
        embedded: Tensor = self.time(sinusoidal_embedding(timesteps, self.width))
        return F.silu(embedded)

    def _down(self, images: Tensor, time: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = self.stem(images)
        skips = [features]
        for module in self.down:
            features = module(features, time)
            skips.append(features)
        return features, skips

    def _middle(self, features: Tensor, time: Tensor) -> Tensor:
        for module in self.middle:
            features = module(features, time)
        return features

    def _up(self, features: Tensor, skips: list[Tensor], time: Tensor, *, modules: int) -> Tensor:
        for module in list(self.up)[:modules]:
            if isinstance(module, Block):
                features = torch.cat([features, skips.pop()], dim=1)
            features = module(features, time)
        return features


class Block(nn.Module):
    """A residual block that adds the timestep's embedding, then self-attention where it attends."""

    def __init__(self, inputs: int, outputs: int, time_width: int, *, dropout: float, attends: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.time = nn.Linear(time_width, outputs)
        self.leave = nn.Sequential(
            _norm(outputs), nn.SiLU(), nn.Dropout(dropout), _zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        )
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.attention = Attention(outputs) if attends else nn.Identity()

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        """Return features (N, outputs, h, w) from (N, inputs, h, w) and the embedded timestep (N, time_width)."""
        residual = self.enter(features) + self.time(time)[:, :, None, None]
        features = self.shortcut(features) + self.leave(residual)
        attended: Tensor = self.attention(features)
        return attended


class Attention(nn.Module):
    """Self-attention of one head over all positions of a feature map, added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.query_key_value = nn.Conv2d(width, 3 * width, 1)
        self.out = _zero(nn.Conv2d(width, width, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape (N, D, h, w)."""
        flat = self.query_key_value(self.norm(features)).flatten(2).transpose(1, 2)  # (N, h * w, 3 D)
        query, key, value = flat.unsqueeze(1).chunk(3, dim=3)  # (N, 1, h * w, D) each
        attended = F.scaled_dot_product_attention(query, key, value)[:, 0]  # (N, h * w, D)
        projected: Tensor = self.out(attended.transpose(1, 2).reshape(features.shape))
        return features + projected


class Downsample(nn.Module):
    """Halves the resolution with a convolution of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, features: Tensor, time: Tensor) -> Tensor:  # noqa: ARG002 - called like a Block
        """Return features (N, D, h / 2, w / 2)."""
        return self.conv(features)  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Doubles the resolution: nearest neighbour, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor, time: Tensor) -> Tensor:  # noqa: ARG002 - called like a Block
        """Return features (N, D, 2 h, 2 w)."""
        return self.conv(F.interpolate(features, scale_factor=2.0))  # type: ignore[no-any-return]


def sinusoidal_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Return (N, width) sines and cosines of timesteps (N,) int64 (Ho et al. 2020, appendix B)."""
    half = width // 2
    frequencies = torch.exp(-math.log(TIMESTEP_PERIOD) * torch.arange(half, device=timesteps.device) / max(1, half - 1))
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _norm(width: int) -> nn.GroupNorm:
    groups = math.gcd(max(1, min(32, width // CHANNELS_PER_GROUP)), width)
    return nn.GroupNorm(groups, width, eps=1e-6)  # 1e-6 as in the released DDPM code


def _zero(convolution: nn.Conv2d) -> nn.Conv2d:
    """Start a residual branch at zero, as DDPM does."""
    nn.init.zeros_(convolution.weight)
    assert convolution.bias is not None  # noqa: S101 - narrows the type
    nn.init.zeros_(convolution.bias)
    return convolution
