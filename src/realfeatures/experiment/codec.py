"""Cells as one short text: what a worker process and a Kubeflow task are given to compute.

    digits 0 3f2a91c05d7e robust/contrastive:encoder,probe/robust {"probe.epochs":5}

The preset to start from; the run's seed; 12 digits of a digest of the cells' addresses; the cells' keys below their
seed, with the folder that they share said once; the values in which they, or the machine that they are for, differ from
the preset. A value that these cells do not depend on is left out: Kubeflow's cache, which looks at a task's
parameters, runs again what a change touches and nothing else. What the text leaves out, the digest answers for.
"""

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from realfeatures.errors import ArtifactError, ConfigError
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.config import Preset, RuntimeConfig
from realfeatures.experiment.grid import Cell, cell_address, cells
from realfeatures.experiment.overrides import departures, override
from realfeatures.experiment.presets import PRESETS
from realfeatures.experiment.vocabulary import canonical_json, digest_of

BASE = "paper"
"""Where a preset starts from whose name is not a shipped one's."""

FORM = re.compile(
    r"(?P<preset>\S+) (?P<seed>\d+) (?P<digest>[0-9a-f]{12}) (?P<folder>[^\s:]*):(?P<names>[^\s:]+)"
    r"(?: (?P<changes>\{.*\}))?"
)


@dataclass(frozen=True)
class Order:
    """What a process is to compute."""

    cells: tuple[Cell, ...]
    """Said to be of the experiments of the text's preset, which may be others than the run's."""
    runtime: RuntimeConfig
    digest: str
    """Of the addresses that the cells were planned with."""

    def address(self, cell: Cell, inputs: Mapping[str, str]) -> str:
        """Return a cell's address from those of its inputs (by port), as the installed code would compute it."""
        return cell_address(cell, inputs=inputs, runtime=self.runtime, code=code_digest(), versions=library_versions())

    def require(self, addresses: Sequence[str]) -> None:
        """Refuse inputs of another run, which a cache could hand over, and another version of the science.

        Raises:
            ArtifactError: these are not the addresses that the cells were planned with.
        """
        digest = _digest(addresses)
        if digest != self.digest:
            raise ArtifactError(
                f"{self.cells[0].key}: its inputs, this code or its libraries give the digest {digest}, expected"
                f" {self.digest}; start the run again, or run the pipeline again without the cache"
            )


def encode(chosen: Sequence[Cell], preset: Preset, addresses: Mapping[str, str]) -> str:
    """Return cells of one seed as text.

    Args:
        chosen: in the order in which they are to be computed.
        preset: that the grid was made of, its data pinned.
        addresses: of at least these cells, by key.
    """
    seed = _seed_of(chosen)
    wanted = {_name(cell.key, seed): cell for cell in chosen}
    folder = posixpath.commonpath([posixpath.dirname(name) for name in wanted])
    below = ",".join(name.removeprefix(f"{folder}/") for name in wanted)
    text = f"{_base_of(preset)} {seed} {_digest([addresses[cell.key] for cell in chosen])} {folder}:{below}"
    changes = _changes_that_decide(wanted, preset, seed)
    return f"{text} {canonical_json(changes)}" if changes else text


def decode(text: str) -> Order:
    """Return the cells that `encode` wrote.

    Raises:
        ConfigError: the text has another form, or its preset, a value or a cell is unknown to this version.
    """
    form = FORM.fullmatch(text)
    if form is None:
        raise ConfigError(f"cells {text[:80]!r}: expected PRESET SEED DIGEST FOLDER:NAMES and values; compile again")
    names = [posixpath.join(form["folder"], name) for name in form["names"].split(",")]
    try:
        preset = _preset(form["preset"], json.loads(form["changes"] or "{}"))
        grid = _grid(preset, int(form["seed"]))
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"cells {text[:80]!r}: not of this version ({error}); compile again") from None
    if unknown := set(names) - grid.keys():
        raise ConfigError(f"cells {text[:80]!r}: this version has no cell {min(unknown)!r}; compile again")
    return Order(tuple(grid[name] for name in names), preset.runtime, form["digest"])


def _digest(addresses: Sequence[str]) -> str:
    return digest_of(list(addresses))[:12]


def _seed_of(chosen: Sequence[Cell]) -> int:
    seeds = {cell.run_seed for cell in chosen if cell.run_seed is not None} or {0}
    if len(seeds) > 1:
        raise ValueError(f"cells of the seeds {sorted(seeds)}: expected those of one")
    return seeds.pop()


def _name(key: str, seed: int) -> str:
    return key.removeprefix(f"seed{seed}/")


@lru_cache(maxsize=32)
def _grid(preset: Preset, seed: int) -> dict[str, Cell]:
    """Return the cells of one seed by their keys below it."""
    return {_name(cell.key, seed): cell for cell in cells(preset, [seed])}


def _base_of(preset: Preset) -> str:
    return preset.name if preset.name in PRESETS else BASE


def _preset(name: str, changes: dict[str, Any]) -> Preset:
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is unknown")
    return override(PRESETS[name](), changes)


def _changes(preset: Preset) -> dict[str, Any]:
    """Return the values, by path, in which a preset differs from the shipped one that it starts from."""
    base = PRESETS[_base_of(preset)]()
    renamed = preset.model_copy(update={"name": base.name})  # no cell depends on the name
    found = departures(renamed.model_dump(mode="json"), base.model_dump(mode="json"))
    return {path: value for path, _, value in found}


def _changes_that_decide(wanted: Mapping[str, Cell], preset: Preset, seed: int) -> dict[str, Any]:
    """Return the changed values that make these cells what they are; all of them where fewer are not seen to."""
    changes, needs = _changes(preset), _needs(preset, seed)
    fewer = {path: value for path, value in changes.items() if any(path in needs[name] for name in wanted)}
    remade = _remade(fewer, preset, seed)
    return fewer if all(_is_same(remade.get(name), cell) for name, cell in wanted.items()) else changes


@lru_cache(maxsize=32)
def _needs(preset: Preset, seed: int) -> dict[str, set[str]]:
    """Return for each cell, by its key below the seed, the changed values without which it is another."""
    changes, grid = _changes(preset), _grid(preset, seed)
    needs: dict[str, set[str]] = {name: {path for path in changes if path.startswith("runtime.")} for name in grid}
    for path in changes:
        remade = _remade({other: value for other, value in changes.items() if other != path}, preset, seed)
        for name, cell in grid.items():
            if not _is_same(remade.get(name), cell):
                needs[name].add(path)
    return needs


def _remade(changes: dict[str, Any], preset: Preset, seed: int) -> dict[str, Cell]:
    """Return the grid of a preset with some of its changes; empty where they are of no use without the others."""
    try:
        return _grid(_preset(_base_of(preset), changes), seed)
    except ConfigError:
        return {}


def _is_same(other: Cell | None, cell: Cell) -> bool:
    """Return whether two cells compute the same; the report may call them by other experiments."""
    if other is None:
        return False
    return (other.stage, other.config, other.inputs, other.seed) == (cell.stage, cell.config, cell.inputs, cell.seed)
