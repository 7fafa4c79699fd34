"""The image sets: the same training images in every set, and how well the synthesis of each reached its aim."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from realfeatures.experiment.about import Role
from realfeatures.experiment.grid import images_key
from realfeatures.experiment.vocabulary import Features
from realfeatures.report.rendering import environment
from realfeatures.report.section import Part, Section
from realfeatures.report.tables import Table
from realfeatures.results.records import Records

COUNT = 10
"""Images of each set; ten of 64 x 64 pixels in eleven sets are below a megabyte and a half."""

SHOWN_PIXELS = 64
"""Larger images are reduced to this side; smaller ones are enlarged to it by whole factors."""

SYNTHESIS_ORDER = (
    "distance_before",
    "distance_after",
    "distance_quantised",
    "target_rate",
    "target_rate_quantised",
    "mean_l2_perturbation",
)
"""Columns of the synthesis table as they are read; a record's keys are sorted by name."""

_NOTE = (
    "Means over all images and seeds. Distances: L2 between the source's representations of the crafted and of the"
    " wanted image, at the start, after the last step, and after rounding to 256 levels. Rates: share that the source"
    " takes for its target."
)


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


def section(records: Records) -> Section | None:
    """Return the section, where any set has been made; the pictures are on the page alone."""
    parts = []
    if strips := gallery(records):
        words = (
            f"The first training images of each set (seed {records.seeds[0]}), in the same order, with the label"
            " that the set gives them."
        )
        page = environment(escape=True).get_template("gallery.html.jinja")
        parts.append(Part(words=(words,), figure=lambda: page.render(strips=strips)))
    if (made := synthesis(records)).rows:
        parts.append(Part(title="How well the synthesis reached its aim", table=made, note=_NOTE))
    return Section("sets", "Image sets", "The image sets", tuple(parts)) if parts else None


def synthesis(records: Records) -> Table:
    """How well the crafted sets came out, each figure averaged over the seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell, done in records.with_role(Role.IMAGES):
        figures = found.setdefault(str(cell.features), {})
        for name, value in done.record.get("synthesis", {}).items():
            figures.setdefault(name, []).append(float(value))
    known = {name: place for place, name in enumerate(SYNTHESIS_ORDER)}
    names = sorted({name for one in found.values() for name in one}, key=lambda n: (known.get(n, len(known)), n))
    body = [
        (features, *(f"{fmean(one[name]):.3g}" if name in one else None for name in names))
        for features, one in found.items()
    ]
    return Table(("set", *(name.replace("_", " ") for name in names)), tuple(body))


def gallery(records: Records) -> list[Strip]:
    """Return the first training images of each set of the first seed, in the same order."""
    strips = []
    for features in Features:
        found = records.finished.get(images_key(records.seeds[0], features))
        path = found.folder / "train.safetensors" if found else None
        # A report made from records alone, as on Kubeflow, may lack some sets' pixels.
        if path is not None and path.exists():
            strips.append(Strip(features, tuple(_pictures(path, records.classes))))
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
