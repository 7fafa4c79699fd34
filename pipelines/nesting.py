"""Building one level of a pipeline from cells, and pipelines nested in it.

kfp reads a pipeline's ports from a function's signature. Here they follow from the cells: a nested pipeline
takes what its cells read from outside, and returns what others read from it, and its records.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple, get_args

from kfp import dsl

from realfeatures import components
from realfeatures.components.collect import collect
from realfeatures.experiment.grid import Cell
from realfeatures.kubeflow.spec import port_name
from realfeatures.kubeflow.tasks.cells import ADDRESSES, CODE
from realfeatures.pipelines.naming import slug
from realfeatures.pipelines.profiles import Profile

COMPONENTS: dict[str, Any] = {
    module.name: getattr(import_module(f"{components.__name__}.{module.name}"), module.name)
    for module in iter_modules(components.__path__)
    if module.name not in components.STAGELESS
}
"""The component of every stage, by the stage's name."""

MAX_PARTS = 18
"""The ports that `collect` and `report` have for nested pipelines."""

RECORDS = "records"
"""The port at which a nested pipeline returns its gathered records."""

CELLS = "cells"
"""The port at which a nested pipeline takes the texts of all cells, as one JSON object."""

_STAGE_ARTIFACTS = {f"{kind.schema_title}@{kind.schema_version}" for kind in (dsl.Dataset, dsl.Model, dsl.Artifact)}


@dataclass(frozen=True)
class Task:
    """A step of a pipeline that runs one cell."""

    name: str
    """What a person reads on it."""
    cell: Cell


@dataclass(frozen=True)
class Nested:
    """A step of a pipeline that is a pipeline itself."""

    name: str
    """What a person reads on it."""
    pipeline: Any
    needed: Sequence[str]
    """Keys of the cells that it reads from outside."""
    returned: Sequence[str]
    """Keys of its cells that are read outside."""


Step = Task | Nested


@dataclass(kw_only=True)
class Level:
    """One level of a pipeline while kfp traces it."""

    image: str
    profile: Profile
    text: Callable[[str], Any]
    """Returns what brings a cell's text to its task, by the cell's key, and the version to `collect`."""
    artifacts: dict[str, Any] = field(default_factory=dict)
    """The output of every cell that this level sees, by the cell's key."""
    records: list[Any] = field(default_factory=list)
    """The record of every task of this level."""
    parts: list[Any] = field(default_factory=list)
    """The gathered records of every nested pipeline."""

    def add(self, step: Step, *, cells: Any) -> None:
        """Add a step whose inputs are there already; `cells` is the channel of all texts, for nested pipelines."""
        if isinstance(step, Task):
            self._add_task(step)
        else:
            self._add_nested(step, cells)

    def collect(self) -> Any:
        """Add the task that gathers this level's records; return the artifact that holds them."""
        # The records change with the code alone; what nested pipelines hand up, the cache cannot see.
        version = self.text(ADDRESSES if self.parts else CODE)
        task = collect(version=version, records=self.records, **self.numbered_parts())
        self.place(task, "collect records")
        return task.outputs["collected"]

    def place(self, task: Any, name: str) -> None:
        """Give a task its image, its resources and its name."""
        task.set_container_image(self.image).set_display_name(name)
        self.profile.apply(task)

    def numbered_parts(self) -> dict[str, Any]:
        """Return the nested pipelines' records by the ports of `collect` and `report`."""
        return {f"part_{number}": part for number, part in enumerate(self.parts, start=1)}

    def _add_task(self, step: Task) -> None:
        component = COMPONENTS[step.cell.stage]
        inputs = {port: self.artifacts[key] for port, key in step.cell.inputs.items()}
        task = component(cell=self.text(step.cell.key), **inputs)
        self.place(task, step.name)
        self.artifacts[step.cell.key] = task.outputs[output_port(component)]
        self.records.append(task.outputs["record"])

    def _add_nested(self, step: Nested, cells: Any) -> None:
        inputs = {port_name(key): self.artifacts[key] for key in step.needed}
        task = step.pipeline(**{CELLS: cells}, **inputs).set_display_name(step.name)
        self.artifacts.update({key: task.outputs[port_name(key)] for key in step.returned})
        self.parts.append(task.outputs[RECORDS])


def nest(
    name: str, steps: Sequence[Step], *, cells: Mapping[str, Cell], wanted: Collection[str], level: Callable[[], Level]
) -> Nested:
    """Return steps as a nested pipeline; kfp wants it made before the pipeline that it stands in.

    Args:
        name: what a person reads on it.
        steps: each after those that it reads from.
        cells: every cell of the experiment, by key.
        wanted: keys of the cells that others read.
        level: makes an empty level.
    """
    made = [key for step in steps for key in _made(step)]
    needed = sorted({key for step in steps for key in _needed(step)} - set(made))
    returned = [key for key in made if key in wanted]

    def nested(texts: Any, *channels: Any) -> dict[str, Any]:
        inner = level()
        inner.artifacts.update(zip(needed, channels, strict=True))
        for step in steps:
            inner.add(step, cells=texts)
        outputs = {port_name(key): inner.artifacts[key] for key in returned}
        return {**outputs, RECORDS: inner.collect()}

    classes = {key: artifact_class(COMPONENTS[cells[key].stage]) for key in [*needed, *returned]}
    nested.__signature__ = _signature(needed, returned, classes)  # type: ignore[attr-defined]
    pipeline = dsl.pipeline(name=slug(name))(nested)
    return Nested(name, pipeline, needed, returned)


def in_order(steps: Sequence[Step]) -> list[Step]:
    """Return steps with each after those that it reads from; what none of them makes is there already."""
    waiting = list(steps)
    ordered: list[Step] = []
    while waiting:
        unmade = {key for step in waiting for key in _made(step)}
        # A nested pipeline may read its own cells.
        ready = next(step for step in waiting if not unmade.intersection(_needed(step)).difference(_made(step)))
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def output_port(component: Any) -> str:
    """Return the name of the port at which a stage's component returns its artifact."""
    outputs = component.component_spec.outputs
    return str(next(name for name, spec in outputs.items() if spec.type in _STAGE_ARTIFACTS))


def artifact_class(component: Any) -> Any:
    """Return kfp's class of the artifact that a stage's component returns."""
    return get_args(component.python_func.__annotations__[output_port(component)])[0]


def _signature(needed: Sequence[str], returned: Sequence[str], classes: Mapping[str, Any]) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    artifacts = {port_name(key): dsl.Input[classes[key]] for key in needed}
    parameters = [
        inspect.Parameter(name, kind, annotation=annotation) for name, annotation in {CELLS: str, **artifacts}.items()
    ]
    outputs = [*((port_name(key), classes[key]) for key in returned), (RECORDS, dsl.Artifact)]
    return inspect.Signature(parameters, return_annotation=NamedTuple("Outputs", outputs))


def _made(step: Step) -> Sequence[str]:
    return [step.cell.key] if isinstance(step, Task) else step.returned


def _needed(step: Step) -> Sequence[str]:
    return list(step.cell.inputs.values()) if isinstance(step, Task) else step.needed
