"""Several files as one object: uncompressed tar archives with equal bytes for equal content."""

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from realfeatures.errors import CorruptObjectError
from realfeatures.science.artifacts import empty_folder, storage_errors


def pack(folder: Path, path: Path, *, files: Sequence[Path] | None = None) -> None:
    """Write files as a tar archive, whose bytes depend on names and contents alone.

    Args:
        folder: names in the archive are relative to it.
        path: the archive.
        files: below the folder, in this order; None: all of them, sorted.

    Raises:
        StorageError: the archive cannot be written.
    """
    chosen = files if files is not None else sorted(file for file in folder.rglob("*") if file.is_file())
    with storage_errors(path), tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for file in chosen:
            member = tarfile.TarInfo(file.relative_to(folder).as_posix())
            member.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(member, content)


def unpack(path: Path, folder: Path) -> None:
    """Write the files of an archive that `pack` wrote into a new folder.

    Raises:
        CorruptObjectError: not such an archive.
        StorageError: the folder cannot be written.
    """
    empty_folder(folder)
    try:
        with storage_errors(folder), tarfile.open(path, "r:") as archive:
            for member in archive:
                _extract(archive, member, folder)
    except tarfile.TarError as error:
        raise CorruptObjectError(f"{path.name}: not an archive of an artifact ({error})") from None


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    # By hand, since `extractall(filter=...)` came with Python 3.11.4 and Debian 12 has 3.11.2.
    name = PurePosixPath(member.name)
    content = archive.extractfile(member) if member.isreg() else None
    if content is None or name.is_absolute() or ".." in name.parts:
        raise tarfile.TarError(f"{member.name!r} is not a file below the folder")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("xb") as file:
        shutil.copyfileobj(content, file)
