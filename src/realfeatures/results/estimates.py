"""A comparison's quantity with its interval: measured accuracies on the same images, one sample for each seed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from realfeatures.experiment.measures import Comparison, Measure, measures_of
from realfeatures.results.flags import Flags
from realfeatures.results.statistics.bootstrap import Accuracies, paired_bootstrap
from realfeatures.results.statistics.intervals import (
    Interval,
    Z,
    difference_from_share,
    mean_interval,
    over_seeds,
    weighted_difference,
    wilson_interval,
)
from realfeatures.results.statistics.significance import Counts

Row = Mapping[str, Any]

Method = Literal["wilson", "mover", "paired_bootstrap"]
"""How a seed's interval was made. wilson: of one accuracy. mover: of Wilson's intervals of each accuracy, taken for
independent (Newcombe; Zou and Donner). paired_bootstrap: of the verdicts on the same test images."""


@dataclass(frozen=True)
class Sample:
    """What one seed measured of some measurements."""

    counts: tuple[Counts, ...]
    """Of the paired images where there are flags."""
    flags: NDArray[np.bool_] | None
    """(K, n): whether measurement k found image i right; None where some kept no flags."""


Samples = Mapping[int, Sample]
"""By seed."""


@dataclass(frozen=True)
class Estimate:
    """A comparison's quantity over the seeds that have all of its measurements."""

    seeds: tuple[int, ...]
    method: Method
    images: int | None
    """Number of test images that all measurements share, image by image; None: not known, or one measurement."""
    values: tuple[Interval, ...]
    """Accuracy of each of the comparison's terms, in their order."""
    of_seeds: tuple[Callable[[float], Interval], ...]
    """For each seed, the quantity's interval at a quantile z of the normal distribution; none of nothing's share."""

    def at(self, z: float = Z) -> Interval:
        """Return the quantity over the seeds."""
        return over_seeds([one(z) for one in self.of_seeds], z=z)


class Measurements:
    """The rows of results.json by measurement, then by seed, and what comparisons make of them."""

    def __init__(self, rows: Iterable[Row], flags: Flags | None = None) -> None:
        self._flags = flags
        self._found: dict[tuple[Any, ...], dict[int, Row]] = {}
        self._estimates: dict[tuple[Any, ...], Estimate] = {}
        for row in rows:
            self._found.setdefault(_key(row), {})[row["seed"]] = row

    def seeds(self, measures: Sequence[Measure]) -> list[int]:
        """Return the seeds that have all the measurements."""
        return sorted(set.intersection(*(set(self._found.get(_key(vars(one)), {})) for one in measures)))

    def together(self, measures: Sequence[Measure]) -> dict[int, Sample]:
        """Return the measurements of each seed that has them all, on the same images where flags tell which.

        An attack is measured on the first images alone: what is paired with it is cut to those.
        """
        rows = {seed: [self._found[_key(vars(one))][seed] for one in measures] for seed in self.seeds(measures)}
        paired = {seed: self._paired(found) for seed, found in rows.items()}
        # One kind of interval for all the seeds of a comparison.
        if any(flags is None for flags in paired.values()):
            return {seed: Sample(tuple(map(_counts, found)), None) for seed, found in rows.items()}
        return {seed: _sample(flags) for seed, flags in paired.items() if flags is not None}

    def estimate(self, comparison: Comparison, *, chance: float) -> Estimate:
        """Return a comparison's quantity; at least one seed must have all its measurements."""
        key = (comparison.terms, comparison.share, comparison.like, comparison.floor)
        if key not in self._estimates:
            floor = chance if comparison.floor == "chance" else 0.0
            self._estimates[key] = _estimate(comparison, self.together(comparison.measures), floor)
        return self._estimates[key]

    def _paired(self, rows: Sequence[Row]) -> NDArray[np.bool_] | None:
        """Return flags (K, n) of the images that the rows share; images of two protocols are not the same."""
        if self._flags is None or len(rows) < 2 or len({row["protocol"] for row in rows}) > 1:
            return None
        found = [self._flags.of(row) for row in rows]
        kept = [flags for flags in found if flags is not None]
        if len(kept) < len(found):
            return None
        n = min(map(len, kept))
        return np.stack([flags[:n] for flags in kept])


