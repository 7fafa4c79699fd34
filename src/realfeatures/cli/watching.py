"""Showing a run on Kubeflow while it goes on: a live table on a terminal, one line a change elsewhere."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
from realfeatures.kubeflow.server.run_state import RunState, watch
from realfeatures.kubeflow.server.task_states import FINISHED, State, TaskState
from realfeatures.logs import Pace
from realfeatures.report.tables import duration

logger = logging.getLogger(__name__)

ROWS = 20
"""Of the table: the tasks that failed, run or start, as many as fit on a small screen."""
COLOURS = {State.FAILED: "red", State.RUNNING: "yellow", State.STARTING: "cyan"}
"""Of the states that have rows, in their order."""
TOLD = (State.RUNNING, State.SUCCEEDED, State.CACHED, State.FAILED)
"""States whose begin is a line of its own where there is no terminal."""


def follow(
    kubeflow: Kubeflow, run_id: str, *, console: Console | None = None, pause: Callable[[float], None] = time.sleep
) -> RunState:
    """Show a run until it is finished; return its last state.

    Raises:
        ClusterError: the server refuses, or does not answer for longer than a request is tried.
    """
    screen = console or Console(stderr=True)
    states = watch(kubeflow, run_id, pause=pause)
    return _draw(states, screen) if screen.is_terminal else _tell(states)


def _draw(states: Iterable[RunState], screen: Console) -> RunState:
    with Live(console=screen, refresh_per_second=2) as live:
        for state in states:
            live.update(table_of(state))
    return state


def _tell(states: Iterable[RunState]) -> RunState:
    known: dict[tuple[str, ...], tuple[State, int]] = {}
    unread, pace = "", Pace()
    for state in states:
        for task in (*state.steps, *(task for task in state.failures if task.nested)):
            now = task.state, task.tries
            if task.state in TOLD and known.get(task.path) != now:
                logger.info("%s", line_of(task))
            known[task.path] = now
        if state.unread not in ("", unread):
            logger.info("%s", state.unread)
        unread = state.unread
        if not state.finished and pace.is_due():
            logger.info("%s", summary_of(state))
    logger.info("run %s", summary_of(state))
    return state


def table_of(state: RunState) -> Table:
    """Return a run as a table: how far it is, and a row for each task that failed, runs or starts, as far as told."""
    title = f"{summary_of(state)}\n{state.unread}" if state.unread else summary_of(state)
    table = Table(title=escape(title), title_justify="left", box=None, show_header=False, expand=True)
    own = {task.path for task in state.failures}
    shown = [task for task in state.tasks if task.path in own or not task.nested]
    for task in [task for wanted in COLOURS for task in shown if task.state is wanted][:ROWS]:
        table.add_row(f"[{COLOURS[task.state]}]{task.state}[/]", escape(_name(task)), escape(task.message))
    return table


def summary_of(state: RunState) -> str:
    """Return how far a run is, in one line: tasks finished of all, those in other states, time so far and left."""
    words = [f"{state.name}: {state.state.lower()}"]
    if not state.unread:
        words.append(_counts(state))
    left = state.seconds_left()
    elapsed = duration(state.elapsed_seconds)
    words.append(f"{elapsed} so far, about {duration(left)} left" if left is not None else elapsed)
    return "; ".join(words)


def line_of(task: TaskState) -> str:
    """Return a task's state in one line, with the reason where it failed."""
    reason = f": {task.message}" if task.state is State.FAILED and task.message else ""
    return f"{_name(task)}: {task.state}{reason}"


def _counts(state: RunState) -> str:
    counts = Counter(task.state for task in state.steps)
    finished = sum(counts[kind] for kind in FINISHED)
    total = f" of {state.total}" if state.total else ""
    cached = f" ({counts[State.CACHED]} {State.CACHED})" if counts[State.CACHED] else ""
    others = [f"{counts[kind]} {kind}" for kind in State if kind not in FINISHED and counts[kind]]
    return ", ".join([f"{finished}{total} tasks finished{cached}", *others])


def _name(task: TaskState) -> str:
    return f"{task.name} (try {task.tries})" if task.tries > 1 else task.name
