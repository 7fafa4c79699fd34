"""What is found of a run's grid: the manifest and the record of every finished cell, verified; imports no torch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realfeatures.experiment.about import Role
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import DATA, Cell
from realfeatures.science.artifacts import RUN, read_manifest, read_record
from realfeatures.science.data.sources import title

LEFT_OUT = "left_out"
"""Of the manifest of a record that came without its artifact: as `files`, those that were left out."""


@dataclass(frozen=True)
class Finished:
    """A cell whose artifact is there, or its record alone, and whose bytes are what its manifest says."""

    folder: Path
    manifest: dict[str, Any]
    record: dict[str, Any]
    run: dict[str, Any]

    @property
    def files(self) -> dict[str, Any]:
        """What the artifact's files are, by name; those too that did not come along with its record."""
        return {**self.manifest["files"], **self.manifest.get(LEFT_OUT, {})}


@dataclass(frozen=True)
class Records:
    """A grid with what was found of it; a cell that has not run yet is missing in `finished`."""

    preset: Preset
    seeds: tuple[int, ...]
    grid: tuple[Cell, ...]
    addresses: Mapping[str, str]
    finished: Mapping[str, Finished]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by label; empty where the data set is missing."""
        data = self.finished.get(DATA)
        return tuple(data.manifest["attributes"]["classes"]) if data else ()

    @property
    def title(self) -> str:
        """What a person calls the data set."""
        return title(self.preset.data)

    def with_role(self, *roles: Role) -> Iterator[tuple[Cell, Finished]]:
        """Yield the finished cells of some roles, in the grid's order."""
        for cell in self.grid:
            if cell.role in roles and cell.key in self.finished:
                yield cell, self.finished[cell.key]


def read_records(
    out: Path, *, preset: Preset, seeds: Sequence[int], grid: Sequence[Cell], addresses: Mapping[str, str]
) -> Records:
    """Read and verify every finished cell under `out`/cells.

    Raises:
        ArtifactError: a cell's artifact was changed.
    """
    folders = {cell.key: out / "cells" / addresses[cell.key] for cell in grid}
    finished = {key: _read(folder) for key, folder in folders.items() if folder.is_dir()}
    return Records(preset, tuple(seeds), tuple(grid), addresses, finished)


def _read(folder: Path) -> Finished:
    manifest = read_manifest(folder)
    try:
        run = json.loads((folder / RUN).read_bytes())
    except (FileNotFoundError, ValueError):
        run = {}  # no digest covers it: a time that was lost takes no result away
    return Finished(folder, manifest, read_record(folder), run)
