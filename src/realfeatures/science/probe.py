"""Reading classes out of a frozen encoder: the linear probe, and nearest neighbours; neither knows a paradigm.

Representations are extracted once, in eval mode and float32, standardised by the training set's own
mean and deviation (as MAE's probe does by a BatchNorm without weights; He et al. 2022, appendix A.1),
and the standardisation is then folded into the classifier. With augmentation, a fixed number of augmented
copies of each image is extracted, in place of fresh ones in every epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realfeatures.errors import ArtifactError
from realfeatures.experiment.config import (
    CropFlipConfig,
    GaussianNoiseConfig,
    KNNConfig,
    OptimizerConfig,
    ProbeConfig,
    SimCLRAugmentationConfig,
)
from realfeatures.science.artifacts import Artifact, save_tensors
from realfeatures.science.context import Run
from realfeatures.science.data.augment import crop_flip, gaussian_noise, simclr_view
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.inputs import require_eval
from realfeatures.science.models.encoder import Encoder
from realfeatures.science.paradigms import load_encoder
from realfeatures.science.paradigms.base import HEAD_FILE, WithHead, frozen
from realfeatures.science.training import Examples, History, train

EXTRACTION_BATCH = 512
"""Images a forward pass: large enough for a GPU, small enough for a U-Net's activations."""
VARIANCE_FLOOR = 1e-6
"""Added to each feature's variance, as the BatchNorm of MAE's probe does: a constant feature standardises to zero."""


class ProbedEncoder(Protocol):
    """A classifier, images (N, C, H, W) float32 in [0, 1] -> logits (N, K), and the encoder in it."""

    encoder: Encoder

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits (N, K)."""


@dataclass(frozen=True)
class Probe:
    """A trained probe.

    Attributes:
        linear: maps representations (N, D) to logits (N, K).
        history: one row an epoch.
    """

    linear: nn.Linear
    history: History

    def save(self, folder: Path) -> None:
        """Write weight (K, D) and bias (K,) into an artifact's folder."""
        save_tensors(folder / HEAD_FILE, self.linear.state_dict())


