"""What a table of the report is: entries with their intervals, and the names that a person reads.

An entry is text, an accuracy over seeds, or None for what was not measured, drawn as an em dash.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from realfeatures.results.statistics.intervals import Interval

MINUS = "\N{MINUS SIGN}"

Threat = tuple[str, str, float]
"""Attack, norm and epsilon."""

CLEAN: Threat = ("none", "none", 0.0)
"""No attack."""

NOT_PLANNED = ""
"""The entry of a cell that the experiment does not have."""

_ATTACKS = {"pgd": "PGD", "autoattack": "AutoAttack", "pgd_representation": "PGD on the representation"}

_NAMES = {
    "pixels": "raw pixels",
    "adversarial": "adversarially trained",
    "standard": "trained elsewhere",
    "own_head": "own head",
    "linear_probe": "linear probe",
    "linear_probe_crop_flip": "crop and flip",
    "linear_probe_simclr": "SimCLR's",
    "linear_probe_noise": "Gaussian noise",
    "knn": "nearest neighbours",
}


@dataclass(frozen=True)
class Accuracy:
    """A mean over seeds, or a difference of two, as fractions; n test images for each seed."""

    interval: Interval
    n: int
    seeds: int
    cells: tuple[str, ...] = ()
    """Addresses of the cells that measured it, as short as `realfeatures show` takes them."""


Entry = Accuracy | str | None


@dataclass(frozen=True)
class Table:
    """A table: `columns` name the entries of each row, the first `stubs` of which say what the row is."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    stubs: int = 1
    words: int = 0
    """How many of the last columns hold sentences."""

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

    @property
    def sized(self) -> bool:
        """Whether it holds an accuracy."""
        return any(isinstance(entry, Accuracy) for row in self.rows for entry in row)


def without_empty_columns(table: Table) -> Table:
    """Return a table without the columns in which no row has a planned entry."""
    kept = [
        index
        for index in range(len(table.columns))
        if index < table.stubs or any(row[index] != NOT_PLANNED for row in table.rows)
    ]

    def choose(entries: Sequence[Entry]) -> tuple[Entry, ...]:
        return tuple(entries[index] for index in kept)

    columns = tuple(table.columns[index] for index in kept)
    return Table(columns, tuple(choose(row) for row in table.rows), stubs=table.stubs, words=table.words)


def threat_name(threat: Threat) -> str:
    """Return an attack as a person writes it: clean, PGD L2 0.25, AutoAttack Linf 8/255."""
    attack, norm, epsilon = threat
    if attack == "none":
        return "clean"
    return f"{_ATTACKS.get(attack, attack)} {norm} {epsilon_name(norm, epsilon)}"


def epsilon_name(norm: str, epsilon: float) -> str:
    """Return epsilon as its field writes it: a multiple of 1/255 for Linf where it is one."""
    levels = epsilon * 255
    if norm == "Linf" and epsilon > 0 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{epsilon:g}"


def control_name(name: str) -> str:
    """Return what a person calls a control, a source or a readout."""
    return _NAMES.get(name, name)


def points(value: float) -> str:
    """Return a fraction as percent with one decimal and a true minus sign."""
    return f"{100 * value:.1f}".replace("-", MINUS)


def _size(n: int, seeds: int) -> str:
    return f"n = {n:,} for each of {seeds} seeds" if seeds > 1 else f"n = {n:,}, one seed"
