"""Cells as one short text: what a worker process and a Kubeflow task are given to compute.

    digits 0 3f2a91c05d7e robust/contrastive/encoder {"contrastive.optimizer.epochs":5}

The preset to start from; the run's seed; 12 digits of a digest of the cells' addresses; the cells' name, a key below
the seed or what whoever encodes calls several of them; the values in which they, or the machine that they are for,
differ from the preset. A value that these cells do not depend on is left out: Kubeflow's cache, which looks at a task's
parameters, runs again what a change touches and nothing else. What the text leaves out, the digest answers for.
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from realfeatures.errors import ArtifactError, ConfigError
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell, cell_address, cells
from realfeatures.experiment.overrides import departures, override
from realfeatures.experiment.presets import PRESETS
from realfeatures.experiment.vocabulary import canonical_json, digest_of

BASE = "paper"
"""Where a preset starts from whose name is not a shipped one's."""

FORM = re.compile(r"(?P<preset>\S+) (?P<seed>\d+) (?P<digest>[0-9a-f]{12}) (?P<name>[^\s{]+)(?: (?P<changes>\{.*\}))?")


@dataclass(frozen=True)
class Order:
    """What a process is to compute."""

    name: str
    """Of the cells."""
    cells: tuple[Cell, ...]
    """Said to be of the experiments of the text's preset, which may be others than the run's."""
    preset: Preset
    """With the values that the text has; whole where it was written with everything."""
    seed: int
    """The run's."""
    digest: str
    """Of the addresses that the cells were planned with."""

    def address(self, cell: Cell, inputs: Mapping[str, str]) -> str:
        """Return a cell's address from those of its inputs (by port), as the installed code would compute it."""
        return cell_address(
            cell, inputs=inputs, runtime=self.preset.runtime, code=code_digest(), versions=library_versions()
        )

    def require(self, addresses: Sequence[str]) -> None:
        """Refuse inputs of another run, which a cache could hand over, and another version of the science.

        Raises:
            ArtifactError: these are not the addresses that the cells were planned with.
        """
        digest = digest_of_addresses(addresses)
        if digest != self.digest:
            raise ArtifactError(
                f"{self.name}: its inputs, this code or its libraries give the digest {digest}, expected"
                f" {self.digest}; start the run again, or run the pipeline again without the cache"
            )


Choose = Callable[[str, Mapping[str, Cell]], Sequence[Cell]]
"""(a name, the cells of a seed by their keys below it) -> the cells of this name; ConfigError where there are none."""


def one_cell(name: str, grid: Mapping[str, Cell]) -> Sequence[Cell]:
    """Return the one cell whose key below its seed the name is."""
    if name not in grid:
        raise ConfigError(f"there is no cell {name!r}")
    return (grid[name],)


def encode(
    name: str,
    preset: Preset,
    *,
    seed: int,
    addresses: Mapping[str, str],
    choose: Choose = one_cell,
    everything: bool = False,
) -> str:
    """Return cells of one seed as text.

    Args:
        name: of the cells.
        preset: that the grid was made of, its data pinned.
        seed: the run's.
        addresses: of at least these cells, by key.
        choose: says which cells have this name.
        everything: say every changed value, whether or not these cells depend on it; for whoever reads the preset.
    """
    chosen = choose(name, _grid(preset, seed))
    text = f"{_base_of(preset)} {seed} {digest_of_addresses(addresses[cell.key] for cell in chosen)} {name}"
    changes = changes_of(preset) if everything else _changes_that_decide(name, choose, preset, seed)
    return f"{text} {canonical_json(changes)}" if changes else text


def decode(text: str, choose: Choose = one_cell) -> Order:
    """Return the cells that `encode` wrote.

    Raises:
        ConfigError: the text has another form, or its preset, a value or a cell is unknown to this version.
    """
    form = FORM.fullmatch(text)
    if form is None:
        raise ConfigError(f"cells {text[:80]!r}: expected PRESET SEED DIGEST NAME and values; compile again")
    try:
        preset = _preset(form["preset"], json.loads(form["changes"] or "{}"))
        chosen = choose(form["name"], _grid(preset, int(form["seed"])))
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"cells {text[:80]!r}: not of this version ({error}); compile again") from None
    return Order(form["name"], tuple(chosen), preset, int(form["seed"]), form["digest"])


