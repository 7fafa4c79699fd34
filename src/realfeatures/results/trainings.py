"""A quantity in earlier runs and in this one as two samples of trainings, and whether they differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from realfeatures.experiment.claims import WIDELY
from realfeatures.experiment.measures import measurement_text
from realfeatures.results.earlier import MeasuredRow, NamedRun
from realfeatures.results.statistics.intervals import SEEDS_FOR_T, Interval, over_seeds
from realfeatures.results.statistics.significance import (
    FREEDOM_FOR_T,
    SIGNIFICANCE,
    p_of_test_images,
    p_of_trainings,
)

RULE = (
    f"A number has left its interval where, at {100 * SIGNIFICANCE:.0f} % for all numbers together (Holm), Newcombe's"
    " interval of the difference of two Wilson intervals excludes zero and Student's two-sample t test tells the"
    f" trainings apart. Fewer than {SEEDS_FOR_T} trainings on each side ({FREEDOM_FOR_T} degrees of freedom) cannot"
    " show how much trainings differ; Newcombe's interval must then lie beyond"
    f" {100 * WIDELY:.0f} points times √(1/before + 1/now), which is {100 * WIDELY * math.sqrt(2):.0f} points for one"
    " training each. Both sides are taken for independent; most often their test images are the same, which makes the"
    " rule slower to raise an alarm, not faster."
)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What a row measures, whatever its seed."""

    paradigm: str
    features: str
    probe_features: str
    readout: str
    attack: str
    norm: str
    epsilon: float
    protocol: str
    metric: str

    def __str__(self) -> str:
        return measurement_text(
            paradigm=self.paradigm,
            features=self.features,
            probe_features=self.probe_features,
            readout=self.readout,
            attack=self.attack,
            norm=self.norm,
            epsilon=self.epsilon,
            protocol=self.protocol,
        )


def quantity_of(row: MeasuredRow) -> Quantity:
    """Return what a row measures."""
    return Quantity(**{name: getattr(row, name) for name in Quantity.__dataclass_fields__})


Fingerprint = frozenset[tuple[Quantity, int, float, int]]
"""All numbers of a cell, with its seed."""

Sample = Mapping[Fingerprint, MeasuredRow]
"""The rows of a quantity, one for each training."""


def samples(runs: Sequence[NamedRun]) -> dict[Quantity, dict[Fingerprint, MeasuredRow]]:
    """Return the trainings behind each quantity.

    Cells whose numbers are all equal at the same seed are one training: of an address that several runs
    found finished, or of one that is new since a comment in the code was edited. They tell nothing of how
    much trainings differ.
    """
    found: dict[Quantity, dict[Fingerprint, MeasuredRow]] = {}
    for run in runs:
        cells: dict[str, list[MeasuredRow]] = {}
        for row in run.results.rows:
            cells.setdefault(row.cell, []).append(row)
        for rows in cells.values():
            fingerprint = frozenset((quantity_of(row), row.seed, row.value, row.n) for row in rows)
            for row in rows:
                found.setdefault(quantity_of(row), {})[fingerprint] = row
    return found


class Pair:
    """A quantity's trainings in earlier runs and those of this run that are not among them.

    Args:
        before: of all earlier runs that count.
        newest: of the newest of them alone.
        after: of this run.
    """

    def __init__(self, before: Sample, newest: Sample, after: Sample) -> None:
        fresh = [row for fingerprint, row in after.items() if fingerprint not in before]
        # Where no training is new, there is one and the same sample on both sides.
        self.before = list(before.values()) if fresh else list(after.values())
        self.after = fresh or list(after.values())
        numbers = {(row.seed, row.value, row.n) for row in newest.values()}
        self.equal = not fresh or all((row.seed, row.value, row.n) in numbers for row in fresh)
        addresses = {row.cell for row in before.values()}
        self.anew = bool(fresh) or any(row.cell not in addresses for row in after.values())

    @property
    def spread_is_known(self) -> bool:
        """Whether there are enough trainings for Student's t."""
        return len(self.before) + len(self.after) - 2 >= FREEDOM_FOR_T

    @property
    def allowance(self) -> float:
        """How much accuracy trainings may differ by, where they do not show it themselves."""
        if self.equal or self.spread_is_known:
            return 0.0
        return WIDELY * math.sqrt(1 / len(self.before) + 1 / len(self.after))

    def p_value(self) -> float:
        """Return the p-value of both of RULE's tests holding: the larger one (an intersection-union test)."""
        if self.equal:
            return 1.0
        images = p_of_test_images(_counts(self.before), _counts(self.after), allowance=self.allowance)
        if not self.spread_is_known:
            return images
        return max(images, p_of_trainings([row.value for row in self.before], [row.value for row in self.after]))

    def intervals(self) -> tuple[Interval, Interval]:
        """Return the mean over the trainings before, and now."""
        return _mean(self.before), _mean(self.after)


def _counts(rows: Sequence[MeasuredRow]) -> list[tuple[int, int]]:
    return [(round(row.value * row.n), row.n) for row in rows]


def _mean(rows: Sequence[MeasuredRow]) -> Interval:
    return over_seeds([Interval(row.value, row.low, row.high) for row in rows]).clipped()
