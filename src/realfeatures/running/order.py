"""The order in which the one-machine run computes its cells."""

import heapq
from collections.abc import Mapping, Sequence

from realfeatures.experiment.grid import Cell
from realfeatures.running.plan import Plan


class Schedule:
    """Which cells can run: those whose inputs are done, the head of the longest remaining chain first."""

    def __init__(self, plan: Plan, done: set[str]) -> None:
        self._cells = {cell.key: cell for cell in plan.grid}
        self.todo = [cell.key for cell in plan.grid if cell.key not in done]
        self.finished_count = len(done)
        self.total = len(plan.grid)
        self._children: dict[str, list[str]] = {cell.key: [] for cell in plan.grid}
        self._missing: dict[str, set[str]] = {}
        for cell in plan.grid:
            for parent in set(cell.inputs.values()):
                self._children[parent].append(cell.key)
            if cell.key not in done:
                self._missing[cell.key] = set(cell.inputs.values()) - done
        weights = {key: cost.weight for key, cost in plan.costs.items()}
        self._priority = critical_paths(plan.grid, weights)
        self._ready: list[tuple[float, str]] = []
        for key in self.todo:
            self._offer(key)

    def take(self) -> Cell | None:
        """Return the next cell to run, or None while there is none."""
        return self._cells[heapq.heappop(self._ready)[1]] if self._ready else None

    def finish(self, key: str) -> None:
        """Note that a cell is done, which may make others ready."""
        self.finished_count += 1
        for child in self._children[key]:
            if key in self._missing.get(child, ()):
                self._missing[child].remove(key)
                self._offer(child)

    @property
    def complete(self) -> bool:
        """Whether every cell is done."""
        return self.finished_count == self.total

    def _offer(self, key: str) -> None:
        if not self._missing[key]:
            heapq.heappush(self._ready, (-self._priority[key], key))


def critical_paths(grid: Sequence[Cell], weights: Mapping[str, float]) -> dict[str, float]:
    """Return for each cell the weight of the longest chain that starts with it.

    Args:
        grid: each cell after the cells that it reads from.
        weights: of each cell, by key.
    """
    behind: dict[str, float] = {}
    paths: dict[str, float] = {}
    for cell in reversed(grid):
        paths[cell.key] = weights[cell.key] + behind.get(cell.key, 0.0)
        for parent in cell.inputs.values():
            behind[parent] = max(behind.get(parent, 0.0), paths[cell.key])
    return paths
