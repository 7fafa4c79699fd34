"""The door for data: a configuration names a source, out come a labelled train and test set.

Imports no torch before images are loaded, so that a run is planned, and bad data refused, in no time.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from realfeatures.errors import DataError
from realfeatures.experiment.config import DataConfig
from realfeatures.science.data.archive import ARCHIVE_SUFFIXES, LAYOUT, archive_suffix
from realfeatures.science.data.decoded import (
    Decoded,
    Summary,
    entry_files,
    find,
    load,
)
from realfeatures.science.data.named import DATA_SOURCES, NamedSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from realfeatures.science.data.images import ImageSet

FOLDER_PREFIX = "folder:"
FOLDER_HELP = (
    f"{FOLDER_PREFIX}PATH is a folder, or an archive of one ({' '.join(ARCHIVE_SUFFIXES)}),"
    " with pictures of one size as train/CLASS/IMAGE and test/CLASS/IMAGE"
)
"""How to bring one's own data set."""

SUBSET_SEED = 0
"""chosen: a data set is the same in every run, whatever the run's seed; it has a seed of its own."""


@dataclass(frozen=True)
class Splits:
    """A data set: its two splits, with the same classes."""

    train: "ImageSet"
    test: "ImageSet"


@dataclass(frozen=True)
class SourceInfo:
    """What a plan needs to know of a data set: images in each split, their shape, number of classes."""

    train: int
    test: int
    channels: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True)
class SourceEntry:
    """A known data set as `realfeatures data` lists it."""

    name: str
    title: str
    info: SourceInfo
    cached: bool
    """Whether it can be used without a network."""


def list_sources() -> list[SourceEntry]:
    """Return the data sets that are known by name; FOLDER_HELP says how to bring one's own."""
    return [
        SourceEntry(source.name, source.title, _named_info(source), source.cached) for source in DATA_SOURCES.values()
    ]


def pin_source(config: DataConfig) -> DataConfig:
    """Check a source before a run; return the configuration, a folder's with the digest of its content.

    The first time, a folder is read through and decoded into the cache (seconds for 60,000 small images).

    Raises:
        DataError: unknown or unusable source, a subset that it cannot give, or not the pinned content.
    """
    if not _is_folder(config):
        _check_subset(config, _named_info(_named(config)))
        return config
    if (known := _cached_alone(config)) is not None:
        _check_subset(config, _folder_info(known))
        return config
    # Pillow and NumPy are imported only where there is a folder, to keep the command line quick.
    from realfeatures.science.data.folder import check_folder

    summary = check_folder(_path(config))
    _check_pin(config, summary)
    _check_subset(config, _folder_info(summary))
    return config.model_copy(update={"sha256": summary.sha256})


def describe_source(config: DataConfig) -> SourceInfo:
    """Return sizes and shape of a data set as the run will use it, after its subsets are taken.

    Raises:
        DataError: as pin_source.
    """
    if not _is_folder(config):
        info = _named_info(_named(config))
    else:
        known = None if config.sha256 is None else find(config.sha256)
        info = _folder_info(known if known is not None else _check_again(config))
    _check_subset(config, info)
    return replace(info, train=config.train_size or info.train, test=config.test_size or info.test)


def load_source(config: DataConfig) -> Splits:
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

    if _is_folder(config):
        decoded, summary = _read_folder(config)
        _check_pin(config, summary)
        info = _folder_info(summary)
    else:
        source = _named(config)
        info = _named_info(source)
        _check_subset(config, info)  # before a download
        decoded = source.load(source)
    _check_subset(config, info)
    train = stratified_subset(decoded.train_labels, config.train_size or info.train)
    test = stratified_subset(decoded.test_labels, config.test_size or info.test)
    if _is_folder(config):
        train, test = _mixed(train), _mixed(test)
    return Splits(
        ImageSet(from_numpy(decoded.train_images[train]), from_numpy(decoded.train_labels[train]), decoded.classes),
        ImageSet(from_numpy(decoded.test_images[test]), from_numpy(decoded.test_labels[test]), decoded.classes),
    )


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


