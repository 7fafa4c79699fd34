"""A decoded image set as NumPy arrays, and the cache that keeps one so that it is decoded only once."""

import json
import logging
import os
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realfeatures.errors import DataError, StorageError
from realfeatures.science.artifacts import sha256_of, write_bytes, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "REALFEATURES_CACHE"
_FORMAT = 1
"""Raise it when decoding changes, so that older cache entries are made again."""
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Decoded:
    """A whole image set in memory, in its own order.

    Attributes:
        classes: the names of the classes, by label.
        train_images: (N, C, H, W) uint8, C 1 or 3.
        train_labels: (N,) int64 in [0, len(classes)).
        test_images: as train_images.
        test_labels: as train_labels.
    """

    classes: tuple[str, ...]
    train_images: "NDArray[np.uint8]"
    train_labels: "NDArray[np.int64]"
    test_images: "NDArray[np.uint8]"
    test_labels: "NDArray[np.int64]"

    @property
    def sizes(self) -> "Sizes":
        """Its sizes."""
        train, channels, height, width = self.train_images.shape
        return Sizes(train, len(self.test_images), channels, height, width, len(self.classes))


@dataclass(frozen=True)
class Sizes:
    """Of a data set: images in each split, their shape, number of classes."""

    train: int
    test: int
    channels: int
    height: int
    width: int
    classes: int

    def __str__(self) -> str:
        shape = f"{self.channels}x{self.height}x{self.width}"
        return f"{self.train} training and {self.test} test images of {shape} in {self.classes} classes"


@dataclass(frozen=True)
class Summary:
    """What is known of a decoded folder without reading its pixels."""

    sha256: str
    """Digest of the content: every image's path and bytes, the same for a tree and for an archive of it."""
    sizes: Sizes
    classes: tuple[str, ...]


def summarise(decoded: Decoded, sha256: str) -> Summary:
    """Return the summary of a decoded set whose content has this digest."""
    return Summary(sha256, decoded.sizes, decoded.classes)


@dataclass(frozen=True)
class CacheEntry:
    """A data set in the cache: what another machine needs in its own cache to use it without source or network."""

    name: str
    """A known set's name, or the digest of a folder's content."""
    files: tuple[Path, ...]

    @property
    def complete(self) -> bool:
        """Whether all files are there."""
        return all(file.is_file() for file in self.files)


def cache_folder() -> Path:
    """Return the folder for downloads and decoded sets: $REALFEATURES_CACHE, else the user's cache folder.

    Raises:
        DataError: there is no home folder.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification: a relative path is invalid and ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            raise DataError(f"no home folder for the data cache; set {CACHE_VARIABLE} to a folder") from None
    return base / "realfeatures"


def store(decoded: Decoded, summary: Summary) -> None:
    """Keep a decoded set; several processes may do so at once, each file is written whole.

    A cache that cannot be written costs time, not the run: it is only warned of.
    """
    from safetensors.numpy import save

    tensors = _entry(summary.sha256)
    try:
        write_bytes(tensors, save({name: getattr(decoded, name) for name in _ARRAYS}))
        write_json(
            _sidecar(summary.sha256),
            {"made_by": _made_by(), "tensors_sha256": sha256_of(tensors), "summary": asdict(summary)},
        )
    except StorageError as error:
        logger.warning("the decoded images are not kept: %s", error)


def find(sha256: str) -> Summary | None:
    """Return what is known of a content that was decoded before, None where there is no valid entry."""
    sidecar = _read_sidecar(sha256)
    return None if sidecar is None else sidecar[0]


def load(sha256: str) -> Decoded | None:
    """Return a content that was decoded before, None where there is no entry or its bytes were changed."""
    from safetensors.numpy import load_file

    sidecar = _read_sidecar(sha256)
    path = _entry(sha256)
    if sidecar is None or not path.is_file():
        return None
    summary, expected = sidecar
    if sha256_of(path) != expected:
        logger.warning("%s was damaged and is made again", path)
        return None
    return Decoded(summary.classes, **load_file(path))


def entry_of(sha256: str) -> CacheEntry:
    """Return a content's entry, there or not; the sidecar, which makes it valid, is its last file."""
    return CacheEntry(sha256, (_entry(sha256), _sidecar(sha256)))


def remember_archive(archive_sha256: str, sha256: str) -> None:
    """Note which content an archive holds, so that it need not be read through again."""
    try:
        write_json(_archive_note(archive_sha256), {"content_sha256": sha256})
    except StorageError as error:
        logger.warning("the check of the archive is not kept: %s", error)


def recall_archive(archive_sha256: str) -> str | None:
    """Return the digest of the content of an archive that was read before."""
    try:
        return str(json.loads(_archive_note(archive_sha256).read_bytes())["content_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_sidecar(sha256: str) -> tuple[Summary, str] | None:
    try:
        sidecar = json.loads(_sidecar(sha256).read_bytes())
        values = sidecar["summary"]
        summary = Summary(values["sha256"], Sizes(**values["sizes"]), tuple(values["classes"]))
        usable = sidecar["made_by"] == _made_by() and summary.sha256 == sha256
        return (summary, str(sidecar["tensors_sha256"])) if usable else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made_by() -> dict[str, Any]:
    # Pillow brings its JPEG decoder along; two of its versions may differ in the last bit of a pixel.
    return {"format": _FORMAT, "pillow": metadata.version("pillow")}


def _entry(sha256: str) -> Path:
    return cache_folder() / "decoded" / f"{sha256}.safetensors"


def _sidecar(sha256: str) -> Path:
    return cache_folder() / "decoded" / f"{sha256}.json"


def _archive_note(archive_sha256: str) -> Path:
    return cache_folder() / "archives" / f"{archive_sha256}.json"
