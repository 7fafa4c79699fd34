"""Labelled image sets: uint8 in memory and on disk, floats in [0, 1] only where something computes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from realfeatures.errors import ArtifactError
from realfeatures.science.artifacts import Artifact, save_tensors

Split = Literal["train", "test"]


@dataclass(frozen=True)
class ImageSet:
    """N labelled images.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64 in [0, len(classes)).
        classes: the names of the classes, by label.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "ImageSet":
        """Return the same set with its tensors on `device`, where it stays for a whole stage."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.classes)

    def first(self, count: int) -> "ImageSet":
        """Return the first `count` images, or all where there are fewer."""
        return ImageSet(self.images[:count], self.labels[:count], self.classes)


def to_float(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]."""
    return images.float().div_(255)


def to_uint8(images: Tensor) -> Tensor:
    """Return float images in [0, 1] rounded to the 256 levels of a real image."""
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def save_split(folder: Path, split: Split, images: ImageSet) -> None:
    """Write one split of an image-set artifact; class names go into its manifest's attributes.

    Raises:
        ArtifactError: the images are not uint8.
        StorageError: the file cannot be written.
    """
    _require_uint8(images.images, split)
    save_tensors(folder / f"{split}.safetensors", {"images": images.images, "labels": images.labels})


def load_split(artifact: Artifact, split: Split) -> ImageSet:
    """Read one split of an image-set artifact onto the CPU.

    Raises:
        ArtifactError: the artifact is no image set, has no such split, or its images are not uint8.
    """
    classes = tuple(artifact.require("image_set").attributes["classes"])
    tensors = artifact.tensors(f"{split}.safetensors")
    _require_uint8(tensors["images"], split)
    return ImageSet(tensors["images"], tensors["labels"], classes)


def _require_uint8(images: Tensor, split: Split) -> None:
    """Refuse images of more than 256 levels: what is trained on is what a real image could hold."""
    if images.dtype != torch.uint8:
        found = str(images.dtype).removeprefix("torch.")
        raise ArtifactError(f"{split}: images are {found}, expected uint8; round them to 256 levels first")
