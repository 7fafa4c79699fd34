"""Which granularity a pipeline is compiled at: the finest whose Workflow stays under the cluster's limit."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from realfeatures.components import COMPONENTS
from realfeatures.errors import ConfigError
from realfeatures.kubeflow.batches import Granularity
from realfeatures.kubeflow.spec import tasks
from realfeatures.kubeflow.tasks.texts import texts_of
from realfeatures.pipelines.workflow import KUBEFLOW_2_17, Installation
from realfeatures.pipelines.workflow_size import MAX_WORKFLOW_BYTES, WorkflowSize, require_size, workflow_size
from realfeatures.running.plan import Plan

HEADROOM = 0.9
"""Of the limit, what `auto` fills: the state is known to 10 % (workflow_size.py)."""

SHOWN_METADATA = json.dumps({"address": "0" * 12, "kind": "encoder"})
"""What every artifact of a stage has as its metadata (kubeflow/tasks/stage.py)."""

Specification = tuple[dict[str, Any], dict[str, Any]]
"""A pipeline's specification, and that of its pods."""


@dataclass(frozen=True)
class Fitted:
    """A pipeline that a cluster can hold."""

    specification: Specification
    granularity: Granularity
    size: WorkflowSize
    limit: int
    """Bytes."""
    refused: dict[Granularity, WorkflowSize]
    """The finer ones that are too large."""

    @property
    def tasks(self) -> int:
        """How many tasks it has, nested pipelines not counted."""
        spec = self.specification[0]
        return sum("dag" not in spec["components"][task["componentRef"]["name"]] for task in tasks(spec))

    def __str__(self) -> str:
        sizes = f"{_kib(self.size.spec)} of spec and {_kib(self.size.state)} of state, of {_kib(self.limit)}"
        finer = ", ".join(f"{name} needs {_kib(size.whole)}" for name, size in self.refused.items())
        why = f" ({finer}, and at most {HEADROOM:.0%} is filled)" if finer else ""
        return f"{self.tasks} tasks, each one {self.granularity}{why}: {sizes}"


def fit(
    build: Callable[[Granularity], Specification],
    plan: Plan,
    *,
    granularity: Granularity | None,
    limit: int = MAX_WORKFLOW_BYTES,
    installation: Installation = KUBEFLOW_2_17,
    scheduled: bool = False,
) -> Fitted:
    """Return a pipeline at a granularity, or at the finest that fills at most HEADROOM of the limit.

    Args:
        build: makes the pipeline.
        plan: of the first run that it is for.
        granularity: None: choose it.
        limit: bytes that the cluster's Argo takes for a Workflow.
        installation: the kind of cluster; by default the one whose state is largest.
        scheduled: it is to be the version of a recurring run.

    Raises:
        ConfigError: it is too large for the cluster.
    """
    refused: dict[Granularity, WorkflowSize] = {}
    for one in Granularity if granularity is None else (granularity,):
        made = build(one)
        size = size_of(made, plan, one, installation)
        # What a person asks for may fill the limit; what is chosen leaves room for the error of the estimate.
        if size.whole <= limit * (HEADROOM if granularity is None else 1):
            require_size(size, limit=limit, scheduled=scheduled)
            return Fitted(made, one, size, limit, refused)
        refused[one] = size
    if granularity is None and size.whole <= limit:
        part = f"more than the {HEADROOM:.0%} of {_kib(limit)} that auto fills; use --granularity {one}"
        raise ConfigError(f"a task for each {one} needs {_kib(size.whole)} of spec and state, {part}")
    raise ConfigError(_too_large(build, plan, one, size, limit))


def size_of(
    made: Specification, plan: Plan, granularity: Granularity, installation: Installation = KUBEFLOW_2_17
) -> WorkflowSize:
    """Return how large a pipeline becomes on a cluster, in a run in which every task runs."""
    spec, platform = made
    texts = {f"configure/{name}": text for name, text in texts_of(plan, granularity).items()}
    ports = {port for one in COMPONENTS.values() for port in one.outputs}
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    outputs = {**dict.fromkeys(ports, SHOWN_METADATA), **texts}
    return workflow_size(spec, pods, outputs=outputs, installation=installation)


def _too_large(
    build: Callable[[Granularity], Specification], plan: Plan, granularity: Granularity, size: WorkflowSize, limit: int
) -> str:
    coarser = list(Granularity)[list(Granularity).index(granularity) + 1 :]
    fits = next((one for one in coarser if size_of(build(one), plan, one).whole <= HEADROOM * limit), None)
    part = "compile a part of it, such as --experiments E1,E2, or fewer --repetitions"
    use = f"use --granularity {fits}" if fits else part
    return (
        f"a task for each {granularity} needs {_kib(size.spec)} of spec and {_kib(size.state)} of state, and the"
        f" workflow holds {_kib(limit)}; {use}, or --workflow-limit where the cluster allows more"
    )


def _kib(size: int) -> str:
    return f"{-(-size // 1024)} KiB"
