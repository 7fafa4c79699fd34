"""Cells in an object store: finished artifacts and the checkpoints of running stages, by the cell's address.

An artifact is one object, so that it is there whole or not at all, and of two pods that finish the same cell the
first one's stays.
"""

import logging
import shutil
from pathlib import Path

from realfeatures.errors import ArtifactError, CorruptObjectError, MissingObjectError, StorageError
from realfeatures.experiment.config import DataConfig
from realfeatures.science.artifacts import beside, commit, read_manifest
from realfeatures.store.archives import pack, unpack
from realfeatures.store.client import ObjectStore
from realfeatures.store.data import provide
from realfeatures.store.settings import Patience

logger = logging.getLogger(__name__)

CELLS = "cells/"
CHECKPOINTS = "checkpoints/"

PUSH_PATIENCE = Patience(connect_seconds=5.0, read_seconds=30.0, attempts=2)
"""Of keeping a checkpoint: the training waits meanwhile, and another checkpoint follows."""


class CellStore:
    """What a run keeps in an object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    def finished(self) -> set[str]:
        """Return the addresses of the artifacts that the store has.

        Raises:
            StorageError: the server refuses or cannot be reached.
        """
        return {one.key.removeprefix(CELLS).removesuffix(".tar") for one in self.objects.list(CELLS)}

    def keep(self, address: str, folder: Path) -> None:
        """Put an artifact into the store, unless it has one of this address, in the place of its checkpoint.

        Raises:
            StorageError: the server refuses or cannot be reached.
        """
        packed = beside(folder)
        try:
            pack(folder, packed)
            self.objects.put(packed, _artifact(address), overwrite=False)
        finally:
            packed.unlink(missing_ok=True)
        # Last: a pod that dies before has lost nothing.
        self.checkpoint(address).discard()

    def restore(self, address: str, destination: Path) -> bool:
        """Take an artifact from the store; return whether it had a sound one.

        Args:
            address: of the cell.
            destination: appears whole, in one step, or not at all.

        Raises:
            StorageError: the server refuses or cannot be reached, or the disk cannot be written.
        """
        packed, folder = beside(destination), beside(destination)
        try:
            self.objects.get(_artifact(address), packed)
            unpack(packed, folder)
            _require_address(folder, address)
            commit(folder, destination)
        except MissingObjectError:
            return False
        except (CorruptObjectError, ArtifactError) as error:
            logger.warning("the store's copy of cell %s is thrown away, the cell is computed again: %s", address, error)
            # Or its place would be taken when the cell is done.
            self.objects.delete(_artifact(address))
            return False
        finally:
            packed.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def checkpoint(self, address: str) -> "CheckpointMirror":
        """Return where the store keeps the checkpoint of a running stage."""
        return CheckpointMirror(self.objects, f"{CHECKPOINTS}{address}.safetensors")

    def provide(self, config: DataConfig) -> None:
        """Bring a data set into this machine's cache, where it is not there and the store has it.

        Raises:
            StorageError: the server refuses or cannot be reached, or the copy was changed.
        """
        provide(config, self.objects)


class CheckpointMirror:
    """One checkpoint's twin in the store; see checkpoint.Mirror."""

    def __init__(self, objects: ObjectStore, key: str) -> None:
        self.objects, self.key = objects, key
        self.hurried = ObjectStore(objects.settings, patience=PUSH_PATIENCE)

    def fetch(self, path: Path) -> None:
        """Write the twin to a file, where there is a sound one.

        Raises:
            StorageError: the server refuses or cannot be reached: hours would be computed again unasked.
        """
        try:
            self.objects.get(self.key, path)
        except MissingObjectError:
            return
        except CorruptObjectError as error:
            logger.warning("the store's checkpoint is of no use, the stage starts over: %s", error)

    def push(self, path: Path) -> None:
        """Put the checkpoint into the store; where that fails the stage goes on, with an older twin."""
        try:
            self.hurried.put(path, self.key)
        except StorageError as error:
            logger.warning("the checkpoint is kept on this disk only: %s", error)

    def discard(self) -> None:
        """Remove the twin of a stage that is done; where that fails, `realfeatures store gc` will."""
        try:
            self.hurried.delete(self.key)
        except StorageError as error:
            logger.warning("the checkpoint of a finished stage stays in the store: %s", error)


def _require_address(folder: Path, address: str) -> None:
    if read_manifest(folder).get("address") != address:
        raise ArtifactError(f"{_artifact(address)}: holds another cell")


def _artifact(address: str) -> str:
    return f"{CELLS}{address}.tar"
