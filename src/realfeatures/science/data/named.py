"""The data sets known by name: scikit-learn's digits, and those that torchvision downloads and checks."""

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

from realfeatures.errors import DataError
from realfeatures.science.artifacts import storage_errors
from realfeatures.science.data.decoded import CacheEntry, Decoded, Sizes, cache_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIGITS_TEST = 500
"""prototype: the last 500 of 1,797."""
_TIMEOUT_SECONDS = 60.0
"""chosen: torchvision waits forever for a server that does not answer."""


@dataclass(frozen=True, kw_only=True)
class NamedSource:
    """A data set known by name, and how to decode it."""

    name: str
    title: str
    whole: Sizes
    decode: Callable[["NamedSource"], Decoded]
    files: tuple[str, ...] = ()
    """What torchvision reads of it, below the set's cache folder; empty: shipped inside a library."""

    @property
    def folder(self) -> Path:
        """Where its files are kept."""
        return cache_folder() / "downloads" / self.name

    @property
    def cached(self) -> bool:
        """Whether it can be used without a network."""
        entry = self.cache()
        return entry is None or entry.complete

    @property
    def sorted_by_class(self) -> bool:
        """No: the first n images, which are the ones that are attacked, are of all classes."""
        return False

    def pin(self) -> tuple[None, Sizes]:
        """Return no digest, since the name stands for the content, and the sizes."""
        return None, self.whole

    def sizes(self) -> Sizes:
        """Return the sizes of the whole set, without reading it."""
        return self.whole

    def load(self) -> Decoded:
        """Decode the set, downloaded now where it is not in the cache.

        Raises:
            DataError: no network, damaged files, or other sizes than are known.
            StorageError: the cache folder cannot be written.
        """
        decoded = self.decode(self)
        if decoded.sizes != self.whole:
            remedy = f"delete {self.folder} and run again" if self.files else "install the locked libraries"
            raise DataError(f"{self.title} has {decoded.sizes}, expected {self.whole}; {remedy}")
        return decoded

    def cache(self) -> CacheEntry | None:
        """Return its entry in the cache, there or not; None of a set that ships inside a library."""
        return CacheEntry(self.name, tuple(self.folder / file for file in self.files)) if self.files else None


def load_digits(source: NamedSource) -> Decoded:  # noqa: ARG001 - as the decoder of every set
    """Decode scikit-learn's digits, whose pixels are the integers 0 to 16.

    The images come in the order in which they were written down, not sorted by class, so that the last
    ones are a fair test set; a writer's digits may stand on both sides, as near-duplicates.
    Source: UCI, "Optical Recognition of Handwritten Digits", its test part (Alpaydin and Kaynak 1998).
    """
    import numpy as np
    from sklearn.datasets import load_digits as load

    data = load()
    images = np.round(data.images * 255 / 16).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    labels = data.target.astype(np.int64)
    classes = tuple(str(name) for name in data.target_names)
    test = slice(-DIGITS_TEST, None)
    train = slice(None, -DIGITS_TEST)
    return Decoded(classes, images[train], labels[train], images[test], labels[test])


def load_torchvision(source: NamedSource) -> Decoded:
    """Decode one of torchvision's sets, downloaded now where it is not in the cache folder.

    torchvision verifies md5 checksums: of what it downloads, and of CIFAR's and SVHN's files whenever it
    reads them, which matters for CIFAR, whose files are pickles.

    Raises:
        DataError: no network, or damaged files.
        StorageError: the cache folder cannot be written.
    """
    try:
        splits = [_open(source, split, download=False) for split in ("train", "test")]
    except RuntimeError:  # what torchvision says of missing or damaged files
        splits = _download(source)
    except (OSError, ValueError, AssertionError) as error:
        raise DataError(f"{source.folder}: damaged ({_line(error)}); delete this folder and run again") from None
    train, test = (_arrays(dataset) for dataset in splits)
    # SVHN names no classes: they are the digits.
    classes = getattr(splits[0], "classes", None) or range(source.whole.classes)
    return Decoded(tuple(str(name) for name in classes), *train, *test)


def _open(source: NamedSource, split: str, *, download: bool) -> Any:
    from torchvision import datasets

    known = {
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
        "fashion-mnist": datasets.FashionMNIST,
        "svhn": datasets.SVHN,
    }
    choice = {"split": split} if source.name == "svhn" else {"train": split == "train"}
    return known[source.name](source.folder, download=download, **choice)


def _download(source: NamedSource) -> list[Any]:
    with storage_errors(source.folder):
        source.folder.mkdir(parents=True, exist_ok=True)
        with _one_process(source.folder), _timeout():
            try:
                return [_open(source, split, download=True) for split in ("train", "test")]
            except (URLError, TimeoutError, ConnectionError, http.client.HTTPException, RuntimeError) as error:
                raise DataError(
                    f"{source.title} cannot be downloaded or read ({_line(error)}); put its original files into an"
                    f" empty {source.folder}, or use your own copy with folder:PATH"
                ) from None


@contextmanager
def _one_process(folder: Path) -> Iterator[None]:
    """Let one process at a time download into a folder."""
    try:
        import fcntl
    except ImportError:  # Windows: two downloads at once are then the user's to avoid
        yield
        return
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _arrays(dataset: Any) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """Return the images as (N, C, H, W) and the labels, from any of torchvision's layouts."""
    import numpy as np

    images = np.asarray(dataset.data)
    labels = np.asarray(dataset.labels if hasattr(dataset, "labels") else dataset.targets, dtype=np.int64)
    if images.ndim == 3:  # (N, H, W), Fashion-MNIST
        images = images[:, None]
    elif images.shape[-1] == 3:  # (N, H, W, C), CIFAR; SVHN is (N, C, H, W) already
        images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), labels


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


DATA_SOURCES: dict[str, NamedSource] = {
    source.name: source
    for source in (
        NamedSource(
            name="digits",
            title="scikit-learn digits",
            whole=Sizes(1797 - DIGITS_TEST, DIGITS_TEST, channels=1, height=8, width=8, classes=10),
            decode=load_digits,
        ),
        NamedSource(
            name="cifar10",
            title="CIFAR-10",
            whole=Sizes(50_000, 10_000, channels=3, height=32, width=32, classes=10),
            decode=load_torchvision,
            files=(
                *(f"cifar-10-batches-py/data_batch_{index}" for index in range(1, 6)),
                "cifar-10-batches-py/test_batch",
                "cifar-10-batches-py/batches.meta",
            ),
        ),
        NamedSource(
            name="cifar100",
            title="CIFAR-100",
            whole=Sizes(50_000, 10_000, channels=3, height=32, width=32, classes=100),
            decode=load_torchvision,
            files=("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"),
        ),
        NamedSource(
            name="svhn",
            title="SVHN",
            whole=Sizes(73_257, 26_032, channels=3, height=32, width=32, classes=10),
            decode=load_torchvision,
            files=("train_32x32.mat", "test_32x32.mat"),
        ),
        NamedSource(
            name="fashion-mnist",
            title="Fashion-MNIST",
            whole=Sizes(60_000, 10_000, channels=1, height=28, width=28, classes=10),
            decode=load_torchvision,
            files=tuple(
                f"FashionMNIST/raw/{name}-ubyte"
                for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
            ),
        ),
    )
}
"""Every data set that is known by name."""
