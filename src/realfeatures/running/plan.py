"""The plan of a run: its cells, their addresses and their costs, all checked before anything is computed.

Imports no torch: a plan of days of work takes a second.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from realfeatures.errors import ConfigError
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.config import (
    AdversarialConfig,
    ContrastiveConfig,
    DiffusionConfig,
    MaskedConfig,
    OutsideConfig,
    Preset,
    ResNetConfig,
    SupervisedConfig,
)
from realfeatures.experiment.grid import Cell, cell_addresses, cells
from realfeatures.experiment.vocabulary import Experiment, Paradigm
from realfeatures.running.cost import Cost, estimate
from realfeatures.science.data.decoded import Sizes
from realfeatures.science.data.sources import describe_source, pin_source
from realfeatures.science.outside_weights import check_outside, pin_outside

RUN_NAME = re.compile(r"[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?")
"""A Kubernetes label's value, in lower case, since some file systems take no other for different."""

RUN_TIME = "[[ScheduledTime]]"
"""In the name of a recurring run: Kubeflow puts the UTC time of each run in its place, as 20060102150405
(kubeflow/pipelines, backend/src/common/util/parameter_formatter.go), but not in every release (issue #12494)."""


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
        update={
            "data": data,
            **{name: pin_outside(source) for name, source in outside_sources(preset).items()},
        }
    )
    check_preset(pinned, info)
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


def timed_name(name: str) -> str:
    """Return a run's name with the time in UTC where Kubeflow left its placeholder for it."""
    return name.replace(RUN_TIME, datetime.now(UTC).strftime("%Y%m%d%H%M%S"))


def check_run_name(name: str) -> None:
    """Refuse a run name that is no part of a file's, an object's and a Kubernetes label's name.

    Raises:
        ConfigError: it has other characters, or too many.
    """
    if not RUN_NAME.fullmatch(name):
        raise ConfigError(
            f"run name {name!r}: expected 1 to 63 lower-case letters, digits, '-', '_' and '.',"
            " with a letter or digit at both ends"
        )


def check_preset(preset: Preset, info: Sizes) -> None:
    """Refuse sizes that do not fit the data set's images, before any training.

    Raises:
        ConfigError: a model does not fit the images, or more images are attacked than there are.
    """
    for name in ("supervised", "adversarial", "contrastive"):
        config = getattr(preset, name)
        if isinstance(config, SupervisedConfig | AdversarialConfig | ContrastiveConfig):
            _check_resnet(config.model, info, where=f"{name}.model.blocks")
    if Paradigm.MASKED in preset.paradigms:
        _check_masked(preset.masked, info)
    if Paradigm.DIFFUSION in preset.paradigms:
        _check_diffusion(preset.diffusion, info)
    attack, transfers = preset.attack, Experiment.E5 in preset.experiments
    for name, wanted, used in (
        ("attack.images", attack.images, attack.pgd or attack.representation),
        ("attack.autoattack_images", attack.autoattack_images, attack.autoattack),
        ("transfer.images", preset.transfer.images, transfers),
        ("loss_curves.images", preset.loss_curves.images, transfers),
    ):
        if used and wanted > info.test:
            raise ConfigError(
                f"{name} is {wanted} and there are {info.test} test images;"
                f" use --set {name}={info.test} or more test images"
            )


def _check_resnet(model: ResNetConfig, info: Sizes, *, where: str) -> None:
    smallest = 2 ** (len(model.blocks) - 1)
    if min(info.height, info.width) < smallest:
        raise ConfigError(
            f"{where}: {len(model.blocks)} stages need images of at least {smallest} pixels a side,"
            f" these have {info.height}x{info.width}; use fewer stages"
        )


def _check_masked(config: MaskedConfig, info: Sizes) -> None:
    patch = config.patch_size
    if info.height % patch or info.width % patch:
        raise ConfigError(
            f"masked.patch_size {patch} does not divide the images' {info.height}x{info.width} pixels;"
            " use one that does"
        )
    if patch in (info.height, info.width):
        raise ConfigError(
            f"masked.patch_size {patch} is a whole side of the images' {info.height}x{info.width} pixels;"
            " use a smaller one, so that there is something to mask"
        )
    tokens = min(info.height, info.width) // patch
    if config.feature_pool is not None and tokens % config.feature_pool:
        raise ConfigError(
            f"masked.feature_pool {config.feature_pool} does not divide the {tokens} patches a side; use one that does"
        )


def _check_diffusion(config: DiffusionConfig, info: Sizes) -> None:
    divisor = 2 ** (len(config.multipliers) - 1)
    if info.height % divisor or info.width % divisor:
        raise ConfigError(
            f"diffusion.multipliers: {len(config.multipliers)} resolutions need images whose sides are multiples"
            f" of {divisor}, these have {info.height}x{info.width}; use fewer multipliers"
        )
    resolutions = [info.height // 2**level for level in range(len(config.multipliers))]
    for resolution in config.attention_resolutions:
        if resolution not in resolutions:
            raise ConfigError(
                f"diffusion.attention_resolutions: {resolution} is none of {', '.join(map(str, resolutions))}, the"
                f" resolutions of {len(config.multipliers)} multipliers; use these"
            )
    bottom = min(info.height, info.width) // divisor
    if bottom % config.feature_pool:
        raise ConfigError(
            f"diffusion.feature_pool {config.feature_pool} does not divide the {bottom} pixels of the feature map;"
            " use one that does"
        )
