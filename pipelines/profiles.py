"""On what the tasks of a pipeline run: resources, scheduling, time limits, retries, image policy, object store.

Nothing here changes a result. A profile is data: `--profile` chooses one, `--profile-set` changes a value.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from kfp import kubernetes
from pydantic import AfterValidator, BeforeValidator, Field

from realfeatures.errors import ConfigError
from realfeatures.experiment.overrides import assignment, override
from realfeatures.experiment.vocabulary import Config
from realfeatures.kubeflow.doctor.need import Toleration, number
from realfeatures.store.settings import is_location

SCRATCH = "/scratch"
"""The image's working directory, with the data cache: what is too large for /tmp."""
USER = 10001
"""The image's user."""


def _positive(text: str) -> str:
    try:
        positive = number(text) > 0
    except ValueError:
        positive = False
    if not positive:
        raise ValueError("expected a quantity above 0 as Kubernetes writes it, such as 500m, 4 or 4Gi")
    return text


def _location(text: str) -> str:
    if text and not is_location(text):
        raise ValueError("expected s3://BUCKET or s3://BUCKET/PREFIX")
    return text


Quantity = Annotated[str, BeforeValidator(str), AfterValidator(_positive)]
"""Kubernetes' 500m, 4, 4Gi; YAML reads some of them as numbers."""


class Work(StrEnum):
    """How much a task does, by which it asks for room on a node."""

    LIGHT = "light"
    """It loads no network: it needs neither a GPU nor much memory."""
    SMALL = "small"
    LARGE = "large"


class Store(Config):
    """The object store for checkpoints, data sets and reports; none where `location` is empty."""

    location: Annotated[str, AfterValidator(_location)] = ""
    """s3://BUCKET or s3://BUCKET/PREFIX"""
    endpoint: str = ""
    """URL as the pods reach it; empty: AWS."""
    region: str = "us-east-1"
    secret: str = "realfeatures-store"  # noqa: S105 - a secret's name, not a secret
    """Kubernetes secret with the keys accesskey and secretkey."""


