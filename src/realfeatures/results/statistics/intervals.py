"""Intervals for accuracies, for differences of accuracies and for means over seeds; at 95 % unless asked otherwise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

CONFIDENCE = 0.95
"""Two-sided confidence of every interval in the results and the report."""

Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""Its quantile of the normal distribution, 1.96."""

SEEDS_FOR_T = 3
"""From this many seeds on, a variance between seeds is estimated; Student's factor for two is 12.7."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % bounds, in the unit of what is estimated."""

    value: float
    low: float
    high: float

    def clipped(self) -> "Interval":
        """Return the interval cut to [0, 1], which no accuracy leaves."""
        return Interval(self.value, max(0.0, self.low), min(1.0, self.high))

    def shifted(self, amount: float) -> "Interval":
        """Return the interval of the estimate plus a constant."""
        return Interval(self.value + amount, self.low + amount, self.high + amount)


def wilson_interval(correct: int, n: int, *, z: float = Z) -> Interval:
    """Return an accuracy with Wilson's score interval (Wilson 1927), which stays sensible at 0 and at 1.

    Args:
        correct: successes, in 0..n.
        n: trials, at least 1.
        z: quantile of the normal distribution for the confidence wanted.

    Raises:
        ValueError: no trials, or a count outside 0..n.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"{correct} correct of {n}: expected 0 <= correct <= n and n >= 1")
    accuracy = correct / n
    centre = (accuracy + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(accuracy * (1 - accuracy) / n + z * z / (4 * n * n))
    # At 0 and n the bound is the value itself; rounding must not put it on the other side.
    return Interval(accuracy, min(max(0.0, centre - half), accuracy), max(min(1.0, centre + half), accuracy))


def weighted_difference(first: Interval, second: Interval, *, weight: float) -> Interval:
    """Return `first - weight * second` with its MOVER interval (Zou, Donner 2008; weight 1: Newcombe 1998).

    The two are treated as independent. Both are measured on the same test images, which correlates
    them positively, so that the interval is rather too wide than too narrow.

    Args:
        first, second: estimates with their own intervals.
        weight: not negative.
    """
    value = first.value - weight * second.value
    down = math.hypot(first.value - first.low, weight * (second.high - second.value))
    up = math.hypot(first.high - first.value, weight * (second.value - second.low))
    return Interval(value, value - down, value + up)


def difference_from_share(first: Interval, second: Interval, *, like: tuple[Interval, Interval]) -> Interval:
    """Return `first - (a / b) * second` for like = (a, b): what first has beyond the share that a is of b.

    First-order propagation of the four intervals, each side by its own half-widths as in weighted_difference.

    Args:
        first, second: estimates with their own intervals.
        like: a and b, with a positive estimate of b.

    Raises:
        ValueError: b is not positive.
    """
    part, whole = like
    if whole.value <= 0:
        raise ValueError(f"a share of {whole.value}: expected a positive whole")
    share, scale = part.value / whole.value, second.value / whole.value
    terms = ((1.0, first), (-share, second), (-scale, part), (share * scale, whole))
    value = first.value - share * second.value
    down = math.hypot(*(_reach(factor, interval, down=True) for factor, interval in terms))
    up = math.hypot(*(_reach(factor, interval, down=False) for factor, interval in terms))
    return Interval(value, value - down, value + up)


def _reach(factor: float, interval: Interval, *, down: bool) -> float:
    """Return how far `factor * interval` reaches below (down) or above its estimate."""
    below = down == (factor >= 0)
    return factor * (interval.value - interval.low if below else interval.high - interval.value)


def mean_interval(intervals: Sequence[Interval]) -> Interval:
    """Return the mean of accuracies on the same test images, with the means of their bounds.

    That is the interval of estimates that err together, the widest that their mean can have.
    """
    return Interval(
        fmean(i.value for i in intervals), fmean(i.low for i in intervals), fmean(i.high for i in intervals)
    )


def t_interval(values: Sequence[float], *, z: float = Z) -> Interval:
    """Return the mean of at least two values with Student's t interval.

    Args:
        z: quantile of the normal distribution for the confidence wanted.

    Raises:
        ValueError: fewer than two values.
    """
    from scipy.special import stdtrit

    if len(values) < 2:
        raise ValueError(f"{len(values)} value: expected at least 2 to estimate a variance")
    mean = fmean(values)
    # The lower tail, which keeps its precision where the upper one rounds to 1.
    quantile = -float(stdtrit(len(values) - 1, math.erfc(z / math.sqrt(2)) / 2))
    half = quantile * stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def over_seeds(intervals: Sequence[Interval], *, z: float = Z) -> Interval:
    """Return the mean over seeds with an interval for both its errors: the seeds and the finite test set.

    From three seeds on, Student's interval over the seeds and the mean half-width of the seeds' own intervals
    are added in quadrature (the test images are the same for every seed, so that part does not shrink
    with more seeds). One or two seeds cannot give a variance: the interval then reaches from the lowest
    of the seeds' bounds to the highest.

    Args:
        intervals: one for each seed, at least one.
        z: quantile of the normal distribution for the confidence of those, and of the result.
    """
    mean = fmean(interval.value for interval in intervals)
    if len(intervals) < SEEDS_FOR_T:
        return Interval(mean, min(interval.low for interval in intervals), max(interval.high for interval in intervals))
    seeds = t_interval([interval.value for interval in intervals], z=z)
    down = math.hypot(mean - seeds.low, fmean(interval.value - interval.low for interval in intervals))
    up = math.hypot(seeds.high - mean, fmean(interval.high - interval.value for interval in intervals))
    return Interval(mean, mean - down, mean + up)
