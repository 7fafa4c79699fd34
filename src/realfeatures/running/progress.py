"""What a person sees of a run: bars on a terminal, a line a minute elsewhere."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from realfeatures.logs import Pace
from realfeatures.report.tables import duration

logger = logging.getLogger(__name__)

SHARE_BEFORE_ESTIMATE = 0.02
"""chosen: no time left is shown before this share of the work has shown its speed."""


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


class RunProgress(ABC):
    """Told what happens to the cells of a run, by key; knows how far it is.

    Args:
        forecast: of the time left.
        done: how many cells are done already.
        total: how many there are.
    """

    def __init__(self, forecast: Forecast, *, done: int, total: int) -> None:
        self.forecast, self.done, self.total = forecast, done, total
        self.running: dict[str, tuple[int, int] | None] = {}
        """Steps done and steps in all of each running cell; None before its first."""

    def started(self, key: str) -> None:
        """Note that a cell starts to run."""
        self.running[key] = None

    def advanced(self, key: str, done: int, total: int) -> None:
        """Note that a running cell has done some of its steps."""
        self.forecast.advance(key, done / max(1, total))
        self.running[key] = done, total
        self.show()

    def finished(self, key: str, seconds: float) -> None:
        """Note that a cell is done."""
        logger.debug("%s: done in %.1f s", key, seconds)
        self.forecast.advance(key, 1.0)
        self.running.pop(key)
        self.done += 1
        self.show()

    @abstractmethod
    def show(self) -> None:
        """Show how far the run is; called now and then, also when nothing happened."""


class TerminalProgress(RunProgress):
    """An overall bar and a line for each running cell."""

    def __init__(self, bars: Progress, forecast: Forecast, *, done: int, total: int) -> None:
        super().__init__(forecast, done=done, total=total)
        self.bars = bars
        self.overall = bars.add_task("cells", total=total, completed=done, left="")
        self.tasks: dict[str, TaskID] = {}

    def show(self) -> None:
        """Bring every bar up to date."""
        for key in self.tasks.keys() - self.running.keys():
            self.bars.remove_task(self.tasks.pop(key))
        for key, steps in self.running.items():
            if key not in self.tasks:
                self.tasks[key] = self.bars.add_task(f"  {key}", total=None, left="")
            if steps is not None:
                self.bars.update(self.tasks[key], completed=steps[0], total=steps[1])
        self.bars.update(self.overall, completed=self.done, left=_left(self.forecast))


class LineProgress(RunProgress):
    """A line a minute in the log."""

    def __init__(self, forecast: Forecast, *, done: int, total: int) -> None:
        super().__init__(forecast, done=done, total=total)
        self.pace = Pace()

    def show(self) -> None:
        """Log a line, where it is time for one."""
        if self.pace.is_due():
            running = ", ".join(
                key if steps is None else f"{key} ({steps[0]}/{steps[1]})" for key, steps in self.running.items()
            )
            logger.info("%d of %d cells done; %s%s", self.done, self.total, running, _left(self.forecast))


@contextmanager
def show_progress(*, todo: Sequence[str], done: int, weights: Mapping[str, float]) -> Iterator[RunProgress]:
    """Show a run's progress while the context lasts: bars on a terminal, lines in the log elsewhere.

    Args:
        todo: keys of the cells that are to be computed.
        done: how many cells are done already.
        weights: estimated work of every cell, by key.
    """
    forecast = Forecast({key: weights[key] for key in todo})
    total = done + len(todo)
    console = Console(stderr=True)
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
