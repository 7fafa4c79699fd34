"""E2's section of the report."""

import shutil
from pathlib import Path

from made_up_run import Page, Run

from realfeatures.experiment.presets import load_preset


def test_the_robustness_table_holds_every_attack(page: Page) -> None:
    table = page.table("paradigm", "features", "clean")
    row = table[("supervised", "robust")]
    assert list(row)[2:] == ["clean", "PGD L2 0.25", "PGD L2 0.5", "PGD L2 0.75", "AutoAttack L2 0.75"]
    assert row["AutoAttack L2 0.75"].startswith("19.0")


def test_the_sources_have_a_table_of_their_own(page: Page, original: Run) -> None:
    table = page.table("source", "makes", "clean")
    by_supervised = "non_robust, d_rand, d_det, non_robust_noise"
    assert list(table) == [
        ("adversarially trained", "robust"),
        ("supervised", by_supervised),
        ("contrastive", "non_robust_contrastive"),
        ("masked", "non_robust_masked"),
        ("diffusion", "non_robust_diffusion"),
    ]
    row = table[("adversarially trained", "robust")]
    assert list(row)[2:] == ["clean", "PGD L2 0.25", "PGD L2 0.5", "PGD L2 0.75", "AutoAttack L2 0.75"]
    assert row["clean"].startswith("95.3")  # 480 and 473 of 500
    assert row["AutoAttack L2 0.75"].startswith("75.5")
    compared = page.table("paradigm", "features", "clean")[("supervised", "natural")]
    assert table[("supervised", by_supervised)]["clean"] == compared["clean"]
    assert "| adversarially trained | robust | 95.3 [" in original.markdown


def test_the_sources_are_in_no_table_of_the_paradigms(page: Page) -> None:
    for columns in (("encoder", "natural"), ("paradigm", "features"), ("paradigm", "crafted set X")):
        assert not [row for row in page.table(*columns) if "adversarial" in row[0]]


def test_what_was_not_attacked_has_its_planned_columns_and_dashes(run: Run) -> None:
    for cell in run.grid:
        if cell.role == "attack" and cell.paradigm != "adversarial":
            shutil.rmtree(run.folder(cell.key))
    run.report()
    page = Page(run.html)
    row = page.table("paradigm", "features", "clean")[("masked", "natural")]
    assert row["AutoAttack L2 0.75"] == row["clean"] == "—"
    source = page.table("source", "makes")[("adversarially trained", "robust")]
    assert source["AutoAttack L2 0.75"].startswith("75.5")


def test_a_run_without_crafted_sets_has_no_table_of_sources(tmp_path: Path) -> None:
    run = Run(tmp_path, load_preset("digits", ["paradigms=supervised", "features=natural", "experiments=E2"]), [0])
    run.write()
    run.report()
    assert "The sources" not in run.html
    assert "The sources" not in run.markdown


def test_both_protocols_of_robustness_have_a_table(original: Run, page: Page) -> None:
    assert "From natural images" in original.html
    assert "From images of the robust set" in original.html
    tables = [table for table in page.tables if table[0][:3] == ["paradigm", "features", "clean"]]
    assert len([table for table in tables if table[0][-1] == "AutoAttack L2 0.75"]) == 2
