"""One's own pictures, checked and decoded: a tree train/CLASS/IMAGE, test/CLASS/IMAGE or its archive."""

import hashlib
import io
import struct
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from realfeatures.errors import DataError
from realfeatures.science.artifacts import sha256_of
from realfeatures.science.data.archive import (
    LAYOUT,
    MAX_ARCHIVE_BYTES,
    MAX_FILE_BYTES,
    SPLITS,
    Member,
    members,
    read_errors,
)
from realfeatures.science.data.decoded import (
    Decoded,
    Summary,
    find,
    load,
    recall_archive,
    remember_archive,
    store,
    summarise,
)

MIN_SIDE, MAX_SIDE = 4, 512
"""chosen: three halvings need 4 pixels; 512 bounds the memory that one image of a few bytes can claim."""
MAX_DECODED_BYTES = 2 << 30
"""chosen: the whole set stays on the device. CIFAR-10 takes 0.2 GiB, 130,000 images of 64 x 64 take 1.5."""

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp")
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")
_GREY_MODES = {"1", "L", "LA"}
_COLOUR_MODES = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged files of the formats above."""

Pixels = NDArray[np.uint8]


class Place(NamedTuple):
    """Where an image stands; sorting by it gives the order of the set."""

    split: str
    label: str
    file: str

    def __str__(self) -> str:
        return "/".join(self)


def check_folder(path: Path) -> Summary:
    """Return what a folder or archive holds, after reading through all of it unless that was done before.

    Raises:
        DataError: anything that keeps it from being a labelled image set.
    """
    sha256 = _known_digest(path)
    known = None if sha256 is None else find(sha256)
    return known if known is not None else _decode_and_store(path)[1]


def read_folder(path: Path) -> tuple[Decoded, Summary]:
    """Return the images of a folder or archive, decoded now or taken from the cache.

    Raises:
        DataError: anything that keeps it from being a labelled image set.
    """
    sha256 = _known_digest(path)
    decoded = None if sha256 is None else load(sha256)
    if sha256 is None or decoded is None:
        return _decode_and_store(path)
    return decoded, summarise(decoded, sha256)


def _known_digest(path: Path) -> str | None:
    """Return the content's digest where it takes no decoding: of any tree, of an archive seen before."""
    with read_errors(path):
        if path.is_file():
            return recall_archive(sha256_of(path))
        files = {place: hashlib.sha256(content).digest() for place, content in _image_files(path)}
    _class_names(path, files)
    return _digest(files)


def _decode_and_store(path: Path) -> tuple[Decoded, Summary]:
    before = sha256_of(path) if path.is_file() else None
    decoded, summary = _decode(path)
    store(decoded, summary)
    if before is not None and before == sha256_of(path):
        remember_archive(before, summary.sha256)
    return decoded, summary


def _decode(path: Path) -> tuple[Decoded, Summary]:
    digests: dict[Place, bytes] = {}
    pixels = _Pixels(path)
    with read_errors(path), warnings.catch_warnings():
        # Pillow warns of large images on top of our own refusal.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for place, content in _image_files(path):
            digests[place] = hashlib.sha256(content).digest()
            pixels.add(place, content)
    classes = _class_names(path, digests)
    train, test = (pixels.split(split, classes) for split in SPLITS)
    decoded = Decoded(classes, *train, *test)
    return decoded, summarise(decoded, _digest(digests))


def _digest(files: dict[Place, bytes]) -> str:
    digest = hashlib.sha256()
    for place, content_digest in sorted(files.items()):
        # Names that are not UTF-8 come from the operating system as surrogates.
        digest.update(f"{place}\0".encode("utf-8", "surrogateescape") + content_digest)
    return digest.hexdigest()


def _image_files(path: Path) -> Iterator[tuple[Place, bytes]]:
    """Yield every image's place and bytes, in the order of the tree or archive."""
    seen: set[Place] = set()
    outer_folder: str | None = None
    total = 0
    for member in members(path):
        found = _place(path, member.name)
        if found is None:
            continue
        outer, place = found
        if outer_folder not in (None, outer):
            raise DataError(f"{path}: {member.name!r} and {outer_folder!r} are two data sets; {LAYOUT}")
        if place in seen:
            raise DataError(f"{path}: {str(place)!r} occurs twice; make the archive again")
        outer_folder = outer
        seen.add(place)
        total += member.size
        _check_bytes(path, member, total)
        yield place, member.read()


