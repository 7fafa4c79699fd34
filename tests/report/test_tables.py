"""How a table writes its entries, and the names that tables are asked for by."""

import pytest

from realfeatures.experiment.wording import MINUS, interval_text, percent
from realfeatures.report.sections import tables
from realfeatures.report.tables import Table, duration, entry_text
from realfeatures.results.rows import Accuracy
from realfeatures.results.statistics.intervals import Interval


def test_a_loss_has_a_true_minus_sign_in_each_of_its_numbers() -> None:
    assert percent(-0.0123) == f"{MINUS}1.2"
    assert interval_text(Interval(-0.01, -0.021, 0.004)) == f"{MINUS}1.0 [{MINUS}2.1, 0.4]"
    assert interval_text(Interval(0.5, 0.4, 0.6), unit=" points", bounds=0) == "50.0 points [40, 60]"


def test_what_was_not_measured_is_a_dash() -> None:
    assert entry_text(None) == "—"
    assert entry_text("") == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (245, "4 min 5 s"),
        (3599.6, "1 h 0 min"),
        (12_000, "3 h 20 min"),
        (345_600, "4.0 days"),
    ],
)
def test_a_duration_is_said_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_column_that_the_experiment_does_not_have_is_left_out() -> None:
    accuracy = Accuracy(Interval(0.5, 0.4, 0.6), n=10, seeds=1)
    table = Table(("what", "a", "b", "c"), (("x", accuracy, "", None), ("y", "", "", None))).without_empty_columns()
    assert table.columns == ("what", "a", "c")
    assert table.rows == (("x", accuracy, None), ("y", "", None))
    assert table.sizes == "n = 10, one seed in every cell"


def test_a_printed_table_has_columns_of_equal_width() -> None:
    table = Table(
        ("encoder", "natural"), (("masked", Accuracy(Interval(0.9, 0.88, 0.925), 500, 1)), ("raw pixels", None))
    )
    assert str(table).splitlines() == ["encoder     natural", "masked      90.0 [88.0, 92.5]", "raw pixels  —"]


def test_tables_are_named_by_their_section_and_the_others_by_their_heading_too(results: dict) -> None:
    named = tables(results)
    assert named["usefulness"].columns[:2] == ("encoder", "natural")
    assert named["robustness: The sources"].columns[:2] == ("source", "makes")
    assert {"claims", "robustness", "transfer", "decomposition: What is lost", "controls"} <= set(named)
