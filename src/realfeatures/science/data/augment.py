"""Augmentations on whole batches, on the device, with parameters of each image's own.

Inputs are uint8 batches (N, C, H, W) unless a name says float; outputs are float in [0, 1] in the asked memory
format. All randomness comes from the given generator.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from realfeatures.experiment.config import CropFlipConfig, GaussianNoiseConfig, SimCLRAugmentationConfig
from realfeatures.science.data.images import to_float

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601, as torchvision has them)."""
ASPECT_RATIOS = (3 / 4, 4 / 3)
"""Range of a crop's aspect ratio (Szegedy et al. 2015; SimCLR appendix A)."""
BLUR_SIGMAS = (0.1, 2.0)
"""Range of the blur's standard deviation in pixels (SimCLR appendix A)."""
BLUR_SHARE = 0.1
"""Size of the blur's kernel as a share of the image's height (SimCLR appendix A)."""


def crop_flip(
    batch: Tensor, config: CropFlipConfig, generator: torch.Generator, memory_format: torch.memory_format
) -> Tensor:
    """Return each image shifted by up to `padding` pixels over a black border, and mirrored half of the time."""
    count, _, height, width = batch.shape
    rows = torch.arange(height, device=batch.device).expand(count, -1)
    columns = torch.arange(width, device=batch.device).expand(count, -1)
    if config.flip:
        mirrored = _uniform(count, generator)[:, None] < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if config.padding:
        batch = F.pad(batch, (config.padding,) * 4)
        shifts = torch.randint(2 * config.padding + 1, (2, count, 1), generator=generator, device=batch.device)
        rows, columns = rows + shifts[0], columns + shifts[1]
    images = torch.arange(count, device=batch.device)[:, None, None]
    moved = batch.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    return to_float(moved.permute(0, 3, 1, 2)).contiguous(memory_format=memory_format)


def gaussian_noise(
    batch: Tensor, config: GaussianNoiseConfig, generator: torch.Generator, memory_format: torch.memory_format
) -> Tensor:
    """Return each image with normal noise on every value, cut to [0, 1]."""
    noise = torch.randn(batch.shape, generator=generator, device=batch.device)
    return (to_float(batch) + config.deviation * noise).clamp_(0, 1).contiguous(memory_format=memory_format)


def simclr_view(
    batch: Tensor, config: SimCLRAugmentationConfig, generator: torch.Generator, memory_format: torch.memory_format
) -> Tensor:
    """Return one random view: resized crop, flip, colour jitter, grey, blur.

    Source: Chen et al. 2020, appendix A. Deviation: jitter's four parts come in a fixed order.
    """
    return simclr_view_of_float(to_float(batch), config, generator).contiguous(memory_format=memory_format)


def simclr_view_of_float(images: Tensor, config: SimCLRAugmentationConfig, generator: torch.Generator) -> Tensor:
    """Return a view of float images (N, C, H, W) in [0, 1], differentiable with respect to them."""
    view = _resized_crop(images, config, generator)
    view = _jitter(view, config, generator)
    return _blur(view, config.blur_probability, generator) if config.blur_probability else view


