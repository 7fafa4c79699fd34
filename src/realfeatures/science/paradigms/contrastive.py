"""Contrastive learning: SimCLR (Chen et al. 2020), two augmented views of each image and the NT-Xent loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realfeatures.experiment.config import ContrastiveConfig
from realfeatures.science.context import Run
from realfeatures.science.data.augment import simclr_view
from realfeatures.science.data.images import ImageSet
from realfeatures.science.inputs import require_positive, require_views
from realfeatures.science.models.resnet import ResNet
from realfeatures.science.paradigms.base import ImageShape, Pretrained, WithHead, examples_of, frozen, place
from realfeatures.science.training import train


def build(config: ContrastiveConfig, shape: ImageShape) -> ResNet:
    """Return the ResNet at its initialisation, without the projection head."""
    return ResNet(config.model, channels=shape.channels)


def pretrain(config: ContrastiveConfig, images: ImageSet, run: Run) -> Pretrained:
    """Train a ResNet under a projection head, which no probe ever sees; labels are not used."""
    shape = ImageShape.of(images)
    encoder = build(config, shape)
    projection_head = build_projection_head(config, encoder.dimension)
    model = place(WithHead(encoder, projection_head), run).train()
    project = run.mixed(model)

    def loss(batch: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001 - label-free
        views = [simclr_view(batch, config.augmentation, generator, run.memory_format) for _ in range(2)]
        first, second = project(torch.cat(views)).chunk(2)
        return nt_xent_loss(first, second, config.temperature)

    history = train(model, loss, examples_of(images, run), config.optimizer, run)
    frozen(model)
    return Pretrained(encoder, shape, projection_head=projection_head, history=history)


def build_projection_head(config: ContrastiveConfig, dimension: int) -> nn.Sequential:
    """Return the projection head, (N, dimension) -> (N, projection_output), at its initialisation."""
    return nn.Sequential(
        nn.Linear(dimension, config.projection_hidden),
        nn.ReLU(True),
        nn.Linear(config.projection_hidden, config.projection_output),
    )


def nt_xent_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of two views.

    Row i of `first` and of `second` are a positive pair; the other 2N - 2 projections are its negatives.

    Args:
        first: (N, D) projections of the first views.
        second: (N, D) projections of the second views.
        temperature: divides the cosine similarities.

    Returns:
        Scalar: the mean over all 2N anchors.

    Raises:
        ConfigError: a temperature that is not finite and above 0.
        DataError: views of different shapes, or fewer than two pairs, of which none has a negative.

    Source: Chen et al. 2020, equation 1.

    Example: two pairs at right angles to each other, so that the loss is -log(e / (e + 1 + 1)).
        >>> import torch
        >>> from realfeatures.science.paradigms.contrastive import nt_xent_loss
        >>> round(nt_xent_loss(torch.eye(2), torch.eye(2), temperature=1.0).item(), 4)
        0.5514
    """
    require_views(first, second)
    require_positive("temperature", temperature)
    projections = F.normalize(torch.cat([first, second]), dim=1)  # (2N, D)
    similarities = projections @ projections.T / temperature  # (2N, 2N)
    similarities = similarities.masked_fill(
        torch.eye(len(projections), dtype=torch.bool, device=first.device), float("-inf")
    )
    positives = torch.arange(len(projections), device=first.device).roll(len(first))
    return F.cross_entropy(similarities, positives)
