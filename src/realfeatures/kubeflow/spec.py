"""A pipeline as Kubeflow takes it: its levels (itself and the pipelines nested in it) and their tasks."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Level(NamedTuple):
    """A pipeline, or one that is nested in it."""

    path: tuple[str, ...]
    """What a person reads on the tasks that it is nested in, outermost first; empty: the pipeline itself."""
    component: dict[str, Any]
    """With the level's own ports, and its tasks."""
    keys: tuple[str, ...] = ()
    """Of those tasks: the path by which Kubeflow's engine names what runs in the level."""

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """The level's tasks by their keys; one of them may be a pipeline itself."""
        return self.component["dag"]["tasks"]  # type: ignore[no-any-return]


def levels(spec: Mapping[str, Any]) -> list[Level]:
    """Return the levels of a pipeline, each before those that are nested in it."""

    def visit(level: Level) -> Iterator[Level]:
        yield level
        for key, task in level.tasks.items():
            component = spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                yield from visit(Level((*level.path, task["taskInfo"]["name"]), component, (*level.keys, key)))

    return list(visit(Level((), spec["root"])))


def tasks(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every task of a pipeline and of those nested in it, nested pipelines' own tasks included."""
    return [task for level in levels(spec) for task in level.tasks.values()]