def _resized_crop(images: Tensor, config: SimCLRAugmentationConfig, generator: torch.Generator) -> Tensor:
    """Crop a random area and aspect ratio, resize it back and mirror half of the time, by one resampling."""
    count = len(images)
    area = config.min_scale + (1 - config.min_scale) * _uniform(count, generator)
    low, high = (math.log(ratio) for ratio in ASPECT_RATIOS)
    ratio = torch.exp(low + (high - low) * _uniform(count, generator))
    # Sides as shares of the image's; a crop wider than the image is cut to it.
    widths = (area * ratio).sqrt().clamp_(max=1)
    heights = (area / ratio).sqrt().clamp_(max=1)
    # grid_sample's coordinates run from -1 to 1, so that a crop of share s has its centre within 1 - s.
    centre_x = (2 * _uniform(count, generator) - 1) * (1 - widths)
    centre_y = (2 * _uniform(count, generator) - 1) * (1 - heights)
    if config.flip:
        widths = widths * (1 - 2 * (_uniform(count, generator) < 0.5).float())
    zeros = torch.zeros_like(area)
    matrices = torch.stack([widths, zeros, centre_x, zeros, heights, centre_y], dim=1).view(count, 2, 3)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _jitter(images: Tensor, config: SimCLRAugmentationConfig, generator: torch.Generator) -> Tensor:
    """Jitter brightness, contrast, saturation and hue of some images, and turn some grey."""
    count = len(images)
    changed = _factor(config.brightness, count, generator) * images
    changed = changed.clamp(0, 1)
    changed = _blend(changed, grey(changed).mean(dim=(1, 2, 3), keepdim=True), config.contrast, generator)
    if images.shape[1] == len(LUMA):
        changed = _blend(changed, grey(changed), config.saturation, generator)
        if config.hue:
            changed = shift_hue(changed, config.hue * (2 * _uniform(count, generator) - 1))
    images = torch.where(_chosen(config.jitter_probability, count, generator), changed, images)
    if config.grey_probability:
        images = torch.where(_chosen(config.grey_probability, count, generator), grey(images), images)
    return images


def grey(images: Tensor) -> Tensor:
    """Return the luma (N, 1, H, W) of images (N, 3, H, W); grey images (N, 1, H, W) as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(dim=1)
    luma: Tensor = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return luma.unsqueeze(1)


def shift_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Return images (N, 3, H, W) in [0, 1] with hue turned by shifts (N,), in turns, by way of HSV.

    Source: Smith 1978; the closed form of the way back is Wikipedia's "HSL and HSV", HSV to RGB alternative.
    """
    value, largest = images.max(dim=1)
    chroma = value - images.min(dim=1).values
    red, green, blue = images.unbind(dim=1)
    divisor = chroma.clamp_min(torch.finfo(images.dtype).tiny)
    sectors = torch.stack([(green - blue) / divisor, 2 + (blue - red) / divisor, 4 + (red - green) / divisor], dim=1)
    hue = sectors.gather(1, largest[:, None]) + 6 * shifts[:, None, None, None]  # (N, 1, H, W), in sixths of a turn
    distance = torch.cat([5 + hue, 3 + hue, 1 + hue], dim=1) % 6  # of red, green and blue
    return value[:, None] - chroma[:, None] * torch.minimum(distance, 4 - distance).clamp(0, 1)


def _blur(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Blur some images with a Gaussian of each image's own width, along columns and then along rows."""
    count, channels, height, _ = images.shape
    radius = max(1, round(BLUR_SHARE * height) // 2)
    low, high = BLUR_SIGMAS
    sigmas = low + (high - low) * _uniform(count, generator)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernels = torch.exp(-(offsets**2) / (2 * sigmas[:, None] ** 2))
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)  # (N C, 2 r + 1)
    flat = F.pad(images, (radius,) * 4, mode="replicate").reshape(1, count * channels, height + 2 * radius, -1)
    flat = F.conv2d(flat, kernels[:, None, :, None], groups=count * channels)
    flat = F.conv2d(flat, kernels[:, None, None, :], groups=count * channels)
    blurred = flat.reshape(images.shape)
    return torch.where(_chosen(probability, count, generator), blurred, images)


def _blend(images: Tensor, other: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Move images towards or away from `other` by a random factor of 1 +- strength."""
    factor = _factor(strength, len(images), generator)
    return (factor * images + (1 - factor) * other).clamp(0, 1)


def _factor(strength: float, count: int, generator: torch.Generator) -> Tensor:
    low = max(0.0, 1 - strength)
    return (low + (1 + strength - low) * _uniform(count, generator)).view(-1, 1, 1, 1)


def _chosen(probability: float, count: int, generator: torch.Generator) -> Tensor:
    return (_uniform(count, generator) < probability).view(-1, 1, 1, 1)


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)
