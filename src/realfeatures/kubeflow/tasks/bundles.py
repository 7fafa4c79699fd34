"""What Kubeflow's artifacts hold: the artifacts of one or several cells, and the records of all that they come from.

    cells.json              each cell's address by its key
    cells/ADDRESS/          the cell's artifact, whole
    records/ADDRESS/        of a cell that it comes from: manifest, record, run and the small files that the report
                            reads; of an image set also the few images that it shows

A task finds its inputs by their keys, and checks them by their addresses. Every task hands on the records that it was
given, so the report needs the artifacts of the last tasks alone.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from realfeatures.errors import ArtifactError
from realfeatures.report.sections.gallery import COUNT
from realfeatures.results.flags import FLAGS
from realfeatures.results.records import LEFT_OUT
from realfeatures.science.artifacts import MANIFEST, RECORD, RUN, Artifact, open_artifact, write_bytes, write_json

INDEX, CELLS, RECORDS = "cells.json", "cells", "records"
IMAGES = "train.safetensors"
KEPT = (RECORD, FLAGS)
"""Files of an artifact that its record has too: claims are judged image by image."""


class Bundle:
    """An artifact of Kubeflow's on this machine's disk; read only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.addresses: dict[str, str] = dict(json.loads((folder / INDEX).read_bytes()))
        except FileNotFoundError:
            raise ArtifactError(f"{folder.name}/{INDEX}: missing; run the task that makes it again") from None
        except (ValueError, TypeError):
            raise ArtifactError(f"{folder.name}/{INDEX}: is no index; run the task that makes it again") from None

    def has(self, key: str, address: str) -> bool:
        """Return whether the bundle has a cell's artifact, and not only its record."""
        return self.addresses.get(key) == address and cell_folder(self.folder, address).is_dir()

    def known(self) -> dict[str, Path]:
        """Return the artifact, or else the record, of every cell that it holds or comes from, by the cell's key.

        Raises:
            ArtifactError: it has neither of a cell.
        """
        return {key: self._place(key, address) for key, address in self.addresses.items()}

    def _place(self, key: str, address: str) -> Path:
        for place in (cell_folder(self.folder, address), self.folder / RECORDS / address):
            if place.is_dir():
                return place
        raise ArtifactError(f"{key}: {self.folder} has lost its record; run the task that makes it again")


def find(key: str, address: str, bundles: Iterable[Bundle]) -> Artifact:
    """Return a cell's artifact, verified, from the one of the bundles that has it.

    Raises:
        ArtifactError: none has, or its bytes were changed.
    """
    for bundle in bundles:
        if bundle.has(key, address):
            artifact = open_artifact(cell_folder(bundle.folder, address))
            if artifact.address != address:
                raise ArtifactError(f"{key}: in its place is cell {artifact.address}; run the task that makes it again")
            return artifact
    raise ArtifactError(f"{key}: none of this task's inputs has it; compile the pipeline again")


def cell_folder(bundle: Path, address: str) -> Path:
    """Return where a bundle has a cell's artifact."""
    return bundle / CELLS / address


def close_bundle(folder: Path, *, made: Mapping[str, str], known: Mapping[str, Path]) -> None:
    """Make a folder a bundle, whose cells are in their places already.

    Args:
        folder: of Kubeflow's artifact.
        made: the address of each cell that it holds, by the cell's key.
        known: the artifact or the record of every cell that it comes from, by the cell's key.
    """
    index = dict(made)
    for key, place in known.items():
        if key not in made:
            index[key] = place.name
            write_record(place, folder / RECORDS / place.name)
    write_json(folder / INDEX, index)


def write_record(artifact: Path, folder: Path) -> None:
    """Write what the report needs of a cell, from its artifact or from another record of it."""
    manifest = json.loads((artifact / MANIFEST).read_bytes())
    files = {**manifest["files"], **manifest.get(LEFT_OUT, {})}
    kept = {name: one for name, one in files.items() if name in KEPT}
    left_out = {name: one for name, one in files.items() if name not in KEPT}
    write_json(folder / MANIFEST, {**manifest, "files": kept, LEFT_OUT: left_out})
    for name in (*kept, RUN):
        write_bytes(folder / name, (artifact / name).read_bytes())
    if manifest["kind"] == "image_set" and (artifact / IMAGES).exists():
        _write_first_images(artifact / IMAGES, folder / IMAGES)


def _write_first_images(images: Path, few: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(images, framework="numpy") as file:
        save_file({name: file.get_slice(name)[:COUNT] for name in ("images", "labels")}, few)
