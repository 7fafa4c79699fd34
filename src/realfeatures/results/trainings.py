"""A measurement in earlier runs and in this one as two samples of trainings, and whether they differ."""

import math
from collections.abc import Mapping, Sequence

from realfeatures.experiment.claims import WIDELY
from realfeatures.experiment.measurement import Measurement
from realfeatures.results.earlier import NamedRun
from realfeatures.results.rows import Row
from realfeatures.results.statistics.intervals import SEEDS_FOR_T, Interval, over_seeds
from realfeatures.results.statistics.significance import FREEDOM_FOR_T, SIGNIFICANCE, p_of_test_images, p_of_trainings

RULE = (
    f"A number has left its interval where, at {100 * SIGNIFICANCE:.0f} % for all numbers together (Holm), Newcombe's"
    " interval of the difference of two Wilson intervals excludes zero and Student's two-sample t test tells the"
    f" trainings apart. Fewer than {SEEDS_FOR_T} trainings on each side ({FREEDOM_FOR_T} degrees of freedom) cannot"
    " show how much trainings differ; Newcombe's interval must then lie beyond"
    f" {100 * WIDELY:.0f} points times √(1/before + 1/now), which is {100 * WIDELY * math.sqrt(2):.0f} points for one"
    " training each. Both sides are taken for independent; most often their test images are the same, which makes the"
    " rule slower to raise an alarm, not faster."
)


Fingerprint = frozenset[tuple[Measurement, int, float, int]]
"""All numbers of a cell, with its seed."""

Trainings = Mapping[Fingerprint, Row]
"""The rows of a measurement, one for each training."""


def trainings_of(runs: Sequence[NamedRun]) -> dict[Measurement, dict[Fingerprint, Row]]:
    """Return the trainings behind each measurement.

    Cells whose numbers are all equal at the same seed are one training: of an address that several runs
    found finished, or of one that is new since a comment in the code was edited. They tell nothing of how
    much trainings differ.
    """
    trainings: dict[Measurement, dict[Fingerprint, Row]] = {}
    for run in runs:
        cells: dict[str, list[Row]] = {}
        for row in run.results.rows:
            cells.setdefault(row.cell, []).append(row)
        for rows in cells.values():
            fingerprint = frozenset((row.measurement, *_number(row)) for row in rows)
            for row in rows:
                trainings.setdefault(row.measurement, {})[fingerprint] = row
    return trainings


class Pair:
    """A measurement's trainings in earlier runs and those of this run that are not among them.

    Args:
        before: of all earlier runs that count.
        newest: of the newest of them alone.
        after: of this run.
    """

    def __init__(self, before: Trainings, newest: Trainings, after: Trainings) -> None:
        fresh = [row for fingerprint, row in after.items() if fingerprint not in before]
        # Where no training is new, there is one and the same sample on both sides.
        self.before = list(before.values()) if fresh else list(after.values())
        self.after = fresh or list(after.values())
        numbers = set(map(_number, newest.values()))
        self.equal = not fresh or all(_number(row) in numbers for row in fresh)
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
        before, after = ([row.counts for row in side] for side in (self.before, self.after))
        images = p_of_test_images(before, after, allowance=self.allowance)
        if not self.spread_is_known:
            return images
        values = ([row.value for row in side] for side in (self.before, self.after))
        return max(images, p_of_trainings(*values))

    def intervals(self) -> tuple[Interval, Interval]:
        """Return the mean over the trainings before, and now."""
        return _mean(self.before), _mean(self.after)


def _number(row: Row) -> tuple[int, float, int]:
    return row.seed, row.value, row.n


def _mean(rows: Sequence[Row]) -> Interval:
    return over_seeds([row.interval for row in rows]).clipped()
