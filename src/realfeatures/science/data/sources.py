"""The door for data: a configuration names a source, out come a labelled train and test set.

Imports no torch before images are loaded, so that a run is planned, and bad data refused, in no time.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from realfeatures.errors import DataError
from realfeatures.experiment.config import DataConfig
from realfeatures.science.data.archive import ARCHIVE_SUFFIXES, LAYOUT, archive_suffix
from realfeatures.science.data.decoded import CacheEntry, Decoded, Sizes, Summary, entry_of, find, load
from realfeatures.science.data.named import DATA_SOURCES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from realfeatures.science.data.images import ImageSet, Split

FOLDER_PREFIX = "folder:"
FOLDER_HELP = (
    f"{FOLDER_PREFIX}PATH is a folder, or an archive of one ({' '.join(ARCHIVE_SUFFIXES)}),"
    " with pictures of one size as train/CLASS/IMAGE and test/CLASS/IMAGE"
)
"""How to bring one's own data set."""

SUBSET_SEED = 0
"""chosen: a data set is the same in every run, whatever the run's seed; it has a seed of its own."""


class Source(Protocol):
    """Where a data set comes from: a set known by name, or a folder."""

    @property
    def title(self) -> str:
        """What a report calls it."""

    @property
    def sorted_by_class(self) -> bool:
        """Whether its images come class by class."""

    def pin(self) -> tuple[str | None, Sizes]:
        """Check it before a run; return the digest of its content, where no name stands for that, and its sizes."""

    def sizes(self) -> Sizes:
        """Return the sizes of the whole set."""

    def load(self) -> Decoded:
        """Return the whole set, decoded."""

    def cache(self) -> CacheEntry | None:
        """Return its entry in the cache, there or not; None of a set that every machine has."""


@dataclass(frozen=True)
class FolderSource:
    """One's own pictures: a folder or an archive of one.

    The first time, it is read through and decoded into the cache (seconds for 60,000 small images).
    """

    path: Path
    sha256: str | None
    """Of the content that it must have; None: whatever it holds."""

    @property
    def title(self) -> str:
        """`folder pets` for /data/pets.tar.gz."""
        path = self.path.resolve()
        suffix = "" if path.is_dir() else archive_suffix(path) or ""
        return f"folder {path.name[: len(path.name) - len(suffix)]}"

    @property
    def sorted_by_class(self) -> bool:
        """Yes: by path, and so by class."""
        return True

    def pin(self) -> tuple[str, Sizes]:
        """Return digest and sizes of the content.

        Raises:
            DataError: no labelled image set, or not the pinned content.
        """
        summary = self._cached_alone() or self._checked()
        return summary.sha256, summary.sizes

    def sizes(self) -> Sizes:
        """Return the sizes of the content; of one that is pinned and was decoded before, without reading it.

        Raises:
            DataError: as pin.
        """
        known = None if self.sha256 is None else find(self.sha256)
        return (known or self._checked()).sizes

    def load(self) -> Decoded:
        """Return the images, decoded now or taken from the cache.

        Raises:
            DataError: as pin.
        """
        if (known := self._cached_alone()) is not None and (decoded := load(known.sha256)) is not None:
            return decoded
        from realfeatures.science.data.folder import read_folder

        decoded, summary = read_folder(self.path)
        self._require_pinned(summary)
        return decoded

    def cache(self) -> CacheEntry:
        """Return the entry of the pinned content.

        Raises:
            DataError: it is not pinned.
        """
        if self.sha256 is None:
            raise DataError(
                f"{FOLDER_PREFIX}{self.path}: its content is not known; name its digest by --set data.sha256="
            )
        return entry_of(self.sha256)

    def _cached_alone(self) -> Summary | None:
        """Return what the cache knows of a pinned folder that is not on this machine, as in a pod; else None."""
        return None if self.sha256 is None or self.path.exists() else find(self.sha256)

    def _checked(self) -> Summary:
        # Pillow and NumPy are imported only where there is a folder, to keep the command line quick.
        from realfeatures.science.data.folder import check_folder

        summary = check_folder(self.path)
        self._require_pinned(summary)
        return summary

    def _require_pinned(self, summary: Summary) -> None:
        if self.sha256 not in (None, summary.sha256):
            raise DataError(
                f"{FOLDER_PREFIX}{self.path} changed since the run was planned (content {summary.sha256[:12]}...,"
                f" expected {str(self.sha256)[:12]}...); run again"
            )


def source_of(config: DataConfig) -> Source:
    """Return the source that a configuration names.

    Raises:
        DataError: it is unknown, or a digest is given for a set that is known by name.
    """
    source = config.source
    if source.startswith(FOLDER_PREFIX):
        path = source.removeprefix(FOLDER_PREFIX)
        if not path:
            raise DataError(f"data.source={source!r} names no path; write {FOLDER_PREFIX}PATH, {LAYOUT}")
        return FolderSource(Path(path).expanduser(), config.sha256)
    if source not in DATA_SOURCES:
        is_path = "/" in source or source.endswith(ARCHIVE_SUFFIXES)
        hint = f"write {FOLDER_PREFIX}{source}" if is_path else f"or {FOLDER_PREFIX}PATH"
        raise DataError(f"data.source={source!r} is unknown; expected one of {', '.join(DATA_SOURCES)}; {hint}")
    if config.sha256 is not None:
        raise DataError(f"data.sha256 is set for {source!r}; it is for {FOLDER_PREFIX}PATH only: remove it")
    return DATA_SOURCES[source]


