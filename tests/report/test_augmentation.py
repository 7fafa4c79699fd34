"""E4's section of the report."""

from made_up_run import Page


def test_each_augmentation_of_the_probe_has_its_row(page: Page) -> None:
    table = page.table("paradigm", "features", "augmentation", stubs=3)
    assert {row[2] for row in table} == {"none", "crop and flip", "SimCLR's", "Gaussian noise"}
    assert {row[:2] for row in table} == {
        (paradigm, features)
        for paradigm in ("contrastive", "masked", "diffusion")
        for features in ("natural", "robust")
    }
    assert table[("masked", "robust", "SimCLR's")]["PGD L2 0.25"].startswith("56.0")


def test_what_is_measured_to_gate_a_claim_is_in_no_table_of_trained_encoders(page: Page) -> None:
    for columns, count in ((("paradigm", "features", "augmentation"), 24), (("paradigm", "features", "one view"), 6)):
        table = page.table(*columns, stubs=3)
        assert len(table) == count
        assert not {"untrained", "none", "adversarial", "pixels"} & {name for row in table for name in row[:2]}
