"""E1's section of the report."""

from made_up_run import Page


def test_the_usefulness_table_holds_the_mean_over_seeds_and_its_interval(page: Page) -> None:
    table = page.table("encoder", "natural", "robust", "non_robust", "d_rand")
    cell = table[("contrastive",)]["non_robust"]
    value, interval = cell.split(" | ")
    assert value == "47.3"  # 240 and 233 of 500
    low, high = (float(part) for part in interval.split(" – "))  # noqa: RUF001 - en dash of a range
    assert low < 46.6
    assert high > 48.0
    assert table[("raw pixels",)]["natural"].startswith("93.3")


def test_a_probe_on_natural_images_has_a_column_of_its_own(page: Page) -> None:
    table = page.table("encoder", "natural", "robust", "non_robust", "d_rand")
    assert table[("contrastive",)]["non_robust → natural"].startswith("97.1")  # 489 and 482 of 500
    assert table[("supervised",)]["non_robust → natural"].startswith("97.3")
    assert table[("masked",)]["untrained → natural"].startswith("93.3")
    assert table[("raw pixels",)]["non_robust → natural"] == ""
