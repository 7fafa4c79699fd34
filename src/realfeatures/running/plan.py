"""The plan of a run: its cells, their addresses and their costs, all checked before anything is computed.

Imports no torch: a plan of days of work takes a second.
"""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from realfeatures.errors import ConfigError, one_line
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.config import OutsideConfig, Preset
from realfeatures.experiment.grid import Cell, cell_addresses, cells
from realfeatures.running.cost import Cost, estimate
from realfeatures.running.fit import check_fit
from realfeatures.science.data.decoded import Sizes
from realfeatures.science.data.sources import describe_source, pin_source
from realfeatures.science.outside_weights import check_outside, pin_outside


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An experiment, ready to be computed."""

    preset: Preset
    """With its data set's content pinned."""
    seeds: tuple[int, ...]
    info: Sizes
    grid: tuple[Cell, ...]
    """Each cell after the cells that it reads from."""
    addresses: dict[str, str]
    """The address of each cell, by key."""
    costs: dict[str, Cost]
    """The estimated work of each cell, by key."""


def make_plan(preset: Preset, *, seeds: int | Iterable[int]) -> Plan:
    """Return the plan of an experiment; `check_seeds` says what may be seeds.

    Raises:
        ConfigError: a seed, or a size that does not fit the data set.
        DataError: the data set is not usable.
    """
    seeds = check_seeds(seeds)
    data = pin_source(preset.data)
    info = describe_source(data)
    for source in outside_sources(preset).values():
        check_outside(source, channels=info.channels)
    pinned = preset.model_copy(
        update={"data": data, **{name: pin_outside(source) for name, source in outside_sources(preset).items()}}
    )
    check_fit(pinned, info)
    grid = cells(pinned, seeds)
    return Plan(
        preset=pinned,
        seeds=seeds,
        info=info,
        grid=tuple(grid),
        addresses=addresses_of(grid, pinned),
        costs={cell.key: estimate(cell, pinned, info) for cell in grid},
    )


def outside_sources(preset: Preset) -> dict[str, OutsideConfig]:
    """Return the classifiers that were trained elsewhere, by the preset's field."""
    fields = {"standard": preset.standard, "adversarial": preset.adversarial}
    return {name: config for name, config in fields.items() if isinstance(config, OutsideConfig)}


def addresses_of(grid: Sequence[Cell], preset: Preset) -> dict[str, str]:
    """Return the address of each cell, by key, as the installed code and libraries would compute it."""
    return cell_addresses(grid, runtime=preset.runtime, code=code_digest(), versions=library_versions())


def check_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Return seeds as plain whole numbers of at least 0; a single one is one, numpy's are some too.

    Raises:
        ConfigError: there is none, one is no such number, or one is named twice.
    """
    numbers = [whole_number(seed) for seed in _each(seeds)]
    if not numbers:
        raise ConfigError("seeds: none given; expected at least one, such as --seed 0")
    for position, seed in enumerate(numbers):
        if seed is None:
            raise ConfigError(f"seeds {one_line(repr(seeds))}: expected whole numbers of at least 0, such as [0, 1]")
        if seed < 0:
            raise ConfigError(f"--seed {seed}: expected a whole number of at least 0")
        if seed in numbers[:position]:
            raise ConfigError(f"--seed {seed}: is named twice; name each seed once")
    return tuple(seed for seed in numbers if seed is not None)


def whole_number(value: Any) -> int | None:
    """Return a whole number of any library as Python's own; None for all else, True and False among it."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _each(seeds: Any) -> Iterable[Any]:
    if isinstance(seeds, str | bytes):
        return (seeds,)
    try:
        return tuple(seeds)
    except TypeError:  # a single value, numpy's array of no dimension too
        return (seeds,)