def fit(config: ProbeConfig, encoder: nn.Module, images: ImageSet, run: Run | None = None) -> Probe:
    """Fit a linear classifier to a frozen encoder's representations of labelled images.

    Args:
        config: epochs, batch size and Adam's learning rate, which falls to zero along a cosine.
        encoder: frozen and in eval mode; not one of its weights or buffers changes.
        images: with the labels to learn.
        run: seed, device, checkpoint and progress; None: seed 0 on the CPU, and nothing is kept.

    Raises:
        ConfigError: an encoder in train mode.

    Example: pixels tell a bright image from a dark one.
        >>> import torch
        >>> from realfeatures.experiment.config import ProbeConfig
        >>> from realfeatures.science.data.images import ImageSet
        >>> from realfeatures.science.probe import fit
        >>> labels = torch.arange(64) % 2
        >>> images = torch.randint(128, (64, 1, 4, 4), dtype=torch.uint8) + 64 * labels.view(-1, 1, 1, 1).byte()
        >>> encoder = torch.nn.Flatten().eval()
        >>> config = ProbeConfig(epochs=20, batch_size=16, learning_rate=0.1)
        >>> probe = fit(config, encoder, ImageSet(images, labels, ("dark", "bright")))
        >>> (probe.linear(encoder(images / 255)).argmax(dim=1) == labels).float().mean().item()
        1.0
    """
    require_eval(encoder)
    run = run or Run(seed=0)
    representations = torch.cat(
        [extract(encoder, images, run, view=_view(config, run, n)) for n in range(config.views)]
    )
    mean = representations.mean(dim=0)
    deviation = (representations.var(dim=0) + VARIANCE_FLOOR).sqrt()
    linear = nn.Linear(representations.shape[1], len(images.classes), device=run.device)
    # The problem is convex, so the start does not matter but for features that are constant in training: they get no
    # gradient, and a random weight on them, divided by their deviation, would rule the folded classifier.
    nn.init.zeros_(linear.weight)
    optimizer = OptimizerConfig(
        name="adam",
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        batch_size=config.batch_size,
        epochs=config.epochs,
        schedule="cosine",
    )

    def loss(batch: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001 - nothing is random
        return F.cross_entropy(linear(batch), labels)

    labels_of_views = images.labels.to(run.device).repeat(config.views)
    examples = Examples((representations - mean) / deviation, labels_of_views)
    history = train(linear, loss, examples, optimizer, run)
    return Probe(_fold(linear, mean, deviation), history)


View = Callable[[Tensor], Tensor]
"""Maps uint8 images (N, C, H, W) to floats in [0, 1]."""


@torch.no_grad()
def extract(encoder: nn.Module, images: ImageSet, run: Run, *, view: View = to_float) -> Tensor:
    """Return the representations (N, D) float32 of an image set, on the run's device."""
    batches = torch.split(images.images, EXTRACTION_BATCH)
    return torch.cat([encoder(view(batch.to(run.device))) for batch in batches])


def nearest_neighbours(
    config: KNNConfig, encoder: nn.Module, train_set: ImageSet, test_images: Tensor, run: Run
) -> Tensor:
    """Return the class (N,) int64 that each test image's nearest training images vote for, on the run's device.

    Each of the k nearest by cosine similarity s votes for its class with exp(s / temperature); the similarity is taken
    of representations centred at the training set's mean.

    Source: Wu et al. 2018 (arXiv 1805.01978), section 3.4. Deviation: they do not centre, for their network was trained
    to spread its representations over the sphere; a ResNet's lie in one corner of it.
    """
    bank = extract(encoder, train_set, run)
    mean = bank.mean(dim=0)
    bank = F.normalize(bank - mean, dim=1)
    labels = train_set.labels.to(run.device)
    neighbours = min(config.neighbours, len(labels))
    voted = []
    for batch in torch.split(test_images, EXTRACTION_BATCH):
        with torch.no_grad():
            queries = F.normalize(encoder(to_float(batch.to(run.device))) - mean, dim=1)
        similarities, nearest = (queries @ bank.T).topk(neighbours, dim=1)  # (N, k)
        votes = torch.zeros(len(batch), len(train_set.classes), device=run.device)
        votes.scatter_add_(1, labels[nearest], (similarities / config.temperature).exp())
        voted.append(votes.argmax(dim=1))
    return torch.cat(voted)


def _view(config: ProbeConfig, run: Run, number: int) -> View:
    """Return the augmentation of one of a probe's views, with a generator of its own."""
    generator = run.generator(f"view/{number}")
    match config.augmentation:
        case None:
            return to_float
        case CropFlipConfig() as crop:
            return lambda images: crop_flip(images, crop, generator, run.memory_format)
        case SimCLRAugmentationConfig() as simclr:
            return lambda images: simclr_view(images, simclr, generator, run.memory_format)
        case GaussianNoiseConfig() as noise:
            return lambda images: gaussian_noise(images, noise, generator, run.memory_format)


def load_classifier(encoder: Artifact, run: Run, *, probe: Artifact | None = None) -> WithHead:
    """Return a frozen classifier, images (N, C, H, W) float in [0, 1] -> logits (N, K).

    Args:
        encoder: an encoder's artifact.
        run: on whose device the classifier is placed.
        probe: a probe's artifact; None: the head that a supervised encoder was trained with.

    Raises:
        ArtifactError: there is no linear classifier, or it is one for other representations.
    """
    head = probe or encoder
    weights = head.tensors(HEAD_FILE)
    classes, dimension = weights["weight"].shape
    linear = nn.Linear(dimension, classes)
    linear.load_state_dict(weights)
    model = WithHead(load_encoder(encoder, run), linear.to(run.device))
    frozen(model)
    if model.encoder.dimension != dimension:
        raise ArtifactError(
            f"{head}/{HEAD_FILE}: takes {dimension} values, the encoder gives {model.encoder.dimension}; probe again"
        )
    return model


def _fold(linear: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    """Return the classifier that takes representations as they are: W / s and b - W m / s."""
    with torch.no_grad():
        weight = linear.weight / deviation
        bias = linear.bias - weight @ mean
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear
