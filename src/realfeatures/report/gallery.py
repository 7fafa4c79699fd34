"""The same training images in every feature set, as PNG data URIs; reads numbers without torch."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realfeatures.experiment.grid import images_key
from realfeatures.experiment.vocabulary import Features
from realfeatures.results.build import Experiment

COUNT = 10
"""Images of each set; ten of 64 x 64 pixels in eleven sets are below a megabyte and a half."""

SHOWN_PIXELS = 64
"""Larger images are reduced to this side; smaller ones are enlarged to it by whole factors."""


@dataclass(frozen=True)
class Picture:
    """An image and the label that its set gives it."""

    uri: str
    label: str


@dataclass(frozen=True)
class Strip:
    """The first images of a feature set."""

    features: str
    pictures: tuple[Picture, ...]


def gallery(experiment: Experiment) -> list[Strip]:
    """Return the first training images of each set of the first seed, in the same order."""
    strips = []
    for features in Features:
        found = experiment.finished.get(images_key(experiment.seeds[0], features))
        path = found.folder / "train.safetensors" if found else None
        # A report made from records alone, as on Kubeflow, may lack some sets' pixels.
        if path is not None and path.exists():
            strips.append(Strip(features, tuple(_pictures(path, experiment.classes))))
    return strips


def _pictures(path: Path, classes: tuple[str, ...]) -> Iterator[Picture]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        images, labels = file.get_slice("images")[:COUNT], file.get_tensor("labels")[:COUNT]
    for image, label in zip(images, labels, strict=True):
        yield Picture(_png_uri(image), classes[int(label)])


def _png_uri(image: NDArray[np.uint8]) -> str:
    """Return a (C, H, W) uint8 image as the data URI of a PNG of about SHOWN_PIXELS a side."""
    from PIL import Image

    pixels = np.moveaxis(image, 0, -1)  # (H, W, C)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3])
    side = max(picture.size)
    if side > SHOWN_PIXELS:
        picture.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    else:
        factor = SHOWN_PIXELS // side
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
