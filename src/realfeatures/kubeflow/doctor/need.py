"""What a run asks of a cluster, as data: what the doctor's checks compare the cluster with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from realfeatures.experiment.vocabulary import Config


class Right(NamedTuple):
    """Something that an account may do in a namespace."""

    group: str
    """API group; empty: the core one."""
    resource: str
    """With its subresource, such as pods/log."""
    verb: str


FOLLOWING = (Right("", "pods", "list"), Right("", "pods/log", "get"))
"""What a person needs who looks after a run."""
STARTING_A_JOB = (Right("batch", "jobs", "create"), *FOLLOWING)
"""What a person needs who starts the plain Job."""
PODS_OF_KUBEFLOW = (
    Right("argoproj.io", "workflowtaskresults", "create"),
    Right("", "configmaps", "get"),
    Right("", "secrets", "get"),
)
"""What the account of Kubeflow's pods needs: to tell the engine how they ended, and to find the artifact store
(kubeflow/pipelines, manifests/kustomize/base/pipeline/pipeline-runner-role.yaml). The plain Job's needs nothing."""


class Toleration(Config):
    """A taint that the pods put up with."""

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"

    def accepts(self, taint: Any) -> bool:
        """Return whether this is about a node's taint, a V1Taint."""
        same_value = self.operator == "Exists" or self.value == (taint.value or "")
        return (self.key, self.effect) == (taint.key, taint.effect) and same_value


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a run asks of a cluster."""

    namespace: str
    service_account: str
    secret: str | None
    """With the keys of the object store; None: the run uses no store."""
    image: str | None
    pull_policy: str
    accelerator: str | None
    """Resource name, one of it for a pod."""
    cpu: str
    """Of the largest pod, as is memory."""
    memory: str
    side_by_side: int = 1
    """Pods of the widest stage, which may run at one time."""
    rights: Sequence[Right] = STARTING_A_JOB
    """Of whoever starts the run."""
    pods_rights: Sequence[Right] = ()
    """Of the pods' account."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Toleration] = ()

    @property
    def pod(self) -> dict[str, Decimal]:
        """What the largest pod requests, which is its limit, too: cores, bytes, pieces."""
        wanted = {"cpu": number(self.cpu), "memory": number(self.memory)}
        return {**wanted, self.accelerator: number("1")} if self.accelerator else wanted


def number(quantity: Any) -> Decimal:
    """Return one of Kubernetes' quantities, such as 500m or 4Gi, in its base unit: cores, bytes, pieces."""
    from kubernetes.utils import parse_quantity

    value: Decimal = parse_quantity(quantity)
    return value
