"""Diffusion models: DDPM (Ho et al. 2020) learns to predict noise; its U-Net at one small timestep is the encoder."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from realfeatures.experiment.config import DiffusionConfig
from realfeatures.science.context import Run
from realfeatures.science.data.augment import crop_flip
from realfeatures.science.data.images import ImageSet
from realfeatures.science.models.encoder import Encoder, pool_to
from realfeatures.science.models.unet import UNet
from realfeatures.science.paradigms.base import ImageShape, Pretrained, examples_of, frozen, place
from realfeatures.science.training import MovingAverage, train


class DiffusionEncoder(Encoder):
    """A U-Net's features at one timestep, as an encoder that normalises to [-1, 1].

    The image is noised to the configured timestep with one fixed noise, kept with the weights, so that
    the encoder is deterministic; the U-Net's feature map is then average-pooled. With fresh noise, drawn from torch's
    global generator, it says that it is `randomised`, and AutoAttack takes its version for such models.

    Deviation: the reference code always draws fresh noise (train_dm.py:234), and attacks as if it did not, which makes
    an attack's success a matter of luck.
    """

    noise: Tensor
    signal: Tensor

    def __init__(self, config: DiffusionConfig, shape: ImageShape) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet(config, channels=shape.channels, resolution=shape.height)
        self.register_buffer("noise", torch.randn(1, shape.channels, shape.height, shape.width))
        signal = alphas_cumprod(config, torch.device("cpu"))[config.timestep : config.timestep + 1]
        self.register_buffer("signal", signal, persistent=False)
        self.randomised = config.noise == "fresh"
        self.dimension = config.width * config.multipliers[-1] * config.feature_pool**2

    def forward(self, images: Tensor) -> Tensor:
        """Return representations (N, dimension)."""
        # One timestep for the whole batch: its embedding is computed once and broadcast.
        timestep = torch.full((1,), self.config.timestep, device=images.device)
        noise = torch.randn_like(images) if self.randomised else self.noise
        noised = q_sample(2 * images - 1, noise, self.signal)
        features = self.unet.features(noised, timestep, self.config.feature_block)
        return pool_to(features, self.config.feature_pool)


def build(config: DiffusionConfig, shape: ImageShape) -> DiffusionEncoder:
    """Return the encoder at its initialisation."""
    return DiffusionEncoder(config, shape)


def pretrain(config: DiffusionConfig, images: ImageSet, run: Run) -> Pretrained:
    """Train a U-Net to predict noise; labels are not used."""
    shape = ImageShape.of(images)
    encoder = build(config, shape)
    place(encoder, run).train()
    average = None if config.ema_decay is None else MovingAverage(encoder.unet, config.ema_decay)
    predict, signal_levels = run.mixed(encoder.unet), alphas_cumprod(config, run.device)

    def loss(batch: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001 - label-free
        clean = 2 * crop_flip(batch, config.augmentation, generator, run.memory_format) - 1
        timesteps = torch.randint(config.timesteps, (len(clean),), generator=generator, device=clean.device)
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        return noise_prediction_loss(predict, clean, noise, timesteps, signal_levels)

    history = train(encoder.unet, loss, examples_of(images, run), config.optimizer, run, average=average)
    if average is not None:
        average.copy_to(encoder.unet)
    frozen(encoder)
    return Pretrained(encoder, shape, history=history)


def noise_prediction_loss(
    predict: Callable[[Tensor, Tensor], Tensor], clean: Tensor, noise: Tensor, timesteps: Tensor, signal_levels: Tensor
) -> Tensor:
    """Return the mean squared error between the noise and what is predicted of it.

    Args:
        predict: (noised images (N, C, H, W), timesteps (N,)) -> predicted noise (N, C, H, W).
        clean: (N, C, H, W) images in [-1, 1].
        noise: (N, C, H, W) standard normal.
        timesteps: (N,) int64.
        signal_levels: (T,) from `alphas_cumprod`.

    Returns:
        Scalar. Source: Ho et al. 2020, equation 14 (L_simple).

    Example: on black images, of which sqrt(1 - 0.75) = 1/2 of the noise is left, one who doubles what it sees is right.
        >>> import torch
        >>> from realfeatures.science.paradigms.diffusion import noise_prediction_loss
        >>> clean, noise = torch.zeros(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
        >>> timesteps, signal_levels = torch.tensor([1, 1]), torch.tensor([1.0, 0.75])
        >>> noise_prediction_loss(lambda noised, timesteps: 2 * noised, clean, noise, timesteps, signal_levels).item()
        0.0
    """
    return F.mse_loss(predict(q_sample(clean, noise, signal_levels[timesteps]), timesteps), noise)


def alphas_cumprod(config: DiffusionConfig, device: torch.device) -> Tensor:
    """Return (T,) float32, the share of the image's variance that is left at each timestep.

    Source: Ho et al. 2020, section 2, with linearly rising betas. In float64: a product of a thousand factors.
    """
    betas = torch.linspace(config.beta_start, config.beta_end, config.timesteps, dtype=torch.float64)
    return (1 - betas).cumprod(0).float().to(device)


def q_sample(clean: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """Return images noised to a timestep: sqrt(a) x + sqrt(1 - a) e.

    Args:
        clean: (N, C, H, W) images in [-1, 1].
        noise: (N, C, H, W) standard normal, or (1, C, H, W) for all.
        signal: (N,) the cumulated alpha of each image's timestep, or (1,) for all.

    Source: Ho et al. 2020, equation 4.
    """
    level = signal[:, None, None, None]
    return level.sqrt() * clean + (1 - level).sqrt() * noise
