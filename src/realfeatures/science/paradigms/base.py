"""What every paradigm brings: a builder of its encoder and a training of it, as a protocol.

The probe and the attacks know no paradigm: they are given an `Encoder` (models/encoder.py).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from realfeatures.science.artifacts import save_tensors
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet
from realfeatures.science.models.encoder import Encoder
from realfeatures.science.training import Examples, History

AnyModule = TypeVar("AnyModule", bound=nn.Module)

ENCODER_FILE = "encoder.safetensors"
HEAD_FILE = "probe.safetensors"
"""A linear classifier, (K, D) `weight` and (K,) `bias`: of a probe, or a supervised model's own."""
PROJECTION_FILE = "projection.safetensors"
"""A contrastive model's projection head, which only its own loss needs again."""


@dataclass(frozen=True)
class ImageShape:
    """Channels, height and width of the images that an encoder takes."""

    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, images: ImageSet) -> "ImageShape":
        """Return the shape of a set's images."""
        return cls(*images.images.shape[1:])


@dataclass(frozen=True)
class Pretrained:
    """A trained encoder and what is kept with it.

    Attributes:
        encoder: the module, in eval mode.
        shape: of the images that it was built for.
        head: a supervised model's own linear classifier.
        projection_head: a contrastive model's.
        history: one row an epoch.
    """

    encoder: Encoder
    shape: ImageShape
    head: nn.Linear | None = None
    projection_head: nn.Module | None = field(default=None, kw_only=True)
    history: History = field(default_factory=list, kw_only=True)

    def save(self, folder: Path) -> None:
        """Write the weights, and the heads where there are any, into an artifact's folder."""
        save_tensors(folder / ENCODER_FILE, self.encoder.state_dict())
        for name, head in ((HEAD_FILE, self.head), (PROJECTION_FILE, self.projection_head)):
            if head is not None:
                save_tensors(folder / name, head.state_dict())


class ParadigmModule(Protocol):
    """A module of this package: how its encoder is built and how it learns.

    `build(config, shape)` returns the encoder at its initialisation, from torch's global generator;
    `pretrain(config, images, run)` returns the trained one.
    """

    def build(self, config: Any, shape: ImageShape) -> Encoder:
        """Return the encoder at its initialisation."""

    def pretrain(self, config: Any, images: ImageSet, run: Run) -> Pretrained:
        """Return the trained encoder."""


def examples_of(images: ImageSet, run: Run) -> Examples:
    """Return a set's uint8 images and labels on the run's device."""
    return Examples(images.images.to(run.device), images.labels.to(run.device))


def place(module: AnyModule, run: Run) -> AnyModule:
    """Move a module to the run's device in the run's memory format."""
    # nn.Module.to has no overload for a memory format alone.
    return module.to(device=run.device, memory_format=run.memory_format)  # type: ignore[call-overload,no-any-return]


def frozen(module: AnyModule) -> AnyModule:
    """Put a module into eval mode, drop its weights' gradients and ask for none, in place."""
    module.zero_grad(set_to_none=True)
    return module.eval().requires_grad_(False)


class WithHead(nn.Module):
    """An encoder and a module on its representations, trained as one."""

    encoder: Encoder
    head: nn.Module

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Return the head's output for images (N, C, H, W) float in [0, 1]."""
        output: Tensor = self.head(self.encoder(images))
        return output
