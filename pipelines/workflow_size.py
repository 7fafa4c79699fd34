"""How large a compiled pipeline becomes on a cluster, and how large it may be.

Kubeflow turns a pipeline into one Argo Workflow, which is one Kubernetes object: what is to be done, and the state of
what was done. Both are written out here as Kubeflow and Argo write them (workflow.py, drivers.py, node_status.py), and
counted.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from realfeatures.errors import ConfigError
from realfeatures.pipelines.drivers import Step, drive, parameter_defaults
from realfeatures.pipelines.go_json import go_json, utf8_bytes, whole_numbers
from realfeatures.pipelines.node_status import SUFFIX, compressed_bytes, node_status
from realfeatures.pipelines.workflow import (
    KUBEFLOW_2_17,
    Installation,
    Workflow,
    compile_workflow,
    runtime_config,
    scheduled_bytes,
    spec_bytes,
)

MAX_WORKFLOW_BYTES = 2**20
"""Argo's MAX_WORKFLOW_SIZE, 1 MiB unless an administrator raised it: of the Workflow with its compressed state."""

MAX_SCHEDULED_BYTES = 3 * 2**19
"""etcd's --max-request-bytes, 1.5 MiB unless an administrator raised it."""

MAX_ARGUMENT_BYTES = 2**17 - 1
"""Linux' MAX_ARG_STRLEN, 128 KiB, without the zero byte that ends an argument."""


@dataclass(frozen=True)
class WorkflowSize:
    """How large a pipeline becomes on a cluster, in bytes."""

    spec: int
    """Of the Workflow's spec; to 1 %."""
    state: int
    """Of its `status.compressedNodes` at the end of a run; to 2 % for a Workflow of this name. By the name, which
    Kubernetes draws, a run of 20 tasks is up to 6 % larger or smaller than the mean, one of 160 tasks 1 %."""
    scheduled: int
    """Of a ScheduledWorkflow that pins the pipeline."""
    longest_argument: int
    """Of the longest argument of a process: a driver's or a launcher's."""

    @property
    def whole(self) -> int:
        """Return what counts against Argo's limit; the object's metadata, about 2 KB, come on top."""
        return self.spec + self.state


def workflow_size(
    spec: Mapping[str, Any],
    pods: Mapping[str, Any],
    *,
    outputs: Mapping[str, str],
    values: Mapping[str, Any] | None = None,
    installation: Installation = KUBEFLOW_2_17,
    cached: Collection[str] = (),
    suffix: str = SUFFIX,
) -> WorkflowSize:
    """Return how large a compiled pipeline becomes.

    Args:
        spec: the pipeline, as kfp's compiler writes it.
        pods: what the pods of each executor have beside their container, by the executor's label.
        outputs: what tasks write at run time, by task and output: the text of a parameter, and of an artifact the JSON
            object of its metadata. `configure/cells` is the output of every task with this key; pipelines around the
            task tell such tasks apart, as in `repetition-2/probe/results`, and `results` alone is the output of any
            task. An output that no name stands for is taken to be empty, and so are the texts selected from it.
        values: of the pipeline's own parameters, where a run has other ones than the defaults.
        installation: the kind of cluster.
        cached: tasks whose outputs come from Kubeflow's cache, with the pipelines around them, such as `encoder/probe`;
            by default every task runs, which makes the state largest.
        suffix: the end of the Workflow's name; see `node_status`.

    Raises:
        ConfigError: a parameter is selected from a text which has no such key, or in a way that is not emulated.
    """
    spec = whole_numbers(spec)
    given = {**parameter_defaults(spec["root"]), **(values or {})}
    workflow = compile_workflow(spec, pods, values=given)
    root = drive(workflow, values=given, outputs=outputs, cached=cached)
    nodes = node_status(workflow, root, values=given, installation=installation, suffix=suffix)
    return WorkflowSize(
        spec=spec_bytes(workflow, installation),
        state=compressed_bytes(nodes),
        scheduled=scheduled_bytes(workflow),
        longest_argument=_longest_argument(workflow, root, runtime_config(given)),
    )


def require_size(size: WorkflowSize, *, limit: int = MAX_WORKFLOW_BYTES, scheduled: bool = False) -> None:
    """Refuse a pipeline that a cluster cannot hold.

    Args:
        size: the pipeline's.
        limit: bytes that the cluster's Argo takes.
        scheduled: the pipeline is to run at set times, as a pinned version.

    Raises:
        ConfigError: it is too large.
    """
    part = "compile a part of it, such as --experiments E1,E2, or fewer --repetitions"
    if size.whole > limit:
        raise ConfigError(
            f"the pipeline is {_kib(size.spec)} as an Argo workflow and the state of its run {_kib(size.state)}, and"
            f" the cluster holds {_kib(limit)} in all; {part}"
        )
    if scheduled and size.scheduled > MAX_SCHEDULED_BYTES:
        raise ConfigError(
            f"the pipeline is {_kib(size.scheduled)} as a recurring run, and a cluster holds"
            f" {_kib(MAX_SCHEDULED_BYTES)}; {part}"
        )
    if size.longest_argument > MAX_ARGUMENT_BYTES:
        raise ConfigError(
            f"a task of the pipeline is given an argument of {_kib(size.longest_argument)}, and Linux takes"
            f" {_kib(MAX_ARGUMENT_BYTES + 1)}; {part}"
        )


def _longest_argument(workflow: Workflow, root: Step, config: str) -> int:
    """Return the bytes of the longest argument: drivers are given the Workflow's texts, launchers a task's inputs."""
    words = {config, *workflow.arguments.values()}
    for step in root.all():
        words.update(step.words)
        words.add(go_json(step.task))
    return max(map(utf8_bytes, words))


def _kib(size: int) -> str:
    return f"{-(-size // 1024)} KiB"
