"""Artifacts: folders of safetensors files with a manifest that says what they are and proves their bytes.

An artifact is `*.safetensors`, `record.json` and `manifest.json`. The manifest holds the kind, the
sha256 of every file, each tensor's shape and range, and everything the cell's address was taken of. It
has no time and no host in it, so that equal cells are equal byte for byte; those stand in `run.json`
beside it, which no digest covers. Reading verifies; nothing is unpickled.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType, Self

from realfeatures.errors import ArtifactError, StorageError

if TYPE_CHECKING:
    import torch

OutputDir = NewType("OutputDir", Path)
"""A stage's output port: an empty folder to write an artifact into."""

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
RECORD = "record.json"
RUN = "run.json"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: a stage's input port. Its bytes were verified when it was opened, and are not again."""

    folder: Path
    manifest: Mapping[str, Any]

    def __str__(self) -> str:
        return self.folder.name

    @property
    def kind(self) -> str:
        """image_set, encoder, probe, attack, transfer or loss_curves."""
        return str(self.manifest["kind"])

    @property
    def address(self) -> str:
        """The address of the cell that made it."""
        return str(self.manifest["address"])

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What a reader needs to use the tensors: classes, image shape, the encoder's configuration."""
        return dict(self.manifest["attributes"])

    def tensors(self, file: str) -> "dict[str, torch.Tensor]":
        """Return the CPU tensors, by name, of one of its files, such as `probe.safetensors`.

        Raises:
            ArtifactError: it has no such file, or one of another form.
        """
        return load_tensors(self.folder / file)

    def require(self, kind: str) -> Self:
        """Return the artifact itself.

        Raises:
            ArtifactError: it is of another kind.
        """
        if self.kind != kind:
            raise ArtifactError(
                f"{self}/{MANIFEST}: is of kind {self.kind!r}, expected {kind!r}; connect the right artifact"
            )
        return self


def open_artifact(folder: Path) -> Artifact:
    """Return the artifact of a folder after checking its manifest's form and every file's digest.

    Raises:
        ArtifactError: missing, of another schema, or a file whose bytes were changed.
    """
    return Artifact(folder, read_manifest(folder))


def save_tensors(path: Path, tensors: "Mapping[str, torch.Tensor]") -> None:
    """Write tensors as one safetensors file, whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    from safetensors.torch import save

    # Contiguous copies on the CPU: safetensors refuses views and shared storage.
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def load_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """Read a safetensors file into CPU tensors.

    Raises:
        ArtifactError: missing or not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise ArtifactError(f"{_short(path)}: missing; run the stage that writes it again") from None
    except SafetensorError as error:
        raise ArtifactError(f"{_short(path)}: not a safetensors file ({error}); run the stage again") from None


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there, so that no reader and no crash sees half of it.

    Raises:
        StorageError: disk full, read-only or no permission.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile's: that gives 0600 whatever the umask, and a report is for others to read.
        temporary = beside(path)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def beside(path: Path) -> Path:
    """Return a hidden path beside another, that nothing has: what is written there takes its place in one step."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a full or read-only disk into one clear line."""
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "free some space and run the same command again",
            errno.EDQUOT: "free some space and run the same command again",
            errno.EACCES: "choose a folder that you may write to",
            errno.EROFS: "choose a folder that is not read-only",
            errno.ENOTDIR: "choose a folder, not a file",
        }.get(error.errno or 0, "check the disk and run the same command again")
        raise StorageError(f"cannot write {path}: {error.strerror}; {remedy}") from None


def empty_folder(folder: Path) -> Path:
    """Return the folder, made anew, without what an earlier attempt left in it.

    Raises:
        StorageError: it cannot be made.
    """
    with storage_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    return folder


def seal(folder: Path, *, kind: str, record: Mapping[str, Any], attributes: Mapping[str, Any], **origin: Any) -> None:
    """Write the record and, last, the manifest of an artifact's folder.

    Args:
        folder: holds the artifact's safetensors files.
        kind: image_set, encoder, probe or attack.
        record: what the report needs of the cell (measurements, history), small JSON.
        attributes: what a reader needs to use the tensors (classes, image shape, paradigm), small JSON.
        origin: what the cell's address was taken of: stage, config, inputs, seed, runtime, code, versions, address.
    """
    write_json(folder / RECORD, record)
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256_of(path), "bytes": path.stat().st_size, **_tensors(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"schema_version": SCHEMA_VERSION, "kind": kind, "attributes": attributes, "files": files, **origin}
    write_json(folder / MANIFEST, manifest)


def commit(folder: Path, destination: Path) -> None:
    """Move a sealed folder to its place, in one step.

    Raises:
        StorageError: the move failed.
    """
    with storage_errors(destination):
        if destination.exists():
            shutil.rmtree(destination)
        folder.rename(destination)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an artifact after checking its form and every file's digest.

    Raises:
        ArtifactError: missing, of another schema, or a file whose bytes were changed.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        files, _, version = manifest["files"], manifest["kind"], manifest["schema_version"]
    except FileNotFoundError:
        raise ArtifactError(f"{_short(path)}: missing, so {folder} is no artifact; run the stage again") from None
    except (ValueError, KeyError, TypeError):
        raise ArtifactError(f"{_short(path)}: not a manifest; delete {folder} and run again") from None
    if version != SCHEMA_VERSION:
        raise ArtifactError(f"{_short(path)}: schema version {version}, expected {SCHEMA_VERSION}; run the stage again")
    for name, expected in files.items():
        _verify(folder, name, expected["sha256"])
    return dict(manifest)


def read_record(folder: Path) -> dict[str, Any]:
    """Return an artifact's record: what the report needs of the cell."""
    return dict(json.loads((folder / RECORD).read_bytes()))


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _verify(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{_short(folder / MANIFEST)}: names {name!r}, outside its folder; delete {folder}")
    if not path.is_file():
        raise ArtifactError(f"{_short(path)}: missing; delete {folder} and run again")
    actual = sha256_of(path)
    if actual != expected:
        raise ArtifactError(
            f"{_short(path)}: sha256 does not match its manifest ({actual[:12]}..., expected {expected[:12]}...);"
            f" delete {folder} and run again"
        )


def _tensors(path: Path) -> dict[str, Any]:
    """Return shape, type and range of each tensor of a safetensors file; nothing for other files."""
    if path.suffix != ".safetensors":
        return {}
    tensors = load_tensors(path)
    return {
        "tensors": {
            name: {
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "shape": list(tensor.shape),
                "min": tensor.min().item() if tensor.numel() else None,
                "max": tensor.max().item() if tensor.numel() else None,
            }
            for name, tensor in sorted(tensors.items())
        }
    }


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
