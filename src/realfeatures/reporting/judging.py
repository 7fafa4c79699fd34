"""One comparison of a claim against the rows of results.json: its quantity, its gates, its control, its outcome."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from realfeatures.claims import WIDELY, Comparison, Gate, Measure
from realfeatures.reporting.statistics import (
    SEEDS_FOR_T,
    Interval,
    difference_from_share,
    over_seeds,
    weighted_difference,
)

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
    """Of each of the comparison's measures, in their order."""
    seeds: tuple[int, ...] = ()
    allowance: float = 0.0
    """How far beyond the margin the whole interval must lie."""
    gates: tuple[Gated, ...] = ()
    control: Controlled | None = None
    missing: tuple[str, ...] = ()

    @property
    def closed(self) -> tuple[Gated, ...]:
        """The gates that keep it from being judged."""
        return tuple(gate for gate in self.gates if not gate.is_open)


class Measurements:
    """The rows of results.json by measurement, then by seed."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._found: dict[tuple[Any, ...], dict[int, Interval]] = {}
        for row in rows:
            if row["protocol"] == "natural":
                seeds = self._found.setdefault(_key(row), {})
                seeds[row["seed"]] = Interval(row["value"], row["low"], row["high"])

    def together(self, measures: Sequence[Measure]) -> dict[int, tuple[Interval, ...]]:
        """Return the measures' accuracies with their binomial intervals, for each seed that has them all."""
        found = [self._found.get(_key(vars(measure)), {}) for measure in measures]
        common = sorted(set.intersection(*(set(seeds) for seeds in found)))
        return {seed: tuple(seeds[seed] for seeds in found) for seed in common}


def judge_comparison(comparison: Comparison, measurements: Measurements, *, classes: int) -> Judged:
    """Return what the numbers say of one comparison.

    Args:
        classes: their inverse is chance; 0 where the data set is unknown.
    """
    missing = _missing(comparison, measurements) if classes else ("the number of classes",)
    if missing:
        return Judged(comparison=comparison, outcome="missing", missing=missing)
    chance = 1 / classes
    values = measurements.together(comparison.measures)
    gates = tuple(_gated(gate, measurements, chance) for gate in comparison.gates)
    quantity = _over_seeds(comparison, values.values(), chance if comparison.floor == "chance" else 0.0)
    control = _controlled(comparison, measurements)
    allowance = seed_allowance(len(values), varying=2 if comparison.like else 1)
    outcome = _outcome(comparison, quantity, allowance)
    if not all(gate.is_open for gate in gates):
        outcome = "undecided"
    elif outcome == "supports" and comparison.control and not (control and control.withstands):
        outcome = "uncontrolled"
    return Judged(
        comparison=comparison,
        outcome=outcome,
        quantity=quantity,
        values=_averages(values),
        seeds=tuple(values),
        allowance=allowance,
        gates=gates,
        control=control,
    )


def seed_allowance(seeds: int, *, varying: int = 1) -> float:
    """Return how far beyond its threshold an interval over so many seeds must lie, as a fraction of accuracy.

    From three seeds on the interval itself holds their spread.

    Args:
        varying: how many independently trained accuracies the comparison rests on.
    """
    return 0.0 if seeds >= SEEDS_FOR_T else WIDELY * math.sqrt(varying / seeds)


def _missing(comparison: Comparison, measurements: Measurements) -> tuple[str, ...]:
    gates = comparison.gates
    wanted = [*comparison.measures, *(gate.measure for gate in gates)]
    absent = [str(one) for one in wanted if not measurements.together([one])]
    for gate in gates:
        if gate.baselines and not any(measurements.together([one]) for one in gate.baselines):
            absent.append(f"a control without pretraining ({' or '.join(map(str, gate.baselines))})")
    if absent:
        return tuple(dict.fromkeys(absent))
    common = measurements.together(comparison.measures) and all(_baselines(gate, measurements) for gate in gates)
    return () if common else (NO_COMMON_SEED,)


def _baselines(gate: Gate, measurements: Measurements) -> list[tuple[Measure | None, dict[int, tuple[Interval, ...]]]]:
    """Return the baselines that can be compared with the gate's measure, with both accuracies by seed."""
    if not gate.baselines:
        return [(None, measurements.together([gate.measure]))]
    found = [(one, measurements.together([gate.measure, one])) for one in gate.baselines]
    return [(one, values) for one, values in found if values]


def _gated(gate: Gate, measurements: Measurements, chance: float) -> Gated:
    exactly_chance = Interval(chance, chance, chance)
    options = [
        Gated(
            gate=gate,
            measured=_averages(values)[0],
            baseline=baseline,
            against=_averages(values)[1] if baseline else exactly_chance,
            quantity=over_seeds(
                [weighted_difference(*_pair(one, exactly_chance), weight=1) for one in values.values()]
            ),
        )
        for baseline, values in _baselines(gate, measurements)
    ]
    return max(options, key=lambda option: option.against.value)


def _pair(values: tuple[Interval, ...], default: Interval) -> tuple[Interval, Interval]:
    return (values[0], values[1] if len(values) > 1 else default)


def _controlled(comparison: Comparison, measurements: Measurements) -> Controlled | None:
    values = measurements.together(comparison.control) if comparison.control else {}
    if not values:
        return None
    kept = over_seeds([weighted_difference(*one, weight=comparison.share) for one in values.values()])
    under_attack, clean = _averages(values)
    # One model that withstands shows that the epsilon can be withstood: few seeds need no allowance here either.
    return Controlled(under_attack=under_attack, clean=clean, withstands=kept.low > 0)


def _averages(values: Mapping[int, tuple[Interval, ...]]) -> tuple[Interval, ...]:
    return tuple(over_seeds(column).clipped() for column in zip(*values.values(), strict=True))


def _over_seeds(comparison: Comparison, values: Iterable[tuple[Interval, ...]], floor: float) -> Interval | None:
    """Return the comparison's quantity, or None where a share is asked for of nothing above the floor."""
    above = [tuple(one.shifted(-floor) for one in seed) for seed in values]
    if comparison.like and any(seed[-1].value <= 0 for seed in above):
        return None
    return over_seeds([_quantity(comparison, seed) for seed in above])


def _quantity(comparison: Comparison, above: tuple[Interval, ...]) -> Interval:
    if comparison.like:
        measure, reference, part, whole = above
        return difference_from_share(measure, reference, like=(part, whole))
    return weighted_difference(above[0], above[1], weight=comparison.share) if comparison.reference else above[0]


def _outcome(comparison: Comparison, quantity: Interval | None, allowance: float) -> Outcome:
    if quantity is None:
        return "undecided"
    above, below = quantity.low - comparison.margin, comparison.margin - quantity.high
    holds, fails = (above, below) if comparison.side == "above" else (below, above)
    if max(holds, fails) <= allowance:
        return "undecided"
    return "supports" if holds > fails else "contradicts"


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("paradigm", "features", "probe_features", "attack", "norm")
    return (*(str(row[name]) for name in names), float(row["epsilon"]))
