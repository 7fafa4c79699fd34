"""Intervals against scipy, textbook values and simulation."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from realfeatures.results.statistics.intervals import (
    Interval,
    difference_from_share,
    mean_interval,
    over_seeds,
    t_interval,
    weighted_difference,
    wilson_interval,
)
from realfeatures.results.statistics.significance import smallest_level

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_wilson_interval_is_scipys(count: tuple[int, int]) -> None:
    correct, n = count
    ours = wilson_interval(correct, n)
    theirs = stats.binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)


@given(counts)
def test_wilson_interval_holds_its_value_and_stays_in_the_unit_interval(count: tuple[int, int]) -> None:
    interval = wilson_interval(*count)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 10), (11, 10)])
def test_impossible_counts_are_refused(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{correct} correct of {n}"):
        wilson_interval(correct, n)


def test_the_difference_of_two_proportions_is_newcombes_example() -> None:
    # Newcombe 1998, Statistics in Medicine 17:873, method 10, example (a): 56/70 - 48/80.
    found = weighted_difference(wilson_interval(56, 70), wilson_interval(48, 80), weight=1)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_a_weight_of_zero_leaves_the_first_interval() -> None:
    first = wilson_interval(30, 40)
    found = weighted_difference(first, wilson_interval(1, 40), weight=0)
    assert (found.value, found.low, found.high) == pytest.approx((first.value, first.low, first.high))


def test_the_weighted_difference_covers_the_truth_about_95_times_in_100() -> None:
    draw = random.Random(0)
    first, second, weight, n = 0.45, 0.95, 0.5, 100

    def covered() -> bool:
        found = weighted_difference(
            *(wilson_interval(sum(draw.random() < p for _ in range(n)), n) for p in (first, second)), weight=weight
        )
        return found.low <= first - weight * second <= found.high

    share = sum(covered() for _ in range(2000)) / 2000
    assert 0.93 < share < 0.975  # 2,000 draws: standard error half a point


def test_a_share_that_is_known_exactly_is_a_weight() -> None:
    first, second = wilson_interval(30, 100), wilson_interval(90, 100)
    found = difference_from_share(first, second, like=(Interval(0.2, 0.2, 0.2), Interval(0.8, 0.8, 0.8)))
    expected = weighted_difference(first, second, weight=0.25)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_the_difference_from_a_share_covers_the_truth_about_95_times_in_100() -> None:
    draw = random.Random(0)
    accuracies, n = (0.30, 0.90, 0.60, 0.95), 200
    truth = 0.30 - 0.60 / 0.95 * 0.90

    def covered() -> bool:
        first, second, *like = (wilson_interval(sum(draw.random() < p for _ in range(n)), n) for p in accuracies)
        found = difference_from_share(first, second, like=(like[0], like[1]))
        return found.low <= truth <= found.high

    assert 0.93 < sum(covered() for _ in range(1000)) / 1000 < 0.975  # standard error 0.7 points


def test_a_share_below_zero_keeps_its_bounds_in_order() -> None:
    found = difference_from_share(
        Interval(0.1, 0.0, 0.3), Interval(0.8, 0.7, 0.85), like=(Interval(-0.1, -0.2, 0.0), Interval(0.9, 0.8, 0.95))
    )
    assert found.low < found.value < found.high


def test_a_share_of_nothing_is_refused() -> None:
    one = wilson_interval(1, 2)
    with pytest.raises(ValueError, match=r"a share of 0\.0: expected a positive whole"):
        difference_from_share(one, one, like=(one, Interval(0.0, 0.0, 0.1)))


def test_t_interval_is_scipys() -> None:
    values = [0.61, 0.66, 0.58, 0.63]
    low, high = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    found = t_interval(values)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_value_has_no_t_interval() -> None:
    with pytest.raises(ValueError, match="1 value"):
        t_interval([0.5])


def test_one_seed_keeps_its_own_interval() -> None:
    assert over_seeds([wilson_interval(60, 100)]) == wilson_interval(60, 100)


def test_two_seeds_reach_from_the_lowest_bound_to_the_highest() -> None:
    assert over_seeds([Interval(0.5, 0.4, 0.6), Interval(0.7, 0.65, 0.75)]) == Interval(0.6, 0.4, 0.75)


def test_three_seeds_add_their_spread_and_the_finite_test_set_in_quadrature() -> None:
    found = over_seeds([Interval(value, value - 0.03, value + 0.04) for value in (0.5, 0.6, 0.7)])
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert found.value == pytest.approx(0.6)
    assert found.low == pytest.approx(0.6 - math.hypot(half, 0.03))
    assert found.high == pytest.approx(0.6 + math.hypot(half, 0.04))


def test_equal_seeds_keep_the_error_of_their_common_test_set() -> None:
    one = wilson_interval(60, 100)
    found = over_seeds([one] * 5)
    assert (found.low, found.high) == pytest.approx((one.low, one.high))


def test_a_mean_of_accuracies_has_the_bounds_of_estimates_that_err_together() -> None:
    one = wilson_interval(60, 100)
    assert mean_interval([one, one]) == one
    found = mean_interval([Interval(0.2, 0.1, 0.5), Interval(0.4, 0.3, 0.5)])
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.2, 0.5))


@pytest.mark.parametrize(("distance", "beyond"), [(0.02, 0.0), (0.05, 0.0), (0.05, 0.02), (0.4, 0.0)])
def test_the_smallest_level_of_a_normal_interval_is_its_p_value(distance: float, beyond: float) -> None:
    error = 0.02
    found = smallest_level(lambda z: distance - z * error, beyond=beyond)
    assert found == pytest.approx(2 * stats.norm.sf((distance - beyond) / error), rel=1e-5)


def test_an_estimate_on_the_wrong_side_has_a_p_value_of_one() -> None:
    assert smallest_level(lambda z: -0.01 - z) == 1.0
    assert smallest_level(lambda z: 0.03 - z, beyond=0.05) == 1.0


def test_the_smallest_level_of_students_interval_is_the_t_tests_p_value() -> None:
    values = [0.31, 0.36, 0.28]
    found = smallest_level(lambda z: t_interval(values, z=z).low - 0.2)
    assert found == pytest.approx(stats.ttest_1samp(values, 0.2).pvalue, rel=1e-4)


def test_over_seeds_widens_both_parts_with_the_confidence() -> None:
    one, z = [Interval(value, value - 0.03, value + 0.03) for value in (0.5, 0.6, 0.7)], stats.norm.ppf(0.995)
    half = stats.t.ppf(0.995, 2) * 0.1 / math.sqrt(3)
    assert over_seeds(one, z=z).high == pytest.approx(0.6 + math.hypot(half, 0.03))
