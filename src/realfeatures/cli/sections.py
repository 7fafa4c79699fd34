"""A section of the report for a terminal: rich draws its words and its tables."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from realfeatures.experiment.wording import interval_text
from realfeatures.report.section import Part
from realfeatures.report.tables import Entry, Noted, Table, entry_text
from realfeatures.results.rows import Accuracy


def draw_parts(parts: Iterable[Part]) -> RenderableType:
    """Return parts of a section as a person reads them on a terminal, without their figures."""
    return Group(*(line for part in parts for line in _lines(part)))


def draw_table(table: Table) -> RenderableType:
    """Return a table of the report without a box, its sizes below it."""
    drawn = RichTable(caption=table.sizes or None, caption_justify="left", box=None, pad_edge=False)
    drawn.header_style = "bold"
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if table.numeric(index) else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(_text(entry)) for entry in row))
    return drawn


def _lines(part: Part) -> Iterator[RenderableType]:
    if title := part.title or part.folded:
        yield Text(f"\n{title}", style="italic")
    yield from map(Text, part.words)
    yield from (Text(text, style="bold red") for text in part.warnings)
    for text, details in part.findings:
        yield Text("\n".join([text, *(f"  {detail}" for detail in details)]), style="bold")
    if part.table and part.table.rows:
        yield draw_table(part.table)
    if part.note:
        yield Text(f"\n{part.note}", style="dim")


def _text(entry: Entry) -> str:
    """Return an entry as short as a terminal needs it: bounds in whole percent, no small print."""
    if isinstance(entry, Accuracy):
        return interval_text(entry.interval, bounds=0)
    return entry.text if isinstance(entry, Noted) else entry_text(entry)
