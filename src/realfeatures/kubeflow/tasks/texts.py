"""What each task of a run is told: the pipeline fixes which tasks there are, each run decides what is in them.

A text (experiment/codec.py) holds a digest of the addresses of a task's cells, and so of all that their artifacts
depend on: Kubeflow's cache, which looks at a task's parameters and not at the content of its artifacts, runs again what
a change touches, and nothing else.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realfeatures.errors import ConfigError
from realfeatures.experiment.codec import encode
from realfeatures.experiment.config import DataConfig, Preset
from realfeatures.experiment.grid import DATA, Cell, cells
from realfeatures.experiment.overrides import override, parse_overrides
from realfeatures.experiment.presets import load_preset
from realfeatures.experiment.vocabulary import canonical_json
from realfeatures.kubeflow.batches import REPORT, RESULTS, Granularity, batches, choose
from realfeatures.running.plan import Plan, check_seeds, make_plan


def texts_of(plan: Plan, granularity: Granularity) -> dict[str, str]:
    """Return the text of every root task by its key: `data`, `repetition_1`, ..., `report`.

    A repetition's is the JSON object of its tasks' by their keys, those of an encoder's nested pipeline one inside it.
    """
    return {
        # Seed 0, whatever the run's: the data set is the same for all.
        "data": encode(f"{granularity}:{DATA}", plan.preset, seed=0, addresses=plan.addresses, choose=choose),
        **{f"repetition_{number}": _repetition(plan, seed, granularity) for number, seed in enumerate(plan.seeds, 1)},
        "report": encode(
            f"{REPORT}:{len(plan.seeds)}",
            plan.preset,
            seed=plan.seeds[0],
            addresses=plan.addresses,
            choose=choose,
            everything=True,
        ),
    }


def _repetition(plan: Plan, seed: int, granularity: Granularity) -> str:
    def text(name: str) -> str:
        return encode(name, plan.preset, seed=seed, addresses=plan.addresses, choose=choose)

    found: dict[str, Any] = {}
    for batch in batches(cells(plan.preset, [seed]), granularity).values():
        if batch.key != DATA:
            level = found
            for step in batch.path[:-1]:
                level = level.setdefault(step, {})
            level[batch.path[-1]] = text(f"{granularity}:{batch.key}")
    return _nested({**found, RESULTS: text(RESULTS)})


def _nested(texts: Mapping[str, Any]) -> str:
    return canonical_json({key: one if isinstance(one, str) else _nested(one) for key, one in texts.items()})


def resolve(
    changes: str,
    *,
    preset: str,
    seed: int,
    repetitions: int,
    overrides: str | Mapping[str, Any],
    provide: Callable[[DataConfig], None] | None = None,
) -> Plan:
    """Return the plan of one run of a pipeline.

    Args:
        changes: the values in which the pipeline was compiled to differ from the preset, as a JSON object.
        preset: the name of the preset that it was compiled with.
        seed: of the first repetition; the others follow it.
        repetitions: that the pipeline was compiled for.
        overrides: of the run form: values by key, such as `{"probe.epochs": 5}`.
        provide: brings the data set to this machine.

    Raises:
        ConfigError: a value is not usable, or the overrides change which cells there are.
        DataError: the data set is not usable.
    """
    seeds = check_seeds(range(seed, seed + repetitions) if seed >= 0 else seed)
    compiled = changed(preset, changes)
    wanted = parse_overrides(overrides)
    # The digest was that of the data which is now replaced.
    if "data.source" in wanted:
        wanted.setdefault("data.sha256", None)
    asked = require_overrides(compiled, wanted)
    if provide is not None:
        provide(asked.data)
    return make_plan(asked, seeds=seeds)


def require_overrides(compiled: Preset, wanted: Mapping[str, Any]) -> Preset:
    """Return a preset with the overrides of a run form.

    Raises:
        ConfigError: a value is not usable, or changes what a compiled pipeline fixes: its cells and its pods.
    """
    preset = override(compiled, dict(wanted))
    fixed = ""
    if preset.runtime.device != compiled.runtime.device:
        fixed = f"they change runtime.device, and a compiled pipeline's pods are for {compiled.runtime.device}"
    elif _wiring(cells(preset, [0])) != _wiring(cells(compiled, [0])):
        fixed = "they change which cells there are, and a compiled pipeline has its cells"
    if fixed:
        raise ConfigError(f"overrides {canonical_json(dict(wanted))}: {fixed}; compile one with --set instead")
    return preset


def changed(preset: str, changes: str) -> Preset:
    """Return a shipped preset with values of a JSON object by path, as a pipeline was compiled with them."""
    return override(load_preset(preset), json.loads(changes))


def _wiring(grid: Sequence[Cell]) -> list[tuple[str, str, dict[str, str]]]:
    """Return which cells there are and which reads which: what a compiled pipeline cannot change."""
    return [(cell.key, cell.stage, dict(cell.inputs)) for cell in grid]
