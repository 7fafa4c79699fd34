"""The plan of a run: its cells, their addresses and their costs, all checked before anything is computed.

Imports no torch: a plan of days of work takes a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from realfeatures.errors import ConfigError
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


def make_plan(preset: Preset, *, seeds: Sequence[int]) -> Plan:
    """Return the plan of an experiment.

    Raises:
        ConfigError: a seed, or a size that does not fit the data set.
        DataError: the data set is not usable.
    """
    check_seeds(seeds)
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
        seeds=tuple(seeds),
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


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that are negative or named twice.

    Raises:
        ConfigError: there is one.
    """
    if not seeds:
        raise ConfigError("seeds: none given; expected at least one, such as --seed 0")
    for position, seed in enumerate(seeds):
        if seed < 0:
            raise ConfigError(f"--seed {seed}: expected a whole number of at least 0")
        if seed in seeds[:position]:
            raise ConfigError(f"--seed {seed}: is named twice; name each seed once")
