"""E6's section of the report."""

from made_up_run import Page


def test_ilyas_sets_and_their_controls_have_a_table(page: Page) -> None:
    table = page.table("trained on", "control")
    assert [row[0] for row in table][-4:] == ["d_det", "non_robust_noise", "shuffled", "d_rand_labels"]
    assert table[("d_rand",)]["clean"].startswith("53.3")
    assert table[("shuffled",)]["control"] == "natural images, labels shuffled"
