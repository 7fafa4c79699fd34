"""One comparison of a claim against the rows of results.json: its quantity, its gates, its control, its decision."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from realfeatures.experiment.claims import WIDELY
from realfeatures.experiment.comparisons import Above, Beats, Comparison, Gate, Keeps, Numbers
from realfeatures.experiment.measurement import Measurement
from realfeatures.results.estimates import Estimate, Estimates, Method
from realfeatures.results.statistics.intervals import SEEDS_FOR_T, Interval, Z
from realfeatures.results.statistics.significance import smallest_level

Decision = Literal["supports", "contradicts", "undecided", "uncontrolled", "missing"]
"""uncontrolled: it holds, but the control shows that it would hold of a robust model too, or was not measured."""

NO_COMMON_SEED = "one seed with all its cells"


@dataclass(frozen=True, kw_only=True)
class Gated:
    """A gate with its numbers over the seeds that have all of them."""

    gate: Gate
    measured: Interval
    baseline: Measurement | None
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
    chance: float
    outcome: Decision
    quantity: Interval | None = None
    """The left side of the comparison's inequality."""
    values: tuple[Interval, ...] = ()
    """Of each of the comparison's terms, in their order."""
    interval: Method | None = None
    """How the quantity's interval was made within a seed."""
    images: int | None = None
    """Test images that all its measurements share, image by image; None: not known, or one measurement."""
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

    @property
    def words(self) -> str:
        """Its numbers in words, as percent and points with one decimal."""
        paired = self.images is not None
        return self.comparison.words(Numbers(self.values, self.quantity, chance=self.chance, paired=paired))


def judge_comparison(comparison: Comparison, estimates: Estimates, *, classes: int) -> Judged:
    """Return what the numbers say of one comparison.

    Args:
        classes: their inverse is chance; 0 where the data set is unknown.
    """
    chance = 1 / classes if classes else 0.0
    missing = _missing(comparison, estimates) if classes else ("the number of classes",)
    if missing:
        return Judged(comparison=comparison, chance=chance, outcome="missing", missing=missing)
    estimate = estimates.estimate(comparison, chance=chance)
    judged = Judged(
        comparison=comparison,
        chance=chance,
        outcome="undecided",
        quantity=estimate.at() if estimate.of_seeds else None,
        values=estimate.values,
        interval=estimate.method if estimate.of_seeds else None,
        images=estimate.images,
        seeds=estimate.seeds,
        allowance=seed_allowance(len(estimate.seeds), varying=comparison.varying),
        gates=tuple(_gated(gate, estimates, chance) for gate in comparison.gates),
        control=_controlled(comparison, estimates),
    )
    return judged if judged.closed or not estimate.of_seeds else _decided(judged, estimate)


def seed_allowance(seeds: int, *, varying: float = 1.0) -> float:
    """Return how far beyond its threshold an interval over so many seeds must lie, as a fraction of accuracy.

    From three seeds on the interval itself holds their spread.

    Args:
        varying: how many independently trained accuracies the comparison rests on.
    """
    return 0.0 if seeds >= SEEDS_FOR_T else WIDELY * math.sqrt(varying / seeds)


def _missing(comparison: Comparison, estimates: Estimates) -> tuple[str, ...]:
    seeds, gates = estimates.rows.seeds, comparison.gates
    wanted = [*comparison.measurements, *(gate.measured for gate in gates)]
    absent = [str(one) for one in wanted if not seeds([one])]
    for gate in gates:
        if gate.baselines and not any(seeds([one]) for one in gate.baselines):
            absent.append(f"a control without pretraining ({' or '.join(map(str, gate.baselines))})")
    if absent:
        return tuple(dict.fromkeys(absent))
    common = seeds(comparison.measurements) and all(_baselines(gate, estimates) for gate in gates)
    return () if common else (NO_COMMON_SEED,)


def _baselines(gate: Gate, estimates: Estimates) -> list[Measurement | None]:
    """Return the baselines that can be compared with what a gate measures; None is chance."""
    if not gate.baselines:
        return [None]
    return [one for one in gate.baselines if estimates.rows.seeds([gate.measured, one])]


def _gated(gate: Gate, estimates: Estimates, chance: float) -> Gated:
    options = [_against(gate, one, estimates, chance) for one in _baselines(gate, estimates)]
    return max(options, key=lambda option: option.against.value)


def _against(gate: Gate, baseline: Measurement | None, estimates: Estimates, chance: float) -> Gated:
    compared: Comparison = Above(measured=gate.measured)
    if baseline is not None:
        compared = Beats(measured=gate.measured, reference=baseline)
    estimate = estimates.estimate(compared, chance=chance)
    return Gated(
        gate=gate,
        measured=estimate.values[0],
        baseline=baseline,
        against=estimate.values[1] if baseline else Interval(chance, chance, chance),
        quantity=estimate.at(),
        interval=estimate.method,
    )


def _controlled(comparison: Comparison, estimates: Estimates) -> Controlled | None:
    control = control_of(comparison)
    if control is None or not estimates.rows.seeds(control.measurements):
        return None
    estimate = estimates.estimate(control, chance=0.0)
    # One model that withstands shows that the epsilon can be withstood: few seeds need no allowance here either.
    return Controlled(under_attack=estimate.values[0], clean=estimate.values[1], withstands=estimate.at().low > 0)


def control_of(comparison: Comparison) -> Keeps | None:
    """Return what a robust model must keep under the comparison's attack, where it asks that."""
    if not isinstance(comparison, Keeps) or comparison.control is None:
        return None
    attacked, clean = comparison.control
    return Keeps(measured=attacked, reference=clean, share=comparison.share, floor="zero")


def _decided(judged: Judged, estimate: Estimate) -> Judged:
    """Return it with the outcome of its interval, and the levels down to which that would be the same."""
    beyond = [partial(_beyond, judged.comparison, estimate, holds) for holds in (1, -1)]
    supports, contradicts = (smallest_level(one, beyond=judged.allowance) for one in beyond)
    outcome: Decision = "undecided"
    if beyond[0](Z) > judged.allowance:
        controlled = control_of(judged.comparison) is not None
        withstood = not controlled or (judged.control is not None and judged.control.withstands)
        outcome = "supports" if withstood else "uncontrolled"
    elif beyond[1](Z) > judged.allowance:
        outcome = "contradicts"
    return replace(judged, outcome=outcome, p_supports=supports, p_contradicts=contradicts)


def _beyond(comparison: Comparison, estimate: Estimate, holds: int, z: float) -> float:
    """Return how far the whole interval lies on the claim's side of the margin (holds 1) or on the other (-1)."""
    interval, above = estimate.at(z), 1 if comparison.side == "above" else -1
    return interval.low - comparison.margin if holds == above else comparison.margin - interval.high
