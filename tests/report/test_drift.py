"""What a comparison of runs shows beside the numbers that moved."""

import io

from made_up_rows import over, run
from rich.console import Console

from realfeatures.cli.drift_tables import drift_tables, every_number
from realfeatures.report.sections.drift import detailed, section
from realfeatures.results.drift import drift_of


def test_what_only_one_run_measured_is_listed_apart_and_folded() -> None:
    found = drift_of(run(over(range(2), masked=400, diffusion=300)), [run(over(range(2), masked=400), "before")])
    parts = [part for part in section(found).parts if part.folded]
    assert [(part.folded, part.table and part.table.rows) for part in parts] == [
        ("Measured now alone: 1", (("diffusion on natural",),))
    ]
    assert detailed(found).parts[:-1] == section(found).parts
    assert detailed(found).parts[-1].folded == "All 1 numbers"


def test_the_terminal_shows_names_as_they_are() -> None:
    found = drift_of(run({("masked", 0): 250}, "now [b]"), [run({("masked", 0): 400}, "before")])
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(drift_tables(found))
    console.print(every_number(found))
    text = console.export_text()
    assert text.startswith("Not reproduced at the same address: 1.")
    assert "now [b] compared with before." in text
    assert text.index("80.00") < text.index("What else changed since before") < text.index("All 1 numbers")
