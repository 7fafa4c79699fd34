"""Objects in and out of a store, each whole and verified or not at all."""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from realfeatures.errors import CorruptObjectError, MissingObjectError, StorageError, attempt
from realfeatures.science.artifacts import beside, sha256_of, storage_errors
from realfeatures.store.connection import minio_client
from realfeatures.store.failures import passes, reason, told
from realfeatures.store.settings import LOCATION_VARIABLE, Patience, Settings, read_settings

Progress = Callable[[int, int], None]
"""Told the bytes that are done, and all."""

CHECK_PATIENCE = Patience(attempts=3)
"""Of the first look at a store: about three seconds, so that a wrong address is told soon."""

PART_BYTES = 16 * 2**20
"""Of a part of a large object: S3 wants 5 MiB or more and 10,000 parts at most, which allows 160 GB."""
CHUNK_BYTES = 2**20
DIGEST = "x-amz-meta-sha256"
"""Where an object carries the digest of its content."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class StoredObject:
    """An object, as a listing shows it."""

    key: str
    """Below the store's prefix."""
    size_bytes: int
    modified: datetime


class ObjectStore:
    """A bucket, or a part of one.

    Args:
        settings: place and credentials.
        patience: how long an operation is tried.
    """

    def __init__(self, settings: Settings, *, patience: Patience | None = None) -> None:
        self.settings = settings
        self.patience = patience or Patience()
        self._plain = minio_client(settings, self.patience, only_new=False)
        self._only_new = minio_client(settings, self.patience, only_new=True)

    @classmethod
    def from_location(cls, location: str, *, patience: Patience | None = None) -> "ObjectStore":
        """Return the store at s3://BUCKET/PREFIX, with what else it takes from the environment.

        Raises:
            ConfigError: location, endpoint or credentials are missing or not of their form.
        """
        return cls(read_settings(location), patience=patience)

    @classmethod
    def from_environment(cls) -> "ObjectStore | None":
        """Return the store that $REALFEATURES_STORE names, or None where it names none.

        Raises:
            ConfigError: as from_location.
        """
        location = os.environ.get(LOCATION_VARIABLE)
        return cls.from_location(location) if location else None

    def __repr__(self) -> str:
        return f"ObjectStore({self.settings.location!r} at {self.settings.host})"

    def check(self) -> None:
        """See that the store can be read and written, within seconds.

        Raises:
            StorageError: it cannot.
        """
        quick = ObjectStore(self.settings, patience=CHECK_PATIENCE)
        # Some servers make a bucket with the first write into it: a mistyped name must not become one.
        # By a listing: the answer to HEAD has no body that says what is wrong.
        quick._attempt("look for the bucket", lambda: next(quick._listed(""), None))
        key, content = f".check-{secrets.token_hex(8)}", secrets.token_bytes(16)
        quick._attempt("write a first object", lambda: quick._put_bytes(key, content))
        found = quick._attempt("read it back", lambda: quick._get_bytes(key))
        quick.delete(key)
        if found != content:
            raise StorageError(
                f"{self.settings.location}: gives back other bytes than it was given; use another server"
            )

    def list(self, prefix: str = "") -> "Iterator[StoredObject]":
        """Yield the objects whose key begins with `prefix`, in the order of their keys.

        Raises:
            StorageError: the server refuses or cannot be reached.
        """
        for one in self._attempt(f"list {prefix}", lambda: list(self._listed(prefix))):
            key = str(one.object_name).removeprefix(self.settings.prefix)
            yield StoredObject(key, int(one.size or 0), one.last_modified)

    def holds(self, key: str, path: Path) -> bool:
        """Return whether there is an object that says to be of a file's content.

        Raises:
            StorageError: as put.
        """
        digest, size = _digest_and_size(path)
        try:
            found = self._attempt(f"look for {key}", lambda: self._stat(key))
        except MissingObjectError:
            return False
        return (found.metadata.get(DIGEST), found.size) == (digest, size)

    def get(self, key: str, path: Path, *, progress: Progress = no_progress) -> None:
        """Write an object's content to a file, which appears whole and verified or not at all.

        Raises:
            MissingObjectError: there is none.
            CorruptObjectError: its bytes are not those that were put there.
            StorageError: the server refuses or cannot be reached, or the file cannot be written.
        """
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        temporary = beside(path)
        try:
            self._attempt(f"get {key}", lambda: self._download(key, temporary, progress))
            with storage_errors(path):
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def put(self, path: Path, key: str, *, overwrite: bool = True, progress: Progress = no_progress) -> bool:
        """Put a file's content into the store and see that all of it arrived.

        Args:
            path: the file.
            key: of the object.
            overwrite: False: where there is one already, it stays.
            progress: told the bytes that are done.

        Returns:
            Whether the object was written.

        Raises:
            StorageError: the server refuses or cannot be reached, or the file cannot be read.
        """
        digest, size = _digest_and_size(path)
        written: bool = self._attempt(
            f"put {key}", lambda: self._upload(path, key, digest, overwrite=overwrite, progress=progress)
        )
        if written:
            self._attempt(f"verify {key}", lambda: self._verify(key, digest, size))
        return written

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine.

        Raises:
            StorageError: the server refuses or cannot be reached.
        """
        self._attempt(f"delete {key}", lambda: self._plain.remove_object(self.settings.bucket, self._name(key)))

    def _attempt(self, what: str, action: Callable[[], Any]) -> Any:
        return attempt(
            f"store: {what}",
            action,
            retries=self.patience,
            passes=passes,
            reason=reason,
            told=lambda error: told(error, what, self.settings),
        )

    def _name(self, key: str) -> str:
        return self.settings.prefix + key

    def _listed(self, prefix: str) -> Any:
        # Never more than our part of the bucket: the credentials may be good for no other.
        return self._plain.list_objects(self.settings.bucket, self._name(prefix), recursive=True)

    def _stat(self, key: str) -> Any:
        return self._plain.stat_object(self.settings.bucket, self._name(key))

    def _put_bytes(self, key: str, content: bytes) -> None:
        from io import BytesIO

        self._plain.put_object(self.settings.bucket, self._name(key), BytesIO(content), len(content))

    def _get_bytes(self, key: str) -> bytes:
        response = self._plain.get_object(self.settings.bucket, self._name(key))
        try:
            return bytes(response.read())
        finally:
            response.close()

    def _download(self, key: str, path: Path, progress: Progress) -> None:
        """Write an object to a file and compare its digest; an earlier attempt's bytes are dropped."""
        response = self._plain.get_object(self.settings.bucket, self._name(key))
        try:
            expected, total = response.headers.get(DIGEST), int(response.headers.get("content-length", 0))
            digest, done = hashlib.sha256(), 0
            with storage_errors(path), path.open("wb") as file:
                for chunk in response.stream(CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    progress(done, total)
                file.flush()
                os.fsync(file.fileno())
        finally:
            response.close()
            response.release_conn()
        if digest.hexdigest() != expected:
            raise CorruptObjectError(
                f"{self.settings.location}: {key}: sha256 is {digest.hexdigest()[:12]}..., expected"
                f" {str(expected)[:12]}...: it was changed or not put there by realfeatures; delete it and run again"
            )

    def _upload(self, path: Path, key: str, digest: str, *, overwrite: bool, progress: Progress) -> bool:
        from minio.error import S3Error

        client = self._plain if overwrite else self._only_new
        with path.open("rb") as file:
            try:
                client.put_object(
                    self.settings.bucket,
                    self._name(key),
                    cast("BinaryIO", _Counted(file, path.stat().st_size, progress)),
                    path.stat().st_size,
                    metadata={"sha256": digest},
                    part_size=PART_BYTES,
                )
            except S3Error as error:
                if overwrite or error.code != "PreconditionFailed":
                    raise
                return False
        return True

    def _verify(self, key: str, digest: str, size: int) -> None:
        found = self._stat(key)
        if (found.metadata.get(DIGEST), found.size) != (digest, size):
            raise CorruptObjectError(
                f"{self.settings.location}: {key}: has {found.size} bytes after {size} were put there;"
                " someone else writes this key, or the server loses bytes; run again"
            )


def _digest_and_size(path: Path) -> tuple[str, int]:
    try:
        return sha256_of(path), path.stat().st_size
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}; choose a file that you may read") from None


class _Counted:
    """A file that tells how much of it was read; what minio reads it puts on its way."""

    def __init__(self, file: IO[bytes], total: int, progress: Progress) -> None:
        self.file, self.total, self.progress, self.done = file, total, progress, 0

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.done += len(content)
        self.progress(self.done, self.total)
        return content
