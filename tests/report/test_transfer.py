"""E5's section of the report."""

from made_up_run import Page, Run


def test_the_transfer_of_attacks_is_split_by_mistake_and_says_how_many_examples_it_is_of(page: Page) -> None:
    table = page.table("features", "attack", "source", "target", stubs=4)
    row = table[("robust", "L2 0.5", "masked", "diffusion")]
    shares = [row[name].split(" | ")[0] for name in ("transferred", "same mistake", "different mistake")]
    assert (row["n"], shares) == ("40", ["25.0", "15.0", "10.0"])
    assert "<title>masked → diffusion: n = 40 for each of 2 seeds</title>" in page.text


def test_a_source_that_nothing_fools_has_no_transfer_rate(run: Run) -> None:
    run.rewrite("seed0/natural/transfer", lambda record: [one.update(NOT_FOOLED) for one in record["transfer"]])
    run.rewrite("seed1/natural/transfer", lambda record: [one.update(NOT_FOOLED) for one in record["transfer"]])
    run.report()
    table = Page(run.html).table("features", "attack", "source", "target", stubs=4)
    assert table[("natural", "L2 0.5", "masked", "masked")]["transferred"] == "—"


NOT_FOOLED = {"n": 0, "transferred": 0, "same_mistake": 0, "different_mistake": 0}


def test_both_losses_are_drawn_for_each_attacked_loss(page: Page, original: Run) -> None:
    for attacked in ("InfoNCE", "cross-entropy"):
        assert f"attack on {attacked}: non_robust, Linf 8/255" in original.html
        row = page.table("encoder and attack")[("contrastive on natural, Linf 8/255", attacked)]
        assert (row[attacked], row["accuracy, %"]) == ("1 → 4", "100.0 → 25.0")