def pin_source(config: DataConfig) -> DataConfig:
    """Check a source before a run; return the configuration, a folder's with the digest of its content.

    Raises:
        DataError: unknown or unusable source, a subset that it cannot give, or not the pinned content.
    """
    sha256, whole = source_of(config).pin()
    _check_subset(config, whole)
    return config.model_copy(update={"sha256": sha256})


def describe_source(config: DataConfig) -> Sizes:
    """Return the sizes of a data set as the run will use it, after its subsets are taken.

    Raises:
        DataError: as pin_source.
    """
    whole = source_of(config).sizes()
    _check_subset(config, whole)
    return replace(whole, train=config.train_size or whole.train, test=config.test_size or whole.test)


def load_source(config: DataConfig) -> "dict[Split, ImageSet]":
    """Decode a data set, or take a folder's from the cache, and choose its subsets.

    Returns:
        (N, C, H, W) uint8 images, C 1 where all are grey and else 3; int64 labels. A named set is in its own order,
        a folder in a random one that is the same in every run: sorted by class, its first n images, which are the
        ones that are attacked, would be of one class.

    Raises:
        DataError: as pin_source; no network; damaged files.
        StorageError: a download cannot be kept.
    """
    from torch import from_numpy

    from realfeatures.science.data.images import ImageSet

    source, sizes = source_of(config), describe_source(config)
    decoded = source.load()

    def chosen(images: "NDArray[np.uint8]", labels: "NDArray[np.int64]", size: int) -> ImageSet:
        subset = stratified_subset(labels, size)
        if source.sorted_by_class:
            subset = _mixed(subset)
        return ImageSet(from_numpy(images[subset]), from_numpy(labels[subset]), decoded.classes)

    return {
        "train": chosen(decoded.train_images, decoded.train_labels, sizes.train),
        "test": chosen(decoded.test_images, decoded.test_labels, sizes.test),
    }


def cache_entry(config: DataConfig) -> CacheEntry | None:
    """Return a data set's entry in the cache, there or not; None of one that ships inside a library.

    Raises:
        DataError: unknown source, or a folder whose content is not pinned.
    """
    return source_of(config).cache()


def title(config: DataConfig) -> str:
    """Return what a report calls the data set: `CIFAR-10`, or `folder pets` for folder:/data/pets.tar.gz."""
    return source_of(config).title


def stratified_subset(labels: "NDArray[np.int64]", size: int) -> "NDArray[np.int64]":
    """Choose images so that every class keeps its share, rounded; the same ones in every run.

    A larger subset contains a smaller one, up to what rounding moves between classes.

    Args:
        labels: (N,) class of each image.
        size: how many to choose, from the number of classes to N.

    Returns:
        (size,) indices in ascending order.
    """
    import numpy as np

    classes, counts = np.unique(labels, return_counts=True)
    chosen = []
    for label, share in zip(classes, _class_sizes(counts, size), strict=True):
        # RandomState, because NumPy promises that its stream never changes.
        order = np.random.RandomState([SUBSET_SEED, int(label)]).permutation(np.flatnonzero(labels == label))
        chosen.append(order[:share])
    return np.sort(np.concatenate(chosen))


def _mixed(indices: "NDArray[np.int64]") -> "NDArray[np.int64]":
    import numpy as np

    return np.random.RandomState(SUBSET_SEED).permutation(indices)


def _class_sizes(counts: "NDArray[np.int64]", size: int) -> "NDArray[np.int64]":
    """Split `size` in proportion to `counts` by largest remainders, at least one each."""
    import numpy as np

    exact: NDArray[np.float64] = size * counts / counts.sum()
    sizes: NDArray[np.int64] = np.maximum(np.floor(exact).astype(np.int64), 1)
    while (missing := size - sizes.sum()) != 0:
        lack = exact - sizes
        if missing > 0:
            sizes[np.argmax(lack)] += 1
        else:  # the guaranteed one of a rare class is taken from the class that is most above its share
            sizes[np.argmin(np.where(sizes > 1, lack, np.inf))] -= 1
    return sizes


def _check_subset(config: DataConfig, whole: Sizes) -> None:
    for split, size, available in (("train", config.train_size, whole.train), ("test", config.test_size, whole.test)):
        if size is not None and not whole.classes <= size <= available:
            raise DataError(
                f"data.{split}_size={size}: {title(config)} has {available} {split} images of"
                f" {whole.classes} classes; expected {whole.classes} to {available}"
            )
