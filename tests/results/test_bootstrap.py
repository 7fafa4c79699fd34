"""The paired bootstrap against an index of images, its coverage, and where it has nothing to say."""

import numpy as np
import pytest
from made_up_flags import correlated

from realfeatures.results.statistics.bootstrap import paired_bootstrap
from realfeatures.results.statistics.intervals import weighted_difference, wilson_interval


def difference(accuracies: np.ndarray) -> np.ndarray:
    return accuracies[0] - accuracies[1]


def test_the_bootstrap_draws_as_an_index_of_images_would() -> None:
    generator = np.random.default_rng(1)
    flags = correlated([0.6, 0.5], generator.normal(size=300), generator)
    found = paired_bootstrap(flags, difference)
    indices = generator.integers(300, size=(10_000, 300))
    slow = flags[0][indices].mean(axis=1) - flags[1][indices].mean(axis=1)
    assert found is not None
    assert found.value == pytest.approx(flags[0].mean() - flags[1].mean())
    # Quantiles of 10,000 draws: their standard error is about 3 % of the half-width, and the steps are 1/300.
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, (0.025, 0.975))), abs=2 / 300)
    assert paired_bootstrap(flags, difference) == found  # seeded


def test_the_paired_interval_covers_the_truth_about_95_times_in_100_and_newcombes_too_often() -> None:
    generator = np.random.default_rng(0)
    accuracies, share, n = [0.30, 0.90], 0.5, 400
    truth = accuracies[0] - share * accuracies[1]
    paired, independent = 0, 0
    for _ in range(600):
        flags = correlated(accuracies, generator.normal(size=n), generator)
        found = paired_bootstrap(flags, lambda a: a[0] - share * a[1], resamples=1000)
        first, second = (wilson_interval(int(one.sum()), n) for one in flags)
        newcombe = weighted_difference(first, second, weight=share)
        assert found is not None
        paired += found.low <= truth <= found.high
        independent += newcombe.low <= truth <= newcombe.high
    assert 0.925 < paired / 600 < 0.975  # standard error 0.9 points
    assert independent > paired


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (np.array([[1, 0, 1, 0], [1, 0, 1, 0]], dtype=bool), "equal flags have no difference in any resample"),
        (np.array([[0, 0, 0, 0], [1, 0, 1, 1]], dtype=bool), "0 of 4 is no proof of 0"),
        (np.array([[1, 1, 1, 1], [1, 0, 1, 1]], dtype=bool), "4 of 4 is no proof of 1"),
        (np.zeros((2, 0), dtype=bool), "no images"),
    ],
)
def test_flags_that_tell_of_no_error_are_left_to_another_interval(flags: np.ndarray, why: str) -> None:
    assert paired_bootstrap(flags, difference) is None, why


def test_a_share_of_nothing_in_a_resample_is_left_to_another_interval() -> None:
    flags = np.array([[1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]], dtype=bool)
    assert paired_bootstrap(flags, lambda a: a[1] / a[0]) is None
