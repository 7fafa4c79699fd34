"""The linear probe: a linear classifier on a frozen encoder's representations; it knows no paradigm.

Representations are extracted once, in eval mode and float32, standardised by the training set's own
mean and deviation (as MAE's probe does by a BatchNorm without weights; He et al. 2022, appendix A.1),
and the standardisation is then folded into the classifier.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realfeatures.artifacts import load_tensors, save_tensors
from realfeatures.config import OptimizerConfig, ProbeConfig
from realfeatures.data.images import ImageSet, to_float
from realfeatures.errors import ArtifactError
from realfeatures.paradigms import load_encoder
from realfeatures.paradigms.base import HEAD_FILE, WithHead, frozen
from realfeatures.run import Run
from realfeatures.training import Examples, History, train

EXTRACTION_BATCH = 512
"""Images a forward pass: large enough for a GPU, small enough for a U-Net's activations."""
VARIANCE_FLOOR = 1e-6
"""Added to each feature's variance, as the BatchNorm of MAE's probe does: a constant feature standardises to zero."""


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


def fit(config: ProbeConfig, encoder: nn.Module, images: ImageSet, run: Run) -> Probe:
    """Fit a linear classifier to a frozen encoder's representations of labelled images.

    Args:
        config: epochs, batch size and Adam's learning rate, which falls to zero along a cosine.
        encoder: frozen and in eval mode; not one of its weights or buffers changes.
        images: with the labels to learn.
        run: seed, device, checkpoint and progress.
    """
    representations = extract(encoder, images, run)
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

    examples = Examples((representations - mean) / deviation, images.labels.to(run.device))
    history = train(linear, loss, examples, optimizer, run)
    return Probe(_fold(linear, mean, deviation), history)


@torch.no_grad()
def extract(encoder: nn.Module, images: ImageSet, run: Run) -> Tensor:
    """Return the representations (N, D) float32 of an image set, on the run's device."""
    batches = torch.split(images.images, EXTRACTION_BATCH)
    return torch.cat([encoder(to_float(batch.to(run.device))) for batch in batches])


def load_classifier(encoder: Path, probe: Path, run: Run) -> nn.Module:
    """Return a frozen classifier, images (N, C, H, W) float in [0, 1] -> logits (N, K).

    Args:
        encoder: an encoder's artifact.
        probe: a probe's artifact, or a supervised encoder's, which holds its own head.
        run: on whose device the classifier is placed.

    Raises:
        ArtifactError: `probe` holds no linear classifier, or one for other representations.
    """
    weights = load_tensors(probe / HEAD_FILE)
    classes, dimension = weights["weight"].shape
    linear = nn.Linear(dimension, classes)
    linear.load_state_dict(weights)
    model = frozen(WithHead(load_encoder(encoder, run), linear.to(run.device)))
    found = getattr(model.encoder, "dimension", dimension)
    if found != dimension:
        raise ArtifactError(
            f"{probe.name}/{HEAD_FILE}: takes {dimension} values, the encoder gives {found}; probe again"
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
