"""Data sets in an object store: put there once, taken from there by machines that have no other way to them.

What is mirrored is a set's entry in the data cache, so that all else reads it as if it had been decoded or
downloaded here.
"""

import logging
import shutil

from realfeatures.errors import ConfigError, DataError, MissingObjectError
from realfeatures.experiment.config import DataConfig
from realfeatures.science.artifacts import beside, storage_errors
from realfeatures.science.data.decoded import CacheEntry, cache_folder, find
from realfeatures.science.data.sources import cache_entry, load_source, pin_source
from realfeatures.store.archives import pack, unpack
from realfeatures.store.client import ObjectStore, Progress, no_progress

logger = logging.getLogger(__name__)

DATA = "data/"


def mirror(config: DataConfig, objects: ObjectStore, *, progress: Progress = no_progress) -> DataConfig:
    """Put a data set into a store, unless this very copy is there; return the configuration that finds it.

    Raises:
        ConfigError: the set ships inside a library, so every machine has it.
        DataError: the set is not usable.
        StorageError: the store or the disk refuses.
    """
    pinned = pin_source(config)
    entry = cache_entry(pinned)
    if entry is None:
        raise ConfigError(f"data {config.source}: ships inside a library, so that every machine has it")
    if not entry.complete:
        load_source(pinned)  # downloads it
    packed = beside(cache_folder() / "packed")
    try:
        pack(cache_folder(), packed, files=entry.files)
        # Another copy of the same pictures was decoded by another version of Pillow, and is of no use to this one.
        if not objects.holds(_key(entry), packed):
            objects.put(packed, _key(entry), progress=progress)
    finally:
        packed.unlink(missing_ok=True)
    return pinned


def provide(config: DataConfig, objects: ObjectStore) -> None:
    """Bring a data set from a store into the cache, where it is not there yet and the store has it.

    Raises:
        CorruptObjectError: the store's copy was changed.
        DataError: it was decoded by another version of Pillow.
        StorageError: the store or the disk refuses.
    """
    if config.source.startswith("folder:") and config.sha256 is None:
        return  # it has to be on this machine
    entry = cache_entry(config)
    if entry is None or entry.complete:
        return
    place, packed = beside(cache_folder() / "unpacked"), beside(cache_folder() / "packed")
    try:
        logger.info("data %s: comes from %s", config.source, objects.settings.location)
        objects.get(_key(entry), packed)
        unpack(packed, place)
        with storage_errors(place):
            for file in entry.files:
                file.parent.mkdir(parents=True, exist_ok=True)
                (place / file.relative_to(cache_folder())).replace(file)
        _require_usable(config, entry)
    except MissingObjectError:
        logger.info("data %s: is not in the store", config.source)
    finally:
        packed.unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)


def _require_usable(config: DataConfig, entry: CacheEntry) -> None:
    if config.sha256 is None or find(config.sha256) is not None:
        return
    entry.files[-1].unlink()  # or it would count as complete the next time
    raise DataError(
        f"data {config.source}: the store's copy was decoded by another version of realfeatures or Pillow;"
        " mirror it again with this one"
    )


def _key(entry: CacheEntry) -> str:
    return f"{DATA}{entry.name}.tar"
