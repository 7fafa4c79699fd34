"""The folder of a run: its layout, its lock, which experiment it holds and which cells are done.

experiment.json     the resolved preset and the seeds that were run here
cells/<address>/    finished artifacts
partial/<address>/  checkpoint and unfinished output of a running cell
report.html, report.md, results.json, log.txt, .lock
"""

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from realfeatures.errors import ArtifactError, ConfigError, StorageError
from realfeatures.experiment.config import Preset
from realfeatures.experiment.overrides import departures
from realfeatures.science.artifacts import read_manifest, storage_errors, write_json

FORMAT_VERSION = 1
EXPERIMENT = "experiment.json"
LOG = "log.txt"
LOCK = ".lock"

MINIMUM_FREE_BYTES = 256 * 2**20
"""chosen: refuses to start on a disk that is full already; one seed of the digits demo writes about 10 MB."""


@dataclass(frozen=True)
class RunFolder:
    """One output folder; nothing is written before `claim`."""

    path: Path

    def cell(self, address: str) -> Path:
        """Return where a cell's finished artifact stands."""
        return self.path / "cells" / address

    def work(self, address: str) -> Path:
        """Return where a running cell keeps its checkpoint and its unfinished output."""
        return self.path / "partial" / address

    @contextmanager
    def claim(self, preset: Preset, *, seeds: Sequence[int]) -> Iterator[None]:
        """Hold the folder for one run of one experiment.

        Raises:
            ConfigError: the folder holds another experiment, or files of something else.
            StorageError: in use by another run, not writable, or too little space is left.
        """
        self._refuse_foreign_files()
        with storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with self._lock():
            known = self.read_experiment()
            if known is not None:
                _require_same_experiment(known[0], preset, self.path)
            self._require_space()
            merged = [*dict.fromkeys([*(known[1] if known else ()), *seeds])]
            content = {"format_version": FORMAT_VERSION, "preset": preset.model_dump(mode="json"), "seeds": merged}
            write_json(self.path / EXPERIMENT, content)
            with storage_errors(self.path):
                (self.path / "cells").mkdir(exist_ok=True)
                (self.path / "partial").mkdir(exist_ok=True)
            self._sweep()
            yield

    def read_experiment(self) -> tuple[Preset, list[int]] | None:
        """Return the preset and the seeds that were run in the folder, or None where nothing was.

        Raises:
            ArtifactError: experiment.json is damaged.
            ConfigError: it was written by another version.
        """
        path = self.path / EXPERIMENT
        try:
            content = json.loads(path.read_bytes())
            version = content["format_version"]
            if version != FORMAT_VERSION:
                raise ConfigError(f"{path}: format version {version}, expected {FORMAT_VERSION}; choose another --out")
            return Preset.model_validate(content["preset"]), [int(seed) for seed in content["seeds"]]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError:
            raise ConfigError(
                f"{path}: its preset has other fields than this version of realfeatures; choose another --out"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise ArtifactError(
                f"{path}: is damaged, expected a preset and its seeds; delete {self.path} or choose another --out"
            ) from None

    def require_experiment(self) -> tuple[Preset, list[int]]:
        """Return the preset and the seeds of the folder.

        Raises:
            ConfigError: no run was started in the folder.
        """
        found = self.read_experiment()
        if found is None:
            raise ConfigError(f"{self.path}: holds no experiment; name the --out folder of an earlier run")
        return found

    def finished(self, addresses: Mapping[str, str]) -> set[str]:
        """Return the keys of the cells whose artifact is there, every byte of it verified.

        Raises:
            ArtifactError: an artifact is incomplete or was changed.
        """
        done = set()
        for key, address in addresses.items():
            folder = self.cell(address)
            if not folder.exists():
                continue
            found = read_manifest(folder).get("address")
            if found != address:
                raise ArtifactError(f"{address}/manifest.json: is the artifact {found}; delete {folder} and run again")
            done.add(key)
        return done

    def forget_work(self, addresses: Iterable[str]) -> None:
        """Remove what a kill between a cell's last two steps left of its checkpoint."""
        for address in addresses:
            shutil.rmtree(self.work(address), ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what a kill left of a cell on its way from or to an object store."""
        for leftover in (self.path / "cells").glob(".*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    def _refuse_foreign_files(self) -> None:
        if not self.path.exists() or (self.path / EXPERIMENT).exists():
            return
        if not self.path.is_dir():
            raise StorageError(f"cannot write {self.path}: it is a file; choose a folder for --out")
        with storage_errors(self.path):
            foreign = sorted(entry.name for entry in self.path.iterdir() if not _is_own(entry.name))
        if foreign:
            raise ConfigError(
                f"{self.path}: holds {foreign[0]!r} and no experiment; expected a new or empty folder,"
                " choose another --out"
            )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with storage_errors(self.path):
            file = (self.path / LOCK).open("w")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StorageError(
                    f"{self.path}: another run uses this folder; wait for it or choose another --out"
                ) from None
            yield

    def _require_space(self) -> None:
        with storage_errors(self.path):
            free = shutil.disk_usage(self.path).free
        if free < MINIMUM_FREE_BYTES:
            raise StorageError(
                f"{self.path}: {free / 2**20:.0f} MiB are free, expected at least {MINIMUM_FREE_BYTES / 2**20:.0f};"
                " free some space or choose another --out"
            )


def _is_own(name: str) -> bool:
    # A run that was killed before its first file was whole leaves that file's temporary twin.
    return name in {LOCK, LOG} or name.startswith(f".{EXPERIMENT}.")


def _require_same_experiment(known: Preset, preset: Preset, folder: Path) -> None:
    for path, before, now in departures(_identity(preset), _identity(known)):
        raise ConfigError(
            f"{folder}: holds another experiment: {path} is {before} there and {now} here; choose another --out"
        )


def _identity(preset: Preset) -> dict[str, Any]:
    # Data and weights that were moved are the same: their content counts.
    parts = {"data": preset.data, "adversarial": preset.adversarial, "standard": preset.standard}
    moved = {name: config.identity() for name, config in parts.items() if config is not None}
    # Experiments may be added and left out: they share cells, and the report is of those that were asked for last.
    return {**preset.model_dump(mode="json", exclude={"experiments"}), **moved}
