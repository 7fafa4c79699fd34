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
from realfeatures.science.data.decoded import Decoded, cache_folder

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
    train: int
    test: int
    channels: int
    height: int
    width: int
    classes: int
    load: Callable[["NamedSource"], Decoded]
    files: tuple[str, ...] = ()
    """What torchvision reads of it, below the set's cache folder; empty: shipped inside a library."""

    @property
    def folder(self) -> Path:
        """Where its files are kept."""
        return cache_folder() / "downloads" / self.name

    @property
    def cached(self) -> bool:
        """Whether it can be used without a network."""
        return all((self.folder / file).is_file() for file in self.files) if self.files else True


def load_digits(source: NamedSource) -> Decoded:
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
    return _checked(source, Decoded(classes, images[train], labels[train], images[test], labels[test]))


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
    classes = getattr(splits[0], "classes", None) or range(source.classes)
    return _checked(source, Decoded(tuple(str(name) for name in classes), *train, *test))


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
            except (
                URLError,
                TimeoutError,
                ConnectionError,
                http.client.HTTPException,
                RuntimeError,
            ) as error:
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


def _checked(source: NamedSource, decoded: Decoded) -> Decoded:
    shape = (source.channels, source.height, source.width)
    expected = ((source.train, *shape), (source.test, *shape), source.classes)
    actual = (decoded.train_images.shape, decoded.test_images.shape, len(decoded.classes))
    if actual != expected:
        remedy = f"delete {source.folder} and run again" if source.files else "install the locked libraries"
        raise DataError(f"{source.title} has {actual}, expected {expected} (train, test, classes); {remedy}")
    return decoded


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _colour(name: str, title: str, *, train: int, test: int, classes: int, files: tuple[str, ...]) -> NamedSource:
    return NamedSource(
        name=name,
        title=title,
        train=train,
        test=test,
        channels=3,
        height=32,
        width=32,
        classes=classes,
        load=load_torchvision,
        files=files,
    )


DATA_SOURCES: dict[str, NamedSource] = {
    source.name: source
    for source in (
        NamedSource(
            name="digits",
            title="scikit-learn digits",
            train=1797 - DIGITS_TEST,
            test=DIGITS_TEST,
            channels=1,
            height=8,
            width=8,
            classes=10,
            load=load_digits,
        ),
        _colour(
            "cifar10",
            "CIFAR-10",
            train=50_000,
            test=10_000,
            classes=10,
            files=(
                *(f"cifar-10-batches-py/data_batch_{index}" for index in range(1, 6)),
                "cifar-10-batches-py/test_batch",
                "cifar-10-batches-py/batches.meta",
            ),
        ),
        _colour(
            "cifar100",
            "CIFAR-100",
            train=50_000,
            test=10_000,
            classes=100,
            files=("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"),
        ),
        _colour(
            "svhn",
            "SVHN",
            train=73_257,
            test=26_032,
            classes=10,
            files=("train_32x32.mat", "test_32x32.mat"),
        ),
        NamedSource(
            name="fashion-mnist",
            title="Fashion-MNIST",
            train=60_000,
            test=10_000,
            channels=1,
            height=28,
            width=28,
            classes=10,
            load=load_torchvision,
            files=tuple(
                f"FashionMNIST/raw/{name}-ubyte"
                for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
            ),
        ),
    )
}
"""Every data set that is known by name."""
