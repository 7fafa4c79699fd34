"""The usefulness and robustness tables for a terminal; the other experiments are in the reports."""

from pathlib import Path
from typing import TYPE_CHECKING

from realfeatures.experiment.vocabulary import Protocol
from realfeatures.report.experiment_tables import robustness, usefulness
from realfeatures.report.rendering import NOT_MEASURED
from realfeatures.report.tables import Accuracy, Entry, Table
from realfeatures.results.build import load_results

if TYPE_CHECKING:
    from rich.console import RenderableType


def summary_tables(out: Path) -> "RenderableType":
    """Return the tables of E1 and E2 that it has, and the verdicts of a finished run, for rich to print.

    Raises:
        ArtifactError: the folder holds no results.json.
    """
    from rich.console import Group
    from rich.table import Table as RichTable

    results = load_results(out)
    tables = {
        "Usefulness: clean accuracy, % [95 % interval]": usefulness(results),
        "Robustness: accuracy under attack, %": robustness(results, Protocol.NATURAL),
    }
    verdicts = RichTable("claim", "", "verdict", title="Claims", title_justify="left")
    for claim in results["claims"]:
        verdicts.add_row(claim["id"], claim["text"], claim["verdict"])
    return Group(*(_draw(table, title) for title, table in tables.items() if table.rows), verdicts)


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