def digest_of_addresses(addresses: Iterable[str]) -> str:
    """Return 12 hexadecimal digits that stand for addresses in their order."""
    return digest_of(list(addresses))[:12]


def name_of(cell: Cell) -> str:
    """Return a cell's key below its seed: `robust/contrastive/encoder`."""
    return cell.key.removeprefix(f"seed{cell.run_seed}/")


@lru_cache(maxsize=32)
def _grid(preset: Preset, seed: int) -> dict[str, Cell]:
    """Return the cells of one seed by their keys below it."""
    return {name_of(cell): cell for cell in cells(preset, [seed])}


def _base_of(preset: Preset) -> str:
    return preset.name if preset.name in PRESETS else BASE


def _preset(name: str, changes: dict[str, Any]) -> Preset:
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is unknown")
    return override(PRESETS[name](), changes)


def changes_of(preset: Preset) -> dict[str, Any]:
    """Return the values, by path, in which a preset differs from the shipped one that it starts from."""
    base = PRESETS[_base_of(preset)]()
    renamed = preset.model_copy(update={"name": base.name})  # no cell depends on the name
    found = departures(renamed.model_dump(mode="json"), base.model_dump(mode="json"))
    return {path: value for path, _, value in found}


def _changes_that_decide(name: str, choose: Choose, preset: Preset, seed: int) -> dict[str, Any]:
    """Return the changed values that make these cells what they are; all of them where fewer are not seen to."""
    changes = changes_of(preset)
    if not changes:
        return {}
    needs, wanted = _needs(preset, seed), choose(name, _grid(preset, seed))
    own = {path for cell in wanted for path in needs[cell.key]}
    # Which cells have a name may depend on which others there are.
    for paths in (own, own | _changes_of_the_grid(preset, seed)):
        fewer = {path: value for path, value in changes.items() if path in paths}
        if _means(name, choose, _remade(fewer, preset, seed), wanted):
            return fewer
    return changes


def _means(name: str, choose: Choose, grid: Mapping[str, Cell], wanted: Sequence[Cell]) -> bool:
    """Return whether a name means the wanted cells in a grid."""
    try:
        found = choose(name, grid)
    except ConfigError:
        return False
    return len(found) == len(wanted) and all(map(_is_same, found, wanted))


@lru_cache(maxsize=32)
def _changes_of_the_grid(preset: Preset, seed: int) -> frozenset[str]:
    """Return the changed values without which there are other cells."""
    changes, grid = changes_of(preset), _grid(preset, seed)
    return frozenset(path for path in changes if _remade(_without(path, changes), preset, seed).keys() != grid.keys())


@lru_cache(maxsize=32)
def _needs(preset: Preset, seed: int) -> dict[str, set[str]]:
    """Return for each cell, by its key, the changed values without which it is another."""
    changes, grid = changes_of(preset), _grid(preset, seed)
    everyone = {path for path in changes if path.startswith("runtime.")}
    needs = {cell.key: set(everyone) for cell in grid.values()}
    for path in changes:
        remade = _remade(_without(path, changes), preset, seed)
        for name, cell in grid.items():
            if name not in remade or not _is_same(remade[name], cell):
                needs[cell.key].add(path)
    return needs


def _without(path: str, changes: dict[str, Any]) -> dict[str, Any]:
    return {other: value for other, value in changes.items() if other != path}


def _remade(changes: dict[str, Any], preset: Preset, seed: int) -> dict[str, Cell]:
    """Return the grid of a preset with some of its changes; empty where they are of no use without the others."""
    try:
        return _grid(_preset(_base_of(preset), changes), seed)
    except ConfigError:
        return {}


def _is_same(other: Cell, cell: Cell) -> bool:
    """Return whether two cells compute the same; the report may call them by other experiments."""
    decides = operator.attrgetter("key", "stage", "config", "inputs", "seed")
    return bool(decides(other) == decides(cell))