class Profile(Config):
    """What every task of a pipeline is given."""

    name: str
    accelerator: str | None = None
    """Resource name, such as nvidia.com/gpu; one of it for every stage."""
    cpu: Quantity = "1"
    """Of a stage; its cells compute on runtime.threads of them."""
    memory: Quantity = "4Gi"
    """Of a stage."""
    light_memory: Quantity = "1Gi"
    """Of configure, results and report, which load no network."""
    small_cpu: Quantity = "250m"
    """That a task of little work asks for; it may use as much as any other."""
    small_memory: Quantity = "1Gi"
    """Likewise; a task of the digits preset was seen to take 0.8 GiB."""
    shared_memory: Quantity = "1Gi"
    """Of /dev/shm, whose default of 64 MiB is too little for some of torch's means of communication."""
    scratch: Quantity = "10Gi"
    """Of the disk for checkpoints and caches."""
    tolerations: tuple[Toleration, ...] = ()
    node_selector: dict[str, str] = Field(default_factory=dict)
    timeout_seconds: Annotated[int, Field(gt=0)] = 6 * 3600
    """Of a pod, with all attempts in it; with a store, whatever pod comes next goes on from the checkpoint."""
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    backoff_seconds: Annotated[int, Field(gt=0)] = 60
    """Before the first retry by Kubeflow; doubled for each one after it."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    store: Store = Store()

    def container(self, work: Work) -> dict[str, Any]:
        """Return what the container of a task of so much work has beside its command: resources and environment."""
        resources: dict[str, Any] = {}
        for bound, (cpu, memory) in {"Limit": self._limits(work), "Request": self._requests(work)}.items():
            # Older back ends read the numbers, in cores and gigabytes (kfp/dsl/pipeline_task.py).
            resources |= {f"cpu{bound}": float(number(cpu)), f"memory{bound}": float(number(memory)) / 1e9}
            resources |= {f"resourceCpu{bound}": cpu, f"resourceMemory{bound}": memory}
        if self.accelerator and work is not Work.LIGHT:
            one = {"type": self.accelerator, "count": "1"}
            resources["accelerator"] = {**one, "resourceType": self.accelerator, "resourceCount": "1"}
        return {"resources": resources, "env": [{"name": k, "value": v} for k, v in self.environment().items()]}

    def _limits(self, work: Work) -> tuple[str, str]:
        return self.cpu, self.light_memory if work is Work.LIGHT else self.memory

    def _requests(self, work: Work) -> tuple[str, str]:
        """Return what a pod of so much work keeps a node's room for; never more than it may have."""
        if work is Work.LARGE:
            return self.cpu, self.memory
        wanted = (self.small_cpu, self.light_memory if work is Work.LIGHT else self.small_memory)
        cpu, memory = (min(pair, key=number) for pair in zip(wanted, self._limits(work), strict=True))
        return cpu, memory

    def retry_policy(self) -> dict[str, Any]:
        """Return how Kubeflow tries a task again whose pod was lost; a crash is outlived in the pod (supervisor.py)."""
        if not self.retries:
            return {}
        # No cap on one wait but the window from the first attempt's start, in which all must fit (argo-workflows,
        # workflow/controller/operator.go): all attempts at full length, and the waits between them.
        waits = self.backoff_seconds * (2**self.retries - 1)
        window = (self.retries + 1) * self.timeout_seconds + waits
        return {
            "retryPolicy": {
                "maxRetryCount": self.retries,
                "backoffDuration": f"{self.backoff_seconds}s",
                "backoffFactor": 2.0,
                "backoffMaxDuration": f"{window}s",
            }
        }

    def environment(self) -> dict[str, str]:
        """Return the variables that a task's container is given; no secret is among them."""
        store = {
            "REALFEATURES_STORE": self.store.location,
            "AWS_ENDPOINT_URL": self.store.endpoint,
            "AWS_REGION": self.store.region,
        }
        crashes = {"REALFEATURES_RETRIES": str(self.retries)}
        return {"REALFEATURES_LOG": "json", **crashes, **(store if self.store.location else {})}

    def pod(self, work: Work) -> dict[str, Any]:
        """Return what such a task's pods have beside their container, as Kubeflow's KubernetesExecutorConfig."""
        carrier = _Carrier()
        kubernetes.set_image_pull_policy(carrier, self.image_pull_policy)
        kubernetes.set_timeout(carrier, self.timeout_seconds)
        kubernetes.set_security_context(carrier, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
        kubernetes.empty_dir_mount(carrier, "scratch", SCRATCH, size_limit=self.scratch)
        if self.image_pull_secrets:
            kubernetes.set_image_pull_secrets(carrier, list(self.image_pull_secrets))
        if self.store.location:
            keys = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
            kubernetes.use_secret_as_env(carrier, self.store.secret, keys)
        if work is not Work.LIGHT:
            kubernetes.empty_dir_mount(carrier, "shm", "/dev/shm", "Memory", self.shared_memory)  # noqa: S108
            for label, value in self.node_selector.items():
                kubernetes.add_node_selector(carrier, label, value)
            for one in self.tolerations:
                kubernetes.add_toleration(carrier, one.key, one.operator, one.value or None, one.effect)
        return dict(carrier.platform_config["kubernetes"])


class _Carrier:
    """Stands in for a task where kfp-kubernetes writes into one: tasks here share their pods' settings."""

    def __init__(self) -> None:
        self.platform_config: dict[str, Any] = {}


PROFILES = {
    "cpu": Profile(name="cpu"),
    # A GPU is fed by one process; 4 cores leave its host code room for JPEG, caches and checkpoints.
    # All chosen, none measured on a cluster with GPUs yet.
    "gpu": Profile(
        name="gpu",
        accelerator="nvidia.com/gpu",
        cpu="4",
        memory="24Gi",
        shared_memory="8Gi",
        scratch="50Gi",
        tolerations=(Toleration(key="nvidia.com/gpu"),),
        timeout_seconds=24 * 3600,
    ),
}
"""The profiles by name."""


def load_profile(name: str, assignments: Sequence[str] = ()) -> Profile:
    """Return a profile with each `key.path=value` applied.

    Raises:
        ConfigError: unknown profile, key or value.
    """
    if name not in PROFILES:
        raise ConfigError(f"--profile {name!r}: expected one of {', '.join(PROFILES)}")
    return override(PROFILES[name], dict(assignment(text, option="--profile-set") for text in assignments))
