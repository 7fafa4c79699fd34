"""The paired bootstrap: intervals for quantities of several accuracies that were measured on the same test images.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3 (percentile interval).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from realfeatures.results.statistics.intervals import CONFIDENCE, Interval

RESAMPLES = 10_000
"""chosen: the bounds at 95 % then stand at the 250th value from either end, which moves them by a few per cent of
their distance from the estimate between bootstraps."""

SEED = 0
"""Of the resampling: equal flags give equal intervals."""

Accuracies = NDArray[np.float64]
"""(K, R): of K measurements, in R resamples."""


def paired_bootstrap(
    flags: NDArray[np.bool_], quantity: Callable[[Accuracies], NDArray[np.float64]], *, resamples: int = RESAMPLES
) -> Interval | None:
    """Return a quantity with its percentile interval over resampled test images.

    Images are drawn with replacement, each with its verdicts under all measurements, so that what the measurements
    have in common cancels. None where the resamples cannot tell of an error: where one measurement found all images
    right or all wrong (0 of 100 is no proof of 0), where the quantity never moves (equal flags), or where it is not
    finite (a share of nothing). An interval that treats the images as a sample of more has to be used there.

    Args:
        flags: (K, n), True where measurement k found image i right.
        quantity: (K, R) accuracies -> (R,); must be plain arithmetic, so that it is one expression for all resamples.
    """
    n = flags.shape[1]
    correct = flags.sum(axis=1)
    if n == 0 or np.any((correct == 0) | (correct == n)):
        return None
    # Images with equal verdicts are exchangeable: how often each kind is drawn is multinomial, in place of n indices.
    codes, counts = np.unique((1 << np.arange(len(flags))) @ flags, return_counts=True)
    kinds = (codes >> np.arange(len(flags))[:, None]) & 1  # (K, kinds)
    drawn = np.random.default_rng(SEED).multinomial(n, counts / n, size=resamples)  # (R, kinds)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = quantity(kinds.astype(np.float64) @ drawn.T / n)
        value = float(quantity(correct[:, None] / n)[0])
    if not np.all(np.isfinite(found)) or np.ptp(found) == 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, (tail, 1 - tail))
    return Interval(value, min(float(low), value), max(float(high), value))
