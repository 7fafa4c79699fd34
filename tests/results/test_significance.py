"""p-values against their definitions and scipy's, and Holm's correction."""

from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from realfeatures.results.statistics.intervals import weighted_difference, wilson_interval
from realfeatures.results.statistics.significance import holm, p_of_test_images, p_of_trainings


def test_the_p_value_is_where_newcombes_interval_touches_zero() -> None:
    p = p_of_test_images([(400, 500)], [(380, 500)])
    z = NormalDist().inv_cdf(1 - p / 2)
    difference = weighted_difference(wilson_interval(380, 500, z=z), wilson_interval(400, 500, z=z), weight=1)
    assert difference.high == pytest.approx(0, abs=1e-6)
    assert 0.05 < p < 0.2
    assert p_of_test_images([(400, 500)], [(380, 500)], allowance=0.04) == 1.0


def test_students_test_is_scipys() -> None:
    before, after = [0.8, 0.82, 0.79, 0.85], [0.7, 0.72]
    assert p_of_trainings(before, after) == pytest.approx(ttest_ind(before, after).pvalue, rel=1e-9)
    assert (p_of_trainings([0.5, 0.5], [0.5]), p_of_trainings([0.5, 0.5], [0.6])) == (1.0, 0.0)
    with pytest.raises(ValueError, match="expected at least one and two"):
        p_of_trainings([0.5], [0.6])


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=30))
def test_holm_keeps_the_order_and_is_never_below_the_p_value_nor_above_bonferronis(found: list[float]) -> None:
    adjusted = holm(found)
    for p, q in zip(found, adjusted, strict=True):
        assert p <= q <= min(1.0, len(found) * p)
    assert [q for _, q in sorted(zip(found, adjusted, strict=True))] == sorted(adjusted)