def _sample(flags: NDArray[np.bool_]) -> Sample:
    return Sample(tuple((int(one.sum()), len(one)) for one in flags), flags)


def _counts(row: Row) -> Counts:
    return round(row["value"] * row["n"]), row["n"]


def _estimate(comparison: Comparison, samples: Samples, floor: float) -> Estimate:
    measured = [_terms(comparison, sample, Z) for sample in samples.values()]
    values = tuple(over_seeds(column).clipped() for column in zip(*measured, strict=True))
    images = min((one.flags.shape[1] for one in samples.values() if one.flags is not None), default=None)
    if comparison.like and any(seed[-1].value <= floor for seed in measured):
        return Estimate(tuple(samples), "mover", images, values, ())
    method, of_seeds = _intervals(comparison, list(samples.values()), floor)
    return Estimate(tuple(samples), method, images, values, of_seeds)


def _intervals(
    comparison: Comparison, samples: Sequence[Sample], floor: float
) -> tuple[Method, tuple[Callable[[float], Interval], ...]]:
    """Return each seed's interval as a function of z, of one kind for all of them, and that kind."""
    quantity = partial(_quantity, comparison, floor)
    resampled = [paired_bootstrap(one.flags, quantity) for one in samples if one.flags is not None]
    paired = [one for one in resampled if one is not None]
    if len(paired) == len(samples):
        return "paired_bootstrap", tuple(partial(_scaled, one) for one in paired)
    method: Method = "mover" if comparison.reference else "wilson"
    return method, tuple(partial(_mover, comparison, one, floor) for one in samples)


def _terms(comparison: Comparison, sample: Sample, z: float) -> list[Interval]:
    """Return the accuracy of each of a comparison's terms with its Wilson interval."""
    found = dict(zip(comparison.measures, (wilson_interval(*one, z=z) for one in sample.counts), strict=True))
    return [mean_interval([found[one] for one in measures_of(term)]) for term in comparison.terms]


def _mover(comparison: Comparison, sample: Sample, floor: float, z: float) -> Interval:
    above = [one.shifted(-floor) for one in _terms(comparison, sample, z)]
    if comparison.like:
        return difference_from_share(above[0], above[1], like=(above[2], above[3]))
    return weighted_difference(above[0], above[1], weight=comparison.share) if comparison.reference else above[0]


def _quantity(comparison: Comparison, floor: float, accuracies: Accuracies) -> NDArray[np.float64]:
    """Return the quantity (R,) of accuracies (K, R) in the order of the comparison's measures."""
    found = dict(zip(comparison.measures, accuracies, strict=True))
    means = [np.stack([found[one] for one in measures_of(term)]).mean(axis=0) for term in comparison.terms]
    above: list[NDArray[np.float64]] = [mean - floor for mean in means]
    share = above[2] / above[3] if comparison.like else comparison.share
    return above[0] - share * above[1] if comparison.reference else above[0]


def _scaled(interval: Interval, z: float) -> Interval:
    """Return a bootstrap's interval at another confidence, as if it were normal on either side of its estimate.

    10,000 resamples do not reach the tails that a correction for many comparisons asks of.
    """
    down, up = interval.value - interval.low, interval.high - interval.value
    return Interval(interval.value, interval.value - down * z / Z, interval.value + up * z / Z)


def _key(row: Row) -> tuple[Any, ...]:
    names = ("paradigm", "features", "probe_features", "readout", "attack", "norm", "protocol")
    return (*(str(row[name]) for name in names), float(row["epsilon"]))
