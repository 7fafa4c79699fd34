"""What a person sees of a run: bars on a terminal, a line a minute elsewhere."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from realfeatures.report.tables import duration

logger = logging.getLogger(__name__)

LINE_SECONDS = 60.0
"""Time between two lines where there is no terminal."""
SHARE_BEFORE_ESTIMATE = 0.02
"""chosen: no time left is shown before this share of the work has shown its speed."""


class RunProgress(Protocol):
    """Told what happens to the cells of a run, by key."""

    def started(self, key: str) -> None:
        """A cell starts to run."""

    def advanced(self, key: str, done: int, total: int) -> None:
        """A running cell has done some of its steps."""

    def finished(self, key: str, seconds: float) -> None:
        """A cell is done."""

    def tick(self) -> None:
        """Some time went by."""


class Forecast:
    """How much work is done and how long the rest will take.

    Args:
        weights: the estimated work of each cell that this run computes; only ratios matter.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights
        self.total = sum(weights.values()) or 1.0
        self.started_at = time.monotonic()
        self.shares: dict[str, float] = {}

    def advance(self, key: str, share: float) -> None:
        """Note which share of a cell is done."""
        self.shares[key] = share

    @property
    def share(self) -> float:
        """The share of the whole work that is done."""
        return sum(self.weights[key] * share for key, share in self.shares.items()) / self.total

    def seconds_left(self) -> float | None:
        """Return the time left at the speed so far, or None while that is not known."""
        share = self.share
        if share < SHARE_BEFORE_ESTIMATE:
            return None
        return (time.monotonic() - self.started_at) * (1 - share) / share


class TerminalProgress:
    """An overall bar and a line for each running cell."""

    def __init__(self, bars: Progress, forecast: Forecast, *, done: int, total: int) -> None:
        self.bars, self.forecast = bars, forecast
        self.tasks: dict[str, TaskID] = {}
        self.overall = bars.add_task("cells", total=total, completed=done, left="")

    def started(self, key: str) -> None:
        """A cell starts to run."""
        self.tasks[key] = self.bars.add_task(f"  {key}", total=None, left="")

    def advanced(self, key: str, done: int, total: int) -> None:
        """A running cell has done some of its steps."""
        self.forecast.advance(key, done / max(1, total))
        self.bars.update(self.tasks[key], completed=done, total=total)
        self.tick()

    def finished(self, key: str, seconds: float) -> None:
        """A cell is done."""
        logger.debug("%s: done in %.1f s", key, seconds)
        self.forecast.advance(key, 1.0)
        self.bars.remove_task(self.tasks.pop(key))
        self.bars.advance(self.overall)
        self.tick()

    def tick(self) -> None:
        """Some time went by."""
        self.bars.update(self.overall, left=_left(self.forecast))


class LineProgress:
    """A line a minute in the log."""

    def __init__(self, forecast: Forecast, *, done: int, total: int) -> None:
        self.forecast, self.done, self.total = forecast, done, total
        self.running: dict[str, str] = {}
        self.told_at = time.monotonic()

    def started(self, key: str) -> None:
        """A cell starts to run."""
        self.running[key] = key

    def advanced(self, key: str, done: int, total: int) -> None:
        """A running cell has done some of its steps."""
        self.forecast.advance(key, done / max(1, total))
        self.running[key] = f"{key} ({done}/{total})"
        self.tick()

    def finished(self, key: str, seconds: float) -> None:
        """A cell is done."""
        logger.debug("%s: done in %.1f s", key, seconds)
        self.forecast.advance(key, 1.0)
        self.running.pop(key)
        self.done += 1
        self.tick()

    def tick(self) -> None:
        """Some time went by."""
        if time.monotonic() - self.told_at >= LINE_SECONDS:
            self.told_at = time.monotonic()
            running = ", ".join(self.running.values())
            logger.info("%d of %d cells done; %s%s", self.done, self.total, running, _left(self.forecast))


@contextmanager
def show_progress(
    console: Console, *, todo: Sequence[str], done: int, weights: Mapping[str, float]
) -> Iterator[RunProgress]:
    """Show a run's progress while the context lasts.

    Args:
        console: bars where it is a terminal, lines in the log elsewhere.
        todo: keys of the cells that are to be computed.
        done: how many cells are done already.
        weights: estimated work of every cell, by key.
    """
    forecast = Forecast({key: weights[key] for key in todo})
    total = done + len(todo)
    if not console.is_terminal:
        yield LineProgress(forecast, done=done, total=total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield TerminalProgress(bars, forecast, done=done, total=total)


def _left(forecast: Forecast) -> str:
    seconds = forecast.seconds_left()
    return "" if seconds is None else f"  about {duration(seconds)} left"
