"""The report's tables as data, from the rows of results.json; HTML, Markdown and the terminal draw them.

A cell of a table is text, an accuracy over seeds, or None for what was not measured, drawn as an em dash.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from realfeatures.claims import ADVERSARIAL
from realfeatures.reporting.results import SOURCES
from realfeatures.reporting.statistics import Interval, over_seeds, weighted_difference
from realfeatures.vocabulary import Features, Paradigm

Row = Mapping[str, Any]

MINUS = "\N{MINUS SIGN}"

CLEAN = ("none", "none", 0.0)
"""Attack, norm and epsilon of a clean accuracy."""


SOURCE_OF = {ADVERSARIAL: (Features.ROBUST,), Paradigm.SUPERVISED: (Features.NON_ROBUST, Features.D_RAND)}
"""Source model -> the sets that are made with it."""


@dataclass(frozen=True)
class Accuracy:
    """A mean over seeds, or a difference of two, as fractions; n test images for each seed."""

    interval: Interval
    n: int
    seeds: int


Entry = Accuracy | str | None


@dataclass(frozen=True)
class Table:
    """A table: `columns` name the entries of each row, the first `stubs` of which say what the row is."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    stubs: int = 1

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


class Lookup:
    """The rows of results.json by what they measure."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._found: dict[tuple[Any, ...], dict[int, Row]] = {}
        for row in rows:
            key = (row["paradigm"], row["features"], row["probe_features"], _threat(row))
            self._found.setdefault(key, {})[row["seed"]] = row

    def accuracy(
        self, paradigm: str, features: str, probe_features: str, threat: tuple[str, str, float] = CLEAN
    ) -> Accuracy | None:
        """Return a measurement's mean over its seeds, or None where there is none."""
        seeds = self._found.get((paradigm, features, probe_features, threat))
        if not seeds:
            return None
        found = _mean([_interval(row) for row in seeds.values()], seeds.values())
        return replace(found, interval=found.interval.clipped())

    def loss(self, paradigm: str, features: str, probe_features: str) -> Accuracy | None:
        """Return how much clean accuracy a cell loses against natural/natural, averaged over common seeds."""
        base = self._found.get((paradigm, Features.NATURAL, Features.NATURAL, CLEAN), {})
        other = self._found.get((paradigm, features, probe_features, CLEAN), {})
        common = sorted(set(base) & set(other))
        if not common:
            return None
        losses = [weighted_difference(_interval(base[s]), _interval(other[s]), weight=1.0) for s in common]
        return _mean(losses, [other[s] for s in common])

    def threats(self) -> list[tuple[str, str, float]]:
        """Return every attack with its norm and epsilon: clean, PGD by norm and epsilon, then AutoAttack."""
        found = {key[3] for key in self._found}
        return sorted(found, key=lambda threat: (threat[0] != "none", threat[0] == "autoattack", threat))


def usefulness(rows: Sequence[Row], config: Mapping[str, Any]) -> Table:
    """Clean accuracy of each paradigm, and of each control, on each feature set (E1)."""
    lookup, features = Lookup(rows), list(config["features"])
    matched = [(p, *(lookup.accuracy(p, f, f) for f in features)) for p in config["paradigms"]]
    controls = [(control_name(c), *(lookup.accuracy(c, "none", f) for f in features)) for c in config["controls"]]
    return Table(("encoder", *features), (*matched, *controls))


def robustness(rows: Sequence[Row], config: Mapping[str, Any]) -> Table:
    """Accuracy of each matched cell under each attack (E2)."""
    lookup = Lookup(compared(rows))
    threats = lookup.threats() or [CLEAN]
    body = [
        (paradigm, features, *(lookup.accuracy(paradigm, features, features, threat) for threat in threats))
        for paradigm in config["paradigms"]
        for features in config["features"]
    ]
    return Table(("paradigm", "features", *map(threat_name, threats)), tuple(body), stubs=2)


def compared(rows: Iterable[Row]) -> list[Row]:
    """Return the rows without those of the adversarial source, which is compared with no paradigm."""
    return [row for row in rows if row["experiment"] != SOURCES]


def sources(rows: Sequence[Row], config: Mapping[str, Any]) -> Table:
    """Accuracy under each attack of the models whose features the crafted sets copy."""
    lookup = Lookup(rows)
    threats = lookup.threats() or [CLEAN]
    body = []
    for source, possible in SOURCE_OF.items():
        made = [features for features in config["features"] if features in possible]
        if made:
            natural = Features.NATURAL.value
            accuracies = (lookup.accuracy(source, natural, natural, threat) for threat in threats)
            body.append((str(source), ", ".join(made), *accuracies))
    return Table(("source", "makes", *map(threat_name, threats)), tuple(body), stubs=2)


def decomposition(rows: Sequence[Row], config: Mapping[str, Any]) -> Table:
    """Clean accuracy where encoder and probe saw different sets, and what each mix loses."""
    lookup, natural = Lookup(rows), Features.NATURAL.value
    body = [
        (
            paradigm,
            features,
            lookup.accuracy(paradigm, natural, natural),
            lookup.accuracy(paradigm, features, natural),
            lookup.accuracy(paradigm, natural, features),
            lookup.accuracy(paradigm, features, features),
            lookup.loss(paradigm, features, natural),
            lookup.loss(paradigm, natural, features),
        )
        for paradigm in config["paradigms"]
        for features in config["features"]
        if features != natural
    ]
    columns = (
        "paradigm",
        "crafted set X",
        "natural → natural",
        "X → natural",
        "natural → X",
        "X → X",
        "lost with encoder on X",
        "lost with probe on X",
    )
    return Table(columns, tuple(body), stubs=2)


def controls(rows: Sequence[Row], config: Mapping[str, Any]) -> Table:
    """Clean and robust accuracy of what learned nothing, by the set its probe was fitted to."""
    lookup = Lookup([row for row in rows if row["experiment"] == "controls"])
    threats = lookup.threats() or [CLEAN]
    body = [
        (
            control_name(control),
            features,
            *(lookup.accuracy(control, "none", features, threat) for threat in threats),
        )
        for control in config["controls"]
        for features in config["features"]
    ]
    return Table(("control", "probe fitted to", *map(threat_name, threats)), tuple(body), stubs=2)


def threat_name(threat: tuple[str, str, float]) -> str:
    """Return an attack as a person writes it: clean, PGD L2 0.25, AutoAttack Linf 8/255."""
    attack, norm, epsilon = threat
    if attack == "none":
        return "clean"
    return f"{ {'pgd': 'PGD', 'autoattack': 'AutoAttack'}.get(attack, attack) } {norm} {epsilon_name(norm, epsilon)}"


def epsilon_name(norm: str, epsilon: float) -> str:
    """Return epsilon as its field writes it: a multiple of 1/255 for Linf where it is one."""
    levels = epsilon * 255
    if norm == "Linf" and epsilon > 0 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{epsilon:g}"


def control_name(name: str) -> str:
    """Return what a person calls a control."""
    return {"pixels": "raw pixels", "untrained": "untrained encoder"}.get(name, name)


def _threat(row: Row) -> tuple[str, str, float]:
    return (row["attack"], row["norm"], float(row["epsilon"]))


def _interval(row: Row) -> Interval:
    return Interval(row["value"], row["low"], row["high"])


def _mean(intervals: Sequence[Interval], rows: Iterable[Row]) -> Accuracy:
    return Accuracy(over_seeds(intervals), max(row["n"] for row in rows), len(intervals))


def _size(n: int, seeds: int) -> str:
    return f"n = {n:,} for each of {seeds} seeds" if seeds > 1 else f"n = {n:,}, one seed"
