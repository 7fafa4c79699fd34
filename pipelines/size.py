"""How large a compiled pipeline becomes on a cluster, and how large it may be.

Kubeflow turns a pipeline into one Argo workflow, which is one Kubernetes object: what is to be done, and
the state of what was done. The estimate follows kubeflow/pipelines, backend/src/v2/compiler/argocompiler.
"""

import json
from collections.abc import Mapping
from typing import Any

from realfeatures.errors import ConfigError
from realfeatures.kubeflow.spec import levels, tasks

MAX_WORKFLOW_BYTES = 2**20
"""Argo's default limit (MAX_WORKFLOW_SIZE) for the object with its compressed state; etcd's own is 1.5 MiB.
kubeflow/pipelines #13738 met it with 56 tasks."""

TEMPLATE_BYTES = 900
"""Argo's two entries for a task, its driver and its executor, besides the task's own specification; counted
in argocompiler/testdata/nested_pipeline_all_level_retry.yaml."""

STATE_BYTES = 3 * 1024
"""Compressed state of a task's three nodes: about 21 KiB of mostly repeated text, 2.4 KiB after gzip and
base64 when the nodes of the digits pipeline were written out; rounded up."""


def require_size(spec: Mapping[str, Any], pods: Mapping[str, Any]) -> None:
    """Refuse a pipeline that no cluster with default settings can hold.

    Args:
        spec: the pipeline.
        pods: what the pods of each executor have beside their container.

    Raises:
        ConfigError: the estimate is above Argo's limit.
    """
    size = workflow_bytes(spec, pods)
    if size > MAX_WORKFLOW_BYTES:
        raise ConfigError(
            f"the pipeline has {len(tasks(spec))} tasks, about {size // 1024} KiB as an Argo workflow, which holds"
            f" {MAX_WORKFLOW_BYTES // 1024} KiB; compile a part of it, such as --experiments E1,E2, or fewer"
            " --repetitions, --set paradigms= or features="
        )


def workflow_bytes(spec: Mapping[str, Any], pods: Mapping[str, Any]) -> int:
    """Return the estimated size of a pipeline's Argo workflow at the end of its run; arguments as `require_size`."""
    # A nested pipeline's specification holds its tasks', and each stands a second time in its task's entry.
    specifications = sum(_embedded_bytes(level.component) for level in levels(spec))
    entries = sum(_embedded_bytes(task) + TEMPLATE_BYTES + STATE_BYTES for task in tasks(spec))
    return specifications + entries + _implementation_bytes(spec) + _pod_bytes(spec, pods)


def _implementation_bytes(spec: Mapping[str, Any]) -> int:
    """Return the size of all containers; Argo's workflow has equal ones once."""
    executors = spec["deploymentSpec"]["executors"]
    kinds = {
        json.dumps(executors[component["executorLabel"]], sort_keys=True): component
        for component in spec["components"].values()
        if "executorLabel" in component
    }
    return sum(len(json.dumps(text)) + _embedded_bytes(component) for text, component in kinds.items())


def _pod_bytes(spec: Mapping[str, Any], pods: Mapping[str, Any]) -> int:
    """Return the size of what the pods have; Argo's workflow has it once for each component, equal or not."""
    labels = [component["executorLabel"] for component in spec["components"].values() if "executorLabel" in component]
    return sum(_embedded_bytes(pods[label]) for label in labels)


def _embedded_bytes(value: Any) -> int:
    """Return the size of JSON that stands as text inside JSON, where every quote is escaped."""
    return len(json.dumps(json.dumps(value, separators=(",", ":"))))
