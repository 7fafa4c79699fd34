"""A shipped preset as a compiled pipeline, and what its tasks compute; for the tests that look at it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from small_pipeline import IMAGE
from spec_walk import Use, walk

from realfeatures.experiment.codec import decode
from realfeatures.experiment.grid import Cell
from realfeatures.experiment.presets import load_preset
from realfeatures.kubeflow.batches import CONFIGURE, REPORT, RESULTS, Granularity, choose
from realfeatures.kubeflow.spec import levels
from realfeatures.kubeflow.tasks.texts import texts_of
from realfeatures.pipelines.fitting import Fitted
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import load_profile
from realfeatures.pipelines.workflow_size import MAX_WORKFLOW_BYTES
from realfeatures.running.plan import Plan, make_plan

STORE = ("store.location=s3://experiments/paper", "store.endpoint=http://store.example:9000")
ANY_SIZE = 2**30

CHOSEN = {1: Granularity.STAGE, 3: Granularity.ENCODER}
"""What `auto` takes for a whole preset, by the number of repetitions."""


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline, and what its tasks compute in a run of the form's defaults."""

    plan: Plan
    path: Path
    fitted: Fitted

    @property
    def spec(self) -> dict:
        return self.fitted.specification[0]

    @property
    def pods(self) -> dict:
        return self.fitted.specification[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    @property
    def root(self) -> dict:
        return self.spec["root"]["dag"]["tasks"]

    @property
    def changes(self) -> str:
        """The values in which it was compiled to differ from its preset, as its first task is told."""
        return self.root[CONFIGURE]["inputs"]["parameters"]["changes"]["runtimeValue"]["constant"]

    @cached_property
    def texts(self) -> dict[str, str]:
        return texts_of(self.plan, self.fitted.granularity)

    @cached_property
    def uses(self) -> list[Use]:
        return walk(self.spec, self.texts)[0]

    @cached_property
    def cells(self) -> dict[tuple[str, ...], tuple[Cell, ...]]:
        """The cells that a task's text names, by the task's path."""
        texts = {use.path: use.parameters["cells"] for use in self.uses if use.path != (CONFIGURE,)}
        return {path: decode(text, choose).cells for path, text in texts.items()}

    @cached_property
    def work(self) -> dict[tuple[str, ...], tuple[Cell, ...]]:
        """The cells that a task computes."""
        return {path: found for path, found in self.cells.items() if path[-1] not in (RESULTS, REPORT)}

    def task(self, use: Use) -> dict:
        """Return a task as it is written."""
        (level,) = (level for level in levels(self.spec) if level.keys == use.path[:-1])
        return level.tasks[use.path[-1]]

    def label(self, use: Use) -> str:
        """Return the label of a task's executor."""
        return self.spec["components"][use.component]["executorLabel"]


Compile = Callable[..., Compiled]


def compiler(folder: Path) -> Compile:
    """Return what compiles a preset into a folder, once; None as the granularity: it is chosen for a stock Kubeflow."""

    @cache
    def compiled(
        name: str, granularity: Granularity | None, repetitions: int, *changes: str, use_cache: bool = True
    ) -> Compiled:
        plan = make_plan(load_preset(name, changes), seeds=range(repetitions))
        profile = load_profile("gpu" if plan.preset.runtime.device == "cuda" else "cpu", STORE)
        path = folder / f"{name}-{granularity}-{repetitions}-{','.join(changes)}-{use_cache}.yaml"
        limit = ANY_SIZE if granularity else MAX_WORKFLOW_BYTES
        options = {"granularity": granularity, "limit": limit, "cache": use_cache}
        return Compiled(plan, path, compile_pipeline(plan, image=IMAGE, profile=profile, path=path, **options))

    return compiled