def cache_entry(config: DataConfig) -> CacheEntry | None:
    """Return a data set's entry in the cache, there or not; None of one that ships inside a library.

    Raises:
        DataError: unknown source, or a folder whose content is not pinned.
    """
    if not _is_folder(config):
        source = _named(config)
        return CacheEntry(source.name, tuple(source.folder / file for file in source.files)) if source.files else None
    if config.sha256 is None:
        raise DataError(f"{config.source}: its content is not known; name its digest by --set data.sha256=")
    return CacheEntry(config.sha256, entry_files(config.sha256))


def title(config: DataConfig) -> str:
    """Return what a report calls the data set: `CIFAR-10`, or `folder pets` for folder:/data/pets.tar.gz."""
    if not _is_folder(config):
        return _named(config).title
    path = _path(config).resolve()
    suffix = "" if path.is_dir() else archive_suffix(path) or ""
    return f"folder {path.name[: len(path.name) - len(suffix)]}"


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


def _check_subset(config: DataConfig, info: SourceInfo) -> None:
    for split, size, available in (
        ("train", config.train_size, info.train),
        ("test", config.test_size, info.test),
    ):
        if size is not None and not info.classes <= size <= available:
            raise DataError(
                f"data.{split}_size={size}: {title(config)} has {available} {split} images of"
                f" {info.classes} classes; expected {info.classes} to {available}"
            )


def _check_pin(config: DataConfig, summary: Summary) -> None:
    if config.sha256 not in (None, summary.sha256):
        raise DataError(
            f"{config.source} changed since the run was planned (content {summary.sha256[:12]}...,"
            f" expected {str(config.sha256)[:12]}...); run again"
        )


def _check_again(config: DataConfig) -> Summary:
    from realfeatures.science.data.folder import check_folder

    summary = check_folder(_path(config))
    _check_pin(config, summary)
    return summary


def _cached_alone(config: DataConfig) -> Summary | None:
    """Return what the cache knows of a pinned folder that is not on this machine, as in a pod; else None."""
    return None if config.sha256 is None or _path(config).exists() else find(config.sha256)


def _read_folder(config: DataConfig) -> "tuple[Decoded, Summary]":
    if (known := _cached_alone(config)) is not None and (decoded := load(known.sha256)) is not None:
        return decoded, known
    from realfeatures.science.data.folder import read_folder

    return read_folder(_path(config))


def _is_folder(config: DataConfig) -> bool:
    return config.source.startswith(FOLDER_PREFIX)


def _path(config: DataConfig) -> Path:
    text = config.source.removeprefix(FOLDER_PREFIX)
    if not text:
        raise DataError(f"data.source={config.source!r} names no path; write {FOLDER_PREFIX}PATH, {LAYOUT}")
    return Path(text).expanduser()


def _named(config: DataConfig) -> NamedSource:
    source = config.source
    if source not in DATA_SOURCES:
        is_path = "/" in source or source.endswith(ARCHIVE_SUFFIXES)
        hint = f"write {FOLDER_PREFIX}{source}" if is_path else f"or {FOLDER_PREFIX}PATH"
        raise DataError(f"data.source={source!r} is unknown; expected one of {', '.join(DATA_SOURCES)}; {hint}")
    if config.sha256 is not None:
        raise DataError(f"data.sha256 is set for {source!r}; it is for {FOLDER_PREFIX}PATH only: remove it")
    return DATA_SOURCES[source]


def _named_info(source: NamedSource) -> SourceInfo:
    return SourceInfo(source.train, source.test, source.channels, source.height, source.width, source.classes)


def _folder_info(summary: Summary) -> SourceInfo:
    return SourceInfo(
        summary.train, summary.test, summary.channels, summary.height, summary.width, len(summary.classes)
    )
