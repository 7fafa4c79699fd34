"""Masked image modelling: MAE (He et al. 2022), reconstruct the masked patches from the visible ones."""

import torch
from torch import Tensor, nn

from realfeatures.experiment.config import MaskedConfig
from realfeatures.science.context import Run
from realfeatures.science.data.augment import crop_flip
from realfeatures.science.data.images import ImageSet
from realfeatures.science.models.vit import MaskedDecoder, MaskedEncoder, patchify
from realfeatures.science.paradigms.base import ImageShape, Pretrained, examples_of, frozen, place
from realfeatures.science.training import train


def build(config: MaskedConfig, shape: ImageShape) -> MaskedEncoder:
    """Return the encoder at its initialisation, without the decoder."""
    return MaskedEncoder(config, channels=shape.channels, height=shape.height, width=shape.width)


def pretrain(config: MaskedConfig, images: ImageSet, run: Run) -> Pretrained:
    """Train an encoder under a decoder, which is then thrown away; labels are not used."""
    shape = ImageShape.of(images)
    encoder = build(config, shape)
    decoder = MaskedDecoder(config, channels=shape.channels, height=shape.height, width=shape.width)
    model = place(nn.ModuleDict({"encoder": encoder, "decoder": decoder}), run).train()
    encode, decode = run.mixed(encoder.encode), run.mixed(decoder)

    def loss(batch: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001 - label-free
        seen = crop_flip(batch, config.augmentation, generator, run.memory_format)
        patches = patchify(2 * seen - 1, config.patch_size)  # (N, T, C * patch^2)
        shuffle = random_shuffle(patches, generator)
        visible = visible_count(patches.shape[1], config.mask_ratio)
        predicted = decode(encode(seen, shuffle[:, :visible]), shuffle)
        return masked_reconstruction_loss(predicted, patches, shuffle[:, visible:])

    history = train(model, loss, examples_of(images, run), config.optimizer, run)
    frozen(model)
    return Pretrained(encoder, shape, history=history)


def visible_count(patches: int, mask_ratio: float) -> int:
    """Return how many patches stay visible: those that the ratio leaves, and at least one."""
    return max(1, int(patches * (1 - mask_ratio)))


def random_shuffle(patches: Tensor, generator: torch.Generator) -> Tensor:
    """Return (N, T) int64, a permutation of each image's patches (N, T, P): uniform noise, sorted."""
    noise = torch.rand(patches.shape[:2], generator=generator, device=patches.device)
    return noise.argsort(dim=1)


def masked_reconstruction_loss(predicted: Tensor, patches: Tensor, masked: Tensor) -> Tensor:
    """Return the mean squared error over the masked patches.

    Args:
        predicted: (N, T, P) predicted pixels.
        patches: (N, T, P) true pixels, in [-1, 1].
        masked: (N, M) int64, the masked patches' indices.

    Returns:
        Scalar. Source: He et al. 2022, section 3, on pixels that are not normalised by patch, as in ref.

    Example: of three patches the last two are masked, one of them wrong by 1 in each of its four pixels.
        >>> import torch
        >>> from realfeatures.science.paradigms.masked import masked_reconstruction_loss
        >>> patches = torch.zeros(1, 3, 4)
        >>> predicted = torch.tensor([5.0, 0.0, 1.0]).view(1, 3, 1).expand(1, 3, 4)
        >>> masked_reconstruction_loss(predicted, patches, masked=torch.tensor([[1, 2]])).item()
        0.5
    """
    errors = (predicted - patches).square().mean(dim=2)  # (N, T)
    return errors.gather(1, masked).mean()
