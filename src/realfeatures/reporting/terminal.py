"""The usefulness and robustness tables for a terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from realfeatures.reporting.results import load_results
from realfeatures.reporting.tables import Accuracy, Entry, Table, robustness, usefulness

if TYPE_CHECKING:
    from rich.console import RenderableType

NOT_MEASURED = "—"


def summary_tables(out: Path) -> "RenderableType":
    """Return the two tables and the verdicts of a finished run, for rich to print.

    Raises:
        ArtifactError: the folder holds no results.json.
    """
    from rich.console import Group
    from rich.table import Table as RichTable

    results = load_results(out)
    rows, config = results["rows"], results["preset"]["config"]
    verdicts = RichTable("claim", "", "verdict", title="Claims", title_justify="left")
    for claim in results["claims"]:
        verdicts.add_row(claim["id"], claim["text"], claim["verdict"])
    return Group(
        _draw(usefulness(rows, config), "Usefulness: clean accuracy, % [95 % interval]"),
        _draw(robustness(rows, config), "Robustness: accuracy under attack, %"),
        verdicts,
    )


def _draw(table: Table, title: str) -> "RenderableType":
    from rich.table import Table as RichTable

    drawn = RichTable(title=title, caption=table.sizes, title_justify="left", caption_justify="left")
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if index < table.stubs else "right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(_text(entry) for entry in row))
    return drawn


def _text(entry: Entry) -> str:
    if entry is None:
        return NOT_MEASURED
    if isinstance(entry, Accuracy):
        interval = entry.interval
        return f"{100 * interval.value:.1f} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
    return entry
