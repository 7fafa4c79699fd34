"""The files of an image folder or of an archive of one, as a stream; nothing is ever extracted to disk."""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, cast

from realfeatures.errors import DataError

SPLITS = ("train", "test")
LAYOUT = "expected train/CLASS/IMAGE and test/CLASS/IMAGE"

MAX_FILE_BYTES = 16 << 20
"""chosen: an uncompressed 512 x 512 image with alpha takes 1 MiB; the rest is room for metadata."""
MAX_ARCHIVE_BYTES = 8 << 30
"""chosen: bounds what a bomb can cost to a minute or so; four times the largest set (see folder.py)."""

_OPENERS: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
}
ARCHIVE_SUFFIXES = (*_OPENERS, ".zip")

_HIDDEN = {"__MACOSX", "Thumbs.db", "desktop.ini"}
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError)


@dataclass(frozen=True)
class Member:
    """One file: its path inside the folder, its size, and how to read it before the next one is asked for."""

    name: str
    size: int
    read: Callable[[], bytes]


def members(path: Path) -> Iterator[Member]:
    """Yield the regular, visible files of a tree (train/ and test/ only) or of an archive, in its own order.

    Raises:
        DataError: missing, not an archive, or a member that is a link, a device, encrypted or leads out.
    """
    if path.is_dir():
        return _tree_members(path)
    if not path.exists():
        raise DataError(f"folder:{path} does not exist; expected a folder or an archive with train/ and test/")
    if not path.is_file():
        raise DataError(f"folder:{path} is neither a folder nor a file; {LAYOUT}")
    if archive_suffix(path) is None:
        raise DataError(f"folder:{path} is neither a folder nor an archive; expected {' '.join(ARCHIVE_SUFFIXES)}")
    found = _zip_members(path) if archive_suffix(path) == ".zip" else _tar_members(path)
    return (member for member in found if not is_hidden(member.name))


def archive_suffix(path: Path) -> str | None:
    """Return the archive suffix of a file's name, None where it has none."""
    matches = (suffix for suffix in ARCHIVE_SUFFIXES if path.name.lower().endswith(suffix))
    return max(matches, key=len, default=None)


def is_hidden(name: str) -> bool:
    """Return whether a path is one that file managers leave behind: .DS_Store, __MACOSX, Thumbs.db."""
    return any(part.startswith(".") or part in _HIDDEN for part in PurePosixPath(name).parts)


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while members are read into one line."""
    try:
        yield
    except _DAMAGE as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: truncated or damaged archive ({detail}); fetch or make it again") from None
    except (NotImplementedError, RuntimeError) as error:  # zipfile: unknown compression method
        raise DataError(f"{path}: cannot be read ({error}); make the archive again with plain deflate") from None
    except OSError as error:
        raise DataError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}); check the file"
        ) from None


def _tree_members(path: Path) -> Iterator[Member]:
    root = _root(path)
    for split in SPLITS:
        if not (root / split).is_dir():
            continue
        for entry in _visible(root / split):
            if entry.is_dir():
                yield from _class_members(root, Path(entry.path))
            else:
                yield _tree_member(root, Path(entry.path))


def _root(path: Path) -> Path:
    """Return the folder that holds train/ and test/: `path`, or the one folder in it that does."""

    def holds_a_split(folder: Path) -> bool:
        return any((folder / split).is_dir() for split in SPLITS)

    if holds_a_split(path):
        return path
    entries = _visible(path)
    if not entries:
        raise DataError(f"folder:{path} is empty; {LAYOUT}")
    inner = [Path(entry.path) for entry in entries if entry.is_dir() and holds_a_split(Path(entry.path))]
    if not inner:
        raise DataError(f"folder:{path} has neither train/ nor test/; {LAYOUT}")
    if len(inner) > 1:
        raise DataError(f"folder:{path} has several data sets ({inner[0].name}, {inner[1].name}); name one of them")
    return inner[0]


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)


def _class_members(root: Path, folder: Path) -> Iterator[Member]:
    for entry in _visible(folder):
        yield _tree_member(root, Path(entry.path))


def _tree_member(root: Path, file: Path) -> Member:
    # Links to files are followed: in a tree of one's own they are a usual way to choose images.
    information = file.stat()
    if not stat.S_ISREG(information.st_mode):
        kind = "a folder" if stat.S_ISDIR(information.st_mode) else "neither a file nor a folder"
        raise DataError(f"{str(file)!r} is {kind}; {LAYOUT}")
    return Member(file.relative_to(root).as_posix(), information.st_size, file.read_bytes)


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            # Some Windows programs write backslashes; zipfile leaves them on other systems.
            name = _inside(path, entry.filename.replace("\\", "/"))
            # The upper half of external_attr is a Unix mode where the zip was made on one, else zero.
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _not_a_file(path, entry.filename)
            if entry.is_dir():
                continue
            if entry.flag_bits & 1:
                raise DataError(f"{path}: member {entry.filename!r} is encrypted; make the archive without a password")
            # Opening compares the two places where a zip holds a name, of files that are then passed over too:
            # a damaged name must not drop an image silently.
            with archive.open(entry) as file:
                yield Member(name, entry.file_size, file.read)


def _tar_members(path: Path) -> Iterator[Member]:
    suffix = archive_suffix(path)
    assert suffix is not None  # noqa: S101 - members() has looked
    with _OPENERS[suffix](path, "rb") as file:
        stream = _ForwardReader(path, file)
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:") as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined] # otherwise it keeps every entry: 1 GB a million
                name = _inside(path, entry.name)
                if entry.isreg():
                    yield Member(name, entry.size, partial(_tar_content, archive, entry))
                elif not entry.isdir():
                    raise _not_a_file(path, entry.name)
        stream.finish()


def _tar_content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(entry)
    assert file is not None  # noqa: S101 - regular files have content
    return file.read()


def _inside(path: Path, name: str) -> str:
    """Return a member's path without `.` parts, if it stays inside the archive's folder.

    Nothing is extracted, so that a member could not do harm; one that tries is not worth trusting.
    """
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or PureWindowsPath(name).drive:
        raise DataError(f"{path}: member {name!r} leads out of the archive's folder; {LAYOUT}")
    return "/".join(parts)


def _not_a_file(path: Path, name: str) -> DataError:
    return DataError(f"{path}: member {name!r} is a link or a device; expected plain files, so copy the images in")


class _ForwardReader:
    """A decompressed tar read once from front to back, bounded, which notices a missing end.

    tarfile takes a cut or damaged header for the end of the archive, and so would drop images silently.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.file = file
        self.position = 0
        self.last_block = b""

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> int:
        if position < self.position:
            raise tarfile.ReadError("members overlap")
        while self.position < position and self._take(min(position - self.position, 1 << 20)):
            pass
        return self.position

    def read(self, size: int) -> bytes:
        self.last_block = self._take(size)
        return self.last_block

    def finish(self) -> None:
        """Check the end marker (a block of zeros), then the checksum at the compressed stream's end."""
        if self.last_block != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end-of-archive marker")
        while self._take(1 << 20):
            pass

    def _take(self, size: int) -> bytes:
        # No header or image is larger; an extended header that claims to be must not fill the memory.
        if not 0 <= size <= MAX_FILE_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        content = self.file.read(size)
        self.position += len(content)
        if self.position > MAX_ARCHIVE_BYTES:
            raise DataError(f"{self.path}: unpacks to more than {MAX_ARCHIVE_BYTES >> 30} GiB; make a smaller archive")
        return content
