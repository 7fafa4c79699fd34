"""How cells reach Kubeflow's tasks: the pipeline fixes which cells there are, each run decides what is in them.

The first task resolves preset, seed and overrides into the text of every cell (experiment/codec.py). A text holds a
digest of the cell's address, and so of all that its artifact depends on: Kubeflow's cache, which looks at a task's
parameters and not at the content of its artifacts, runs again what a change touches, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from realfeatures.errors import ConfigError
from realfeatures.experiment.address import code_digest
from realfeatures.experiment.codec import encode
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell
from realfeatures.experiment.overrides import override, parse_overrides
from realfeatures.experiment.vocabulary import digest_of
from realfeatures.running.plan import Plan, check_seeds, make_plan

CODE = "code"
"""Beside the cells, in the same mapping: the code digest."""
ADDRESSES = "addresses"
"""Beside the cells, in the same mapping: a digest of all their addresses."""


@dataclass(frozen=True)
class Resolved:
    """A run's experiment."""

    preset: Preset
    seeds: tuple[int, ...]
    texts: dict[str, str]
    """The text of each cell by its slot, CODE and ADDRESSES."""


def slot(cell: Cell, seeds: Sequence[int]) -> str:
    """Return a cell's name that no seed changes: `robust/contrastive/encoder`, the second seed's `1/robust/...`."""
    if cell.run_seed is None:
        return cell.key
    name = cell.key.removeprefix(f"seed{cell.run_seed}/")
    return name if len(seeds) == 1 else f"{seeds.index(cell.run_seed)}/{name}"


def structure(grid: Sequence[Cell], seeds: Sequence[int]) -> str:
    """Return a digest of which cells there are and which reads which: what a compiled pipeline cannot change."""
    slots = {cell.key: slot(cell, seeds) for cell in grid}
    wiring = [[slots[cell.key], cell.stage, {p: slots[key] for p, key in cell.inputs.items()}] for cell in grid]
    return digest_of(wiring)


def resolve(preset: str, *, seed: int, repetitions: int, overrides: str, expected_structure: str) -> Resolved:
    """Return the experiment of one run of a pipeline.

    Args:
        preset: the preset that the pipeline was compiled with, as JSON.
        seed: of the first repetition; the others follow it.
        repetitions: that the pipeline was compiled for.
        overrides: a JSON object of values by key, such as `{"probe.epochs": 5}`.
        expected_structure: what `structure` gave when the pipeline was compiled.

    Raises:
        ConfigError: a value is not usable, or the overrides change which cells there are.
        DataError: the data set is not usable.
    """
    seeds = tuple(range(seed, seed + repetitions))
    check_seeds(seeds)
    changes = parse_overrides(overrides)
    # The digest was that of the data which is now replaced.
    if "data.source" in changes:
        changes.setdefault("data.sha256", None)
    plan = make_plan(override(Preset.model_validate_json(preset), changes), seeds=seeds)
    if structure(plan.grid, seeds) != expected_structure:
        raise ConfigError(
            f"overrides {overrides}: they change which cells there are, and a compiled pipeline has its cells;"
            " compile one with --set instead"
        )
    return Resolved(plan.preset, seeds, _texts(plan))


def _texts(plan: Plan) -> dict[str, str]:
    texts = {slot(cell, plan.seeds): encode([cell], plan.preset, plan.addresses) for cell in plan.grid}
    return {**texts, CODE: code_digest(), ADDRESSES: digest_of(plan.addresses)}


def require_code(expected: str) -> None:
    """Refuse to run with another version of the science than the one that was asked for.

    Raises:
        ConfigError: the digests differ.
    """
    if code_digest() != expected:
        raise ConfigError(
            f"code {code_digest()[:12]}... in this image, {expected[:12]}... in the pipeline: the image is older"
            " (or newer) than the pipeline; rebuild it and compile again"
        )
