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
from realfeatures.kubeflow.server.run_state import RunState, TaskState, watch

logger = logging.getLogger(__name__)

ROWS = 20
"""Of the table: the tasks that run or failed, as many as fit on a small screen."""
COLOURS = {"RUNNING": "yellow", "SUCCEEDED": "green", "FAILED": "red"}


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
    known: dict[str, str] = {}
    for state in states:
        for task in state.steps:
            if known.get(task.name) != task.state:
                known[task.name] = task.state
                logger.info("%s: %s", task.name, task.state.lower())
    logger.info("run %s: %s", state.name, state.state.lower())
    return state


def table_of(state: RunState) -> Table:
    """Return a run as a table: how many tasks are in each state, and those that run or failed."""
    counts = Counter(task.state for task in state.steps)
    if state.total > len(state.steps):
        counts["waiting"] = state.total - len(state.steps)
    summary = ", ".join(f"{count} {kind.lower()}" for kind, count in sorted(counts.items()))
    title = f"{state.name}: {state.state.lower()}; {summary or 'no task yet'}"
    table = Table(title=escape(title), title_justify="left", box=None, show_header=False, expand=True)
    for task in _interesting(state.steps)[:ROWS]:
        colour = COLOURS.get(task.state, "white")
        table.add_row(f"[{colour}]{task.state.lower()}[/]", escape(task.name), escape(task.error))
    return table


def _interesting(tasks: Iterable[TaskState]) -> list[TaskState]:
    """Return those that failed, then those that run."""
    return [task for kind in ("FAILED", "RUNNING") for task in tasks if task.state == kind]