def _place(path: Path, name: str) -> tuple[str, Place] | None:
    """Return the folder around train/ and test/ and an image's place; None for a file beside them."""
    parts = PurePosixPath(name).parts
    start = next((index for index, part in enumerate(parts[:2]) if part in SPLITS), None)
    if start is None:
        return None  # a README or a licence
    if parts[-1].lower().endswith(IMAGE_SUFFIXES):
        if len(parts) - start != 3:
            raise DataError(f"{path}: {name!r} is not directly in a class folder; {LAYOUT}")
        return "/".join(parts[:start]), Place(*parts[start:])
    raise DataError(f"{path}: {name!r} is not an image; expected {' '.join(IMAGE_SUFFIXES)}: remove or convert it")


def _check_bytes(path: Path, member: Member, total: int) -> None:
    if member.size > MAX_FILE_BYTES:
        raise DataError(
            f"{path}: {member.name!r} has {member.size} bytes; expected an image of at most"
            f" {MAX_SIDE}x{MAX_SIDE} pixels in {MAX_FILE_BYTES} bytes"
        )
    if total > MAX_ARCHIVE_BYTES:
        raise DataError(f"{path}: more than {MAX_ARCHIVE_BYTES >> 30} GiB of image files; use fewer")


def _class_names(path: Path, places: Iterable[Place]) -> tuple[str, ...]:
    """Return the sorted class names, the same in both splits."""
    found = {split: {place.label for place in places if place.split == split} for split in SPLITS}
    for split in SPLITS:
        if not found[split]:
            raise DataError(f"{path}: no images in {split}/; {LAYOUT}")
    train, test = (found[split] for split in SPLITS)
    for here, there, names in (("train", "test", train - test), ("test", "train", test - train)):
        if names:
            raise DataError(
                f"{path}: class {min(names)!r} has images in {here}/ but none in {there}/;"
                " give both splits the same class folders"
            )
    if len(train) == 1:
        raise DataError(f"{path}: one class ({min(train)!r}); expected at least two class folders in each split")
    if unprintable := [name for name in train if not name.isprintable()]:
        raise DataError(f"{path}: class {unprintable[0]!r} is not printable text; rename the folder")
    return tuple(sorted(train))


class _Pixels:
    """The decoded images of a folder, all of one size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images: dict[Place, Pixels] = {}
        self.channels = 1
        self.first: tuple[Place, tuple[int, ...]] | None = None

    def add(self, place: Place, content: bytes) -> None:
        """Decode one image: (H, W) if it is grey, else (H, W, 3)."""
        image = _decode_image(self.path, place, content)
        size = image.shape[:2]
        if self.first is None:
            self.first = place, size
        if size != self.first[1]:
            raise DataError(
                f"{self.path}: {str(place)!r} has {size[1]}x{size[0]} pixels, {str(self.first[0])!r} has"
                f" {self.first[1][1]}x{self.first[1][0]}; resize all images to one size"
            )
        self.channels = max(self.channels, 3 if image.ndim == 3 else 1)
        self.images[place] = image
        if len(self.images) * size[0] * size[1] * self.channels > MAX_DECODED_BYTES:
            raise DataError(
                f"{self.path}: the first {len(self.images)} images decode to more than"
                f" {MAX_DECODED_BYTES >> 30} GiB; use fewer or smaller ones"
            )

    def split(self, split: str, classes: tuple[str, ...]) -> tuple[Pixels, NDArray[np.int64]]:
        """Return one split's images, (N, C, H, W) in the order of their paths, and their labels."""
        places = sorted(place for place in self.images if place.split == split)
        label = {name: index for index, name in enumerate(classes)}
        labels = np.array([label[place.label] for place in places], dtype=np.int64)
        assert self.first is not None  # noqa: S101 - _class_names has found images
        images = np.empty((len(places), self.channels, *self.first[1]), dtype=np.uint8)
        for index, place in enumerate(places):
            image = self.images.pop(place)
            images[index] = image if image.ndim == 2 else image.transpose(2, 0, 1)  # grey fills all channels
        return images, labels


def _decode_image(path: Path, place: Place, content: bytes) -> Pixels:
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            _check_header(path, place, image)
            return np.asarray(image.convert("L" if image.mode in _GREY_MODES else "RGB"))
    except UnidentifiedImageError:
        raise DataError(f"{path}: {str(place)!r} is not an image, whatever its name says; replace it") from None
    except _UNREADABLE as error:
        raise DataError(f"{path}: {str(place)!r} cannot be decoded ({error}); replace the image") from None


def _check_header(path: Path, place: Place, image: Image.Image) -> None:
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in image.size):
        raise DataError(
            f"{path}: {str(place)!r} has {image.width}x{image.height} pixels;"
            f" expected sides of {MIN_SIDE} to {MAX_SIDE}: resize the images"
        )
    if image.mode not in _GREY_MODES | _COLOUR_MODES:
        raise DataError(f"{path}: {str(place)!r} has pixels of mode {image.mode}; expected 8 bits: convert the image")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise DataError(f"{path}: {str(place)!r} is partly transparent; put the image on a background")
