"""The report's section on what encoder and probe lose."""

from made_up_run import Page, Run

from realfeatures.experiment.wording import MINUS


def test_the_decomposition_is_answered_in_words_from_the_numbers(original: Run) -> None:
    assert (
        "With non_robust: the labels that the probe is fitted to lose more accuracy than the encoder" in original.html
    )
    assert "nothing is lost that could be told from zero in supervised, contrastive and diffusion" in original.html
    table = Page(original.html).table("paradigm", "crafted set X")
    assert table[("contrastive", "non_robust")]["lost with encoder on X"].startswith("1.0")
    assert table[("contrastive", "non_robust")]["lost with probe on X"].startswith("48.8")
    assert table[("contrastive", "non_robust")]["the first less the second"].startswith(f"{MINUS}47.8")
    assert table[("contrastive", "non_robust")]["intervals"] == "MOVER, unpaired"  # this run keeps no flags


def test_every_encoder_of_the_decomposition_is_read_by_a_linear_probe(page: Page) -> None:
    table = page.table("paradigm", "encoder on", "probe on natural")
    assert table[("supervised", "natural")]["probe on non_robust"].startswith("69.9")  # 353 and 346 of 500
    assert table[("masked", "nothing (untrained)")]["probe on robust"].startswith("87.3")
    assert table[("raw pixels", "")]["probe on d_rand"].startswith("21.3")
    assert table[("masked", "robust")]["probe on non_robust"] == ""  # no such cell: neither a number nor a dash
