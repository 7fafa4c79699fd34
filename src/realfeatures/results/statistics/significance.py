"""p-values from intervals, whether two sets of trainings differ in accuracy, and Holm's correction for many of them."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean

from realfeatures.results.statistics.intervals import (
    SEEDS_FOR_T,
    Interval,
    mean_interval,
    weighted_difference,
    wilson_interval,
)

SIGNIFICANCE = 0.05
"""Chance of one false alarm or more among all comparisons together, where nothing has changed."""

FREEDOM_FOR_T = 2 * (SEEDS_FOR_T - 1)
"""Degrees of freedom of three trainings on each side. With fewer, Student's t at the level of a hundred comparisons
is 20 and more: it would let any difference pass."""

LARGEST_Z = 38.0
"""Its two-sided p is the smallest positive float."""
BISECTIONS = 30
"""Halvings of that, to 4e-8."""

Counts = tuple[int, int]
"""How many of how many test images are classified correctly."""


def p_of_test_images(before: Sequence[Counts], after: Sequence[Counts], *, allowance: float = 0.0) -> float:
    """Return the p-value of a difference of mean accuracies that is larger than `allowance`, by Newcombe's interval.

    It is the smallest level at which Newcombe's interval (1998, method 10, of Wilson's) lies wholly beyond
    -allowance..allowance. Several trainings are measured on the same test images, so their number
    does not shorten the interval. Between two sides the images are taken for independent; where they are the same,
    the p-value is too large rather than too small.

    Args:
        before, after: one entry a training, at least one.
        allowance: a difference of accuracies that counts for nothing.
    """
    return smallest_level(partial(_clearance, before, after), beyond=allowance)


def smallest_level(clearance: Callable[[float], float], *, beyond: float = 0.0) -> float:
    """Return the two-sided p-value that belongs to an interval: the smallest level at which it still excludes.

    Args:
        clearance: how far the interval of a confidence, given as its quantile z of the normal distribution, stays
            away from what it is to exclude; falls with z.
        beyond: how far it has to stay away.
    """
    low, high = 0.0, LARGEST_Z
    if clearance(low) <= beyond:
        return 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if clearance(middle) > beyond else (low, middle)
    return math.erfc(low / math.sqrt(2))


def p_of_trainings(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the p-value of Student's two-sample t test, with a common variance: is `after` another distribution?

    Raises:
        ValueError: fewer than three values in all, or none on a side.
    """
    from scipy.special import stdtr

    freedom = len(before) + len(after) - 2
    if not before or not after or freedom < 1:
        raise ValueError(f"{len(before)} and {len(after)} values: expected at least one and two")
    difference = abs(fmean(after) - fmean(before))
    squares = sum((value - fmean(side)) ** 2 for side in (before, after) for value in side)
    error = math.sqrt(squares / freedom * (1 / len(before) + 1 / len(after)))
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stdtr(freedom, -difference / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number (Holm 1979), which holds however they depend on each other."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _clearance(before: Sequence[Counts], after: Sequence[Counts], z: float) -> float:
    """Return how far the interval of the difference stays away from zero; negative where it holds zero."""
    difference = weighted_difference(_mean(after, z=z), _mean(before, z=z), weight=1.0)
    return difference.low if difference.value > 0 else -difference.high


def _mean(side: Sequence[Counts], *, z: float) -> Interval:
    return mean_interval([wilson_interval(correct, n, z=z) for correct, n in side])
