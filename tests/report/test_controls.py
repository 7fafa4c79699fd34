"""The report's section of controls."""

from made_up_run import Page


def test_the_controls_stand_beside_what_they_control(page: Page) -> None:
    row = page.table("paradigm", "encoder on", "fitted to", stubs=3)[("contrastive", "natural", "natural")]
    assert row["its accuracy"].startswith("98.1")
    assert row["nearest neighbours"].startswith("97.1")
    swept = page.table("paradigm", "encoder on", "probe on", stubs=3)[("diffusion", "natural", "natural")]
    assert len(swept) > 4
    assert {value.split(" | ")[0] for name, value in swept.items() if name.startswith("t = ")} == {"97.3"}
    free = next(table for table in page.tables if table[0][-1].startswith("PGD on the representation"))
    assert {row[-1].split(" | ")[0] for row in free[1:]} == {"50.0"}
