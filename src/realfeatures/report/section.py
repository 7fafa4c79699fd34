"""What the report is made of: sections, each a heading over parts that the page, Markdown and a terminal draw alike."""

from collections.abc import Callable
from dataclasses import dataclass

from realfeatures.report.tables import Table


@dataclass(frozen=True)
class Part:
    """One table or figure with what belongs to it."""

    title: str = ""
    words: tuple[str, ...] = ()
    findings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Sentences that the numbers say, each with its details."""
    figure: Callable[[], str] | None = None
    """Draws the picture as HTML, where it is shown."""
    caption: str = ""
    warnings: tuple[str, ...] = ()
    table: Table | None = None
    note: str = ""
    folded: str = ""
    """What opens the table on the page, where the table is shown when asked for."""


@dataclass(frozen=True)
class Section:
    """A heading and its parts; `name` is its anchor and stands in the contents as `short`."""

    name: str
    short: str
    title: str
    parts: tuple[Part, ...]


def with_rows(*parts: Part) -> tuple[Part, ...]:
    """Return the parts whose table has rows."""
    return tuple(part for part in parts if part.table and part.table.rows)
