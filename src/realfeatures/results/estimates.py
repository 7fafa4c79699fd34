"""A comparison's quantity with its interval: measured accuracies on the same images, one sample for each seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from realfeatures.experiment.comparisons import Beats, Comparison, Keeps, KeepsLike, measurements_of
from realfeatures.experiment.measurement import Measurement
from realfeatures.results.flags import Flags
from realfeatures.results.rows import Row, Rows
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


class Estimates:
    """What comparisons make of a run's rows, each quantity computed once.

    Args:
        rows: of the run.
        flags: the verdicts on single images, where they are at hand: differences are then paired.
    """

    def __init__(self, rows: Rows, flags: Flags | None = None) -> None:
        self.rows = rows
        self._flags = flags
        self._estimates: dict[Comparison, Estimate] = {}

    def together(self, measurements: Sequence[Measurement]) -> Samples:
        """Return the measurements of each seed that has them all, on the same images where flags tell which.

        An attack is measured on the first images alone: what is paired with it is cut to those.
        """
        seeds = self.rows.seeds(measurements)
        rows = {seed: [self.rows.by_seed(one)[seed] for one in measurements] for seed in seeds}
        paired = {seed: self._paired(found) for seed, found in rows.items()}
        # One kind of interval for all the seeds of a comparison.
        if any(flags is None for flags in paired.values()):
            return {seed: Sample(tuple(row.counts for row in found), None) for seed, found in rows.items()}
        return {seed: _sample(flags) for seed, flags in paired.items() if flags is not None}

    def estimate(self, comparison: Comparison, *, chance: float) -> Estimate:
        """Return a comparison's quantity; at least one seed must have all its measurements."""
        if comparison not in self._estimates:
            self._estimates[comparison] = _estimate(comparison, self.together(comparison.measurements), chance)
        return self._estimates[comparison]

    def _paired(self, rows: Sequence[Row]) -> NDArray[np.bool_] | None:
        """Return flags (K, n) of the images that the rows share; images of two protocols are not the same."""
        if self._flags is None or len(rows) < 2 or len({row.measurement.protocol for row in rows}) > 1:
            return None
        flags = [self._flags.of(row) for row in rows]
        kept = [one for one in flags if one is not None]
        if len(kept) < len(flags):
            return None
        n = min(map(len, kept))
        return np.stack([one[:n] for one in kept])


def _sample(flags: NDArray[np.bool_]) -> Sample:
    return Sample(tuple((int(one.sum()), len(one)) for one in flags), flags)


def _estimate(comparison: Comparison, samples: Samples, chance: float) -> Estimate:
    measured = [_terms(comparison, sample, Z) for sample in samples.values()]
    values = tuple(over_seeds(column).clipped() for column in zip(*measured, strict=True))
    images = min((one.flags.shape[1] for one in samples.values() if one.flags is not None), default=None)
    if isinstance(comparison, KeepsLike) and any(terms[-1].value <= chance for terms in measured):
        return Estimate(tuple(samples), "mover", images, values, ())
    method, of_seeds = _intervals(comparison, list(samples.values()), chance)
    return Estimate(tuple(samples), method, images, values, of_seeds)


def _intervals(
    comparison: Comparison, samples: Sequence[Sample], chance: float
) -> tuple[Method, tuple[Callable[[float], Interval], ...]]:
    """Return each seed's interval as a function of z, of one kind for all of them, and that kind."""
    quantity = partial(_quantity, comparison, chance)
    resampled = [paired_bootstrap(one.flags, quantity) for one in samples if one.flags is not None]
    paired = [one for one in resampled if one is not None]
    if len(paired) == len(samples):
        return "paired_bootstrap", tuple(partial(_scaled, one) for one in paired)
    method: Method = "mover" if len(comparison.terms) > 1 else "wilson"
    return method, tuple(partial(_unpaired, comparison, one, chance) for one in samples)


def _terms(comparison: Comparison, sample: Sample, z: float) -> list[Interval]:
    """Return the accuracy of each of a comparison's terms with its Wilson interval."""
    counts = zip(comparison.measurements, sample.counts, strict=True)
    accuracies = {one: wilson_interval(*counted, z=z) for one, counted in counts}
    return [mean_interval([accuracies[one] for one in measurements_of(term)]) for term in comparison.terms]


def _unpaired(comparison: Comparison, sample: Sample, chance: float, z: float) -> Interval:
    """Return the quantity with the interval of accuracies that are taken for independent."""
    terms = _terms(comparison, sample, z)
    match comparison:
        case Beats():
            return weighted_difference(*terms, weight=1.0)
        case Keeps(share=share):
            first, second = (term.shifted(-comparison.floor_at(chance)) for term in terms)
            return weighted_difference(first, second, weight=share)
        case KeepsLike():
            first, second, part, whole = (term.shifted(-chance) for term in terms)
            return difference_from_share(first, second, like=(part, whole))
        case _:
            return terms[0].shifted(-chance)


def _quantity(comparison: Comparison, chance: float, accuracies: Accuracies) -> NDArray[np.float64]:
    """Return the quantity (R,) of accuracies (K, R) in the order of the comparison's measurements."""
    measured = dict(zip(comparison.measurements, accuracies, strict=True))
    means = [np.stack([measured[one] for one in measurements_of(term)]).mean(axis=0) for term in comparison.terms]
    return comparison.quantity(means, chance)


def _scaled(interval: Interval, z: float) -> Interval:
    """Return a bootstrap's interval at another confidence, as if it were normal on either side of its estimate.

    10,000 resamples do not reach the tails that a correction for many comparisons asks of.
    """
    down, up = interval.value - interval.low, interval.high - interval.value
    return Interval(interval.value, interval.value - down * z / Z, interval.value + up * z / Z)
