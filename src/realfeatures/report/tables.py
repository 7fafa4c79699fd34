"""What a table of the report is: its entries, and how they are written.

An entry that was not measured is None, drawn as an em dash.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from realfeatures.experiment.wording import interval_text
from realfeatures.results.rows import NOT_PLANNED, Accuracy
from realfeatures.results.statistics.intervals import Interval

NOT_MEASURED = "—"


@dataclass(frozen=True)
class Badge:
    """A verdict; its first word is its colour."""

    text: str


@dataclass(frozen=True)
class Noted:
    """A sentence with small print."""

    text: str
    note: str


@dataclass(frozen=True)
class Sentences:
    """Sentences below each other, of which the page folds all but the first."""

    lines: tuple[str, ...]


Entry = Accuracy | Interval | Badge | Noted | Sentences | str | None


@dataclass(frozen=True)
class Table:
    """A table: `columns` name the entries of each row, the first `stubs` of which say what the row is."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    stubs: int = 1
    words: int = 0
    """How many of the last columns hold sentences."""
    name: str = "table"
    """What a screen reader calls it."""

    @property
    def sizes(self) -> str:
        """How many test images and seeds stand behind its numbers, columns alike named together."""
        columns: dict[str, list[str]] = {}
        for index, column in enumerate(self.columns):
            sizes = {(e.n, e.seeds) for row in self.rows if isinstance(e := row[index], Accuracy)}
            if sizes:
                columns.setdefault(" or ".join(_size(*one) for one in sorted(sizes)), []).append(column)
        if len(columns) == 1:
            return f"{next(iter(columns))} in every cell"
        return "; ".join(f"{', '.join(names)}: {size}" for size, names in columns.items())

    def __str__(self) -> str:
        """Return it as lines of text with columns of equal width."""
        lines = [self.columns, *(tuple(map(entry_text, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def numeric(self, index: int) -> bool:
        """Return whether a column holds numbers, which stand at its right."""
        return self.stubs <= index < len(self.columns) - self.words

    def without_empty_columns(self) -> "Table":
        """Return a table without the columns in which no row has a planned entry."""
        kept = [
            index
            for index in range(len(self.columns))
            if index < self.stubs or any(row[index] != NOT_PLANNED for row in self.rows)
        ]

        def choose(entries: Sequence[Entry]) -> tuple[Entry, ...]:
            return tuple(entries[index] for index in kept)

        columns = tuple(self.columns[index] for index in kept)
        return replace(self, columns=columns, rows=tuple(map(choose, self.rows)))


def entry_text(entry: Entry) -> str:
    """Return a table's entry in one line: `68.6 [60.1, 75.3]` in percent, or an em dash."""
    match entry:
        case None:
            return NOT_MEASURED
        case Accuracy(interval):
            return interval_text(interval)
        case Interval():
            return interval_text(entry)
        case Badge(text):
            return text
        case Noted(text, note):
            return f"{text} {note}"
        case Sentences(lines):
            return "; ".join(lines)
    return entry


def duration(seconds: float) -> str:
    """Return a time as a person says it: 0.4 s, 38 s, 4 min 5 s, 3 h 20 min, 4.0 days."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole / 86400:.1f} days"


def _size(n: int, seeds: int) -> str:
    return f"n = {n:,} for each of {seeds} seeds" if seeds > 1 else f"n = {n:,}, one seed"
