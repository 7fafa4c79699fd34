"""Labelled image sets: uint8 in memory and on disk, floats in [0, 1] only where something computes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from realfeatures.errors import ArtifactError, DataError
from realfeatures.science.artifacts import Artifact, save_tensors
from realfeatures.science.inputs import require_classes, require_image_bytes, require_labels

Split = Literal["train", "test"]


@dataclass(frozen=True)
class ImageSet:
    """N labelled images, N at least 1.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64 in [0, len(classes)).
        classes: the names of the classes, by label.

    Raises:
        DataError: images or labels of another type, shape, number or range.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        require_image_bytes(self.images)
        require_labels(self.labels, len(self.images))
        require_classes(self.labels, len(self.classes))

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
        StorageError: the file cannot be written.
    """
    save_tensors(folder / f"{split}.safetensors", {"images": images.images, "labels": images.labels})


def load_split(artifact: Artifact, split: Split) -> ImageSet:
    """Read one split of an image-set artifact onto the CPU.

    Raises:
        ArtifactError: the artifact is no image set, has no such split, or its tensors are no `ImageSet`.
    """
    classes = tuple(artifact.require("image_set").attributes["classes"])
    tensors = artifact.tensors(f"{split}.safetensors")
    try:
        return ImageSet(tensors["images"], tensors["labels"], classes)
    except DataError as error:
        raise ArtifactError(f"{split}: {error}") from None
