"""E3's section of the report."""

from made_up_run import Page


def test_the_sources_of_features_and_their_targets_stand_beside_natural_and_chance(page: Page) -> None:
    table = page.table("features of", "set")
    assert table[("supervised", "non_robust")]["→ contrastive"].startswith("47.3")
    assert table[("diffusion", "non_robust_diffusion")]["→ masked"].startswith("19.3")  # 100 and 93 of 500
    assert table[("natural images", "natural")]["→ masked"].startswith("96.9")
    assert table[("chance", "")]["→ masked"] == "10.0"
