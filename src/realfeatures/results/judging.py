"""One comparison of a claim against the rows of results.json: its quantity, its gates, its control, its outcome."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from realfeatures.experiment.claims import WIDELY
from realfeatures.experiment.measures import Comparison, Gate, Measure
from realfeatures.results.estimates import Estimate, Measurements, Method
from realfeatures.results.statistics.intervals import SEEDS_FOR_T, Interval, Z
from realfeatures.results.statistics.significance import smallest_level

Outcome = Literal["supports", "contradicts", "undecided", "uncontrolled", "missing"]
"""uncontrolled: it holds, but the control shows that it would hold of a robust model too, or was not measured."""

NO_COMMON_SEED = "one seed with all its cells"


@dataclass(frozen=True, kw_only=True)
class Gated:
    """A gate with its numbers over the seeds that have all of them."""

    gate: Gate
    measured: Interval
    baseline: Measure | None
    """The best of the gate's baselines; None for chance."""
    against: Interval
    quantity: Interval
    """measured - against."""
    interval: Method

    @property
    def is_open(self) -> bool:
        """Whether what it guards may be judged."""
        return self.quantity.low > self.gate.margin


@dataclass(frozen=True, kw_only=True)
class Controlled:
    """What the comparison's control keeps of its clean accuracy under the same attack."""

    under_attack: Interval
    clean: Interval
    withstands: bool


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A comparison with its numbers over the seeds that have all of them."""

    comparison: Comparison
    outcome: Outcome
    quantity: Interval | None = None
    """The left side of the comparison's inequality."""
    values: tuple[Interval, ...] = ()
    """Of each of the comparison's terms, in their order."""
    interval: Method | None = None
    """How the quantity's interval was made within a seed."""
    images: int | None = None
    """Test images that all measures share, image by image; None: not known, or one measure."""
    seeds: tuple[int, ...] = ()
    allowance: float = 0.0
    """How far beyond the margin the whole interval must lie."""
    p_supports: float = 1.0
    """The smallest level at which the interval lies so far beyond the margin, on the claim's side; two-sided."""
    p_contradicts: float = 1.0
    """As that, on the other side. Both are 1 where a gate is closed."""
    gates: tuple[Gated, ...] = ()
    control: Controlled | None = None
    missing: tuple[str, ...] = ()

    @property
    def closed(self) -> tuple[Gated, ...]:
        """The gates that keep it from being judged."""
        return tuple(gate for gate in self.gates if not gate.is_open)


def judge_comparison(comparison: Comparison, measurements: Measurements, *, classes: int) -> Judged:
    """Return what the numbers say of one comparison.

    Args:
        classes: their inverse is chance; 0 where the data set is unknown.
    """
    missing = _missing(comparison, measurements) if classes else ("the number of classes",)
    if missing:
        return Judged(comparison=comparison, outcome="missing", missing=missing)
    chance = 1 / classes
    estimate = measurements.estimate(comparison, chance=chance)
    judged = Judged(
        comparison=comparison,
        outcome="undecided",
        quantity=estimate.at() if estimate.of_seeds else None,
        values=estimate.values,
        interval=estimate.method if estimate.of_seeds else None,
        images=estimate.images,
        seeds=estimate.seeds,
        allowance=seed_allowance(len(estimate.seeds), varying=comparison.varying),
        gates=tuple(_gated(gate, measurements, chance) for gate in comparison.gates),
        control=_controlled(comparison, measurements),
    )
    return judged if judged.closed or not estimate.of_seeds else _decided(judged, estimate)


def seed_allowance(seeds: int, *, varying: float = 1.0) -> float:
    """Return how far beyond its threshold an interval over so many seeds must lie, as a fraction of accuracy.

    From three seeds on the interval itself holds their spread.

    Args:
        varying: how many independently trained accuracies the comparison rests on.
    """
    return 0.0 if seeds >= SEEDS_FOR_T else WIDELY * math.sqrt(varying / seeds)


def _missing(comparison: Comparison, measurements: Measurements) -> tuple[str, ...]:
    gates = comparison.gates
    wanted = [*comparison.measures, *(gate.measure for gate in gates)]
    absent = [str(one) for one in wanted if not measurements.seeds([one])]
    for gate in gates:
        if gate.baselines and not any(measurements.seeds([one]) for one in gate.baselines):
            absent.append(f"a control without pretraining ({' or '.join(map(str, gate.baselines))})")
    if absent:
        return tuple(dict.fromkeys(absent))
    common = measurements.seeds(comparison.measures) and all(_baselines(gate, measurements) for gate in gates)
    return () if common else (NO_COMMON_SEED,)


def _baselines(gate: Gate, measurements: Measurements) -> list[Measure | None]:
    """Return the baselines that can be compared with the gate's measure; None is chance."""
    if not gate.baselines:
        return [None]
    return [one for one in gate.baselines if measurements.seeds([gate.measure, one])]


def _gated(gate: Gate, measurements: Measurements, chance: float) -> Gated:
    options = [_against(gate, one, measurements, chance) for one in _baselines(gate, measurements)]
    return max(options, key=lambda option: option.against.value)


def _against(gate: Gate, baseline: Measure | None, measurements: Measurements, chance: float) -> Gated:
    above_chance = Comparison(measure=gate.measure)
    compared = replace(above_chance, reference=baseline, share=1.0, floor="zero") if baseline else above_chance
    estimate = measurements.estimate(compared, chance=chance)
    return Gated(
        gate=gate,
        measured=estimate.values[0],
        baseline=baseline,
        against=estimate.values[1] if baseline else Interval(chance, chance, chance),
        quantity=estimate.at(),
        interval=estimate.method,
    )


def _controlled(comparison: Comparison, measurements: Measurements) -> Controlled | None:
    if not comparison.control or not measurements.seeds(comparison.control):
        return None
    attacked, clean = comparison.control
    kept = Comparison(measure=attacked, reference=clean, share=comparison.share, floor="zero")
    estimate = measurements.estimate(kept, chance=0.0)
    # One model that withstands shows that the epsilon can be withstood: few seeds need no allowance here either.
    return Controlled(under_attack=estimate.values[0], clean=estimate.values[1], withstands=estimate.at().low > 0)


def _decided(judged: Judged, estimate: Estimate) -> Judged:
    """Return it with the outcome of its interval, and the levels down to which that would be the same."""
    beyond = [partial(_beyond, judged.comparison, estimate, holds) for holds in (1, -1)]
    supports, contradicts = (smallest_level(one, beyond=judged.allowance) for one in beyond)
    outcome: Outcome = "undecided"
    if beyond[0](Z) > judged.allowance:
        withstood = judged.comparison.control is None or (judged.control is not None and judged.control.withstands)
        outcome = "supports" if withstood else "uncontrolled"
    elif beyond[1](Z) > judged.allowance:
        outcome = "contradicts"
    return replace(judged, outcome=outcome, p_supports=supports, p_contradicts=contradicts)


def _beyond(comparison: Comparison, estimate: Estimate, holds: int, z: float) -> float:
    """Return how far the whole interval lies on the claim's side of the margin (holds 1) or on the other (-1)."""
    interval, above = estimate.at(z), 1 if comparison.side == "above" else -1
    return interval.low - comparison.margin if holds == above else comparison.margin - interval.high
