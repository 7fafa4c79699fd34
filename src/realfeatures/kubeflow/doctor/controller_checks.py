"""Checks of Kubeflow's workflow controller: what it retries, where it keeps node status, how large a run may be.

Each tells a setting of the cluster's administrator; none of them is a problem for a run by itself.
"""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import yaml

from realfeatures.errors import ForbiddenError, MissingError
from realfeatures.kubeflow.doctor.findings import Finding, ok, parts, unknown
from realfeatures.kubeflow.doctor.need import Need
from realfeatures.kubeflow.server.kubernetes_api import Cluster, ask

KUBEFLOW = "kubeflow"
"""The namespace that Kubeflow is installed in, where pods may run in others."""
SETTINGS = "workflow-controller-configmap"
CONTROLLER = "workflow-controller"
"""Of the controller's Deployment, and of its container."""
LIMIT_BYTES = 2**20
"""Of a Workflow, where MAX_WORKFLOW_SIZE is not set (argo-workflows v4.0.5, workflow/packer/packer.go:17-98)."""
FAILURES = "that exits non-zero, runs out of memory or meets its deadline"
ERRORS = "whose pod was deleted"
RETRIED = {
    "OnFailure": f"a task {FAILURES} is started again, one {ERRORS} is not",
    "OnError": f"a task {ERRORS} is started again, one {FAILURES} is not",
    "Always": f"a task {FAILURES} is started again, and so is one {ERRORS}",
    "OnTransientError": "a task is started again only after errors that the controller's TRANSIENT_ERROR_PATTERN names",
}
"""What becomes of a task, by Argo's policy (argo-workflows v4.0.5, workflow/controller/operator.go:1709-1776)."""

Found = TypeVar("Found")


class Controller:
    """The workflow controller's settings, each read when a check first needs it.

    Args:
        cluster: its API.
        need: where the pods run; Kubeflow is looked for there, and in `kubeflow`.
    """

    def __init__(self, cluster: Cluster, need: Need) -> None:
        self.cluster = cluster
        self.namespaces = tuple(dict.fromkeys((need.namespace, KUBEFLOW)))

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The controller's configuration; argo-workflows v4.0.5, config/controller.go says how its keys are joined.

        Raises:
            ForbiddenError, MissingError: it may not be read, or is not there.
        """
        found = self._find("configmaps", SETTINGS, lambda: self.cluster.core.read_namespaced_config_map)
        data = found.data or {}
        try:
            whole = yaml.safe_load(data["config"]) if "config" in data else None
            settings = whole or {name: yaml.safe_load(value) for name, value in data.items() if name != "config"}
        except yaml.YAMLError:
            raise MissingError(f"{SETTINGS} holds what is no YAML; repair it") from None
        return _mapping(settings)

    def variable(self, name: str) -> str:
        """Return a variable of the controller's environment; empty where it is not set.

        Raises:
            ForbiddenError, MissingError: it may not be read, is not there, or comes from somewhere else.
        """
        for container in self._deployment.spec.template.spec.containers:
            if container.name != CONTROLLER:
                continue
            one = next((one for one in container.env or () if one.name == name), None)
            if one is not None and one.value_from is None:
                return str(one.value or "")
            if one is not None or container.env_from:
                raise MissingError(f"{name} comes from elsewhere; see the deployment {CONTROLLER}")
        return ""

    @cached_property
    def _deployment(self) -> Any:
        return self._find("deployments", CONTROLLER, lambda: self.cluster.apps.read_namespaced_deployment)

    def _find(self, kind: str, name: str, request: Callable[[], Callable[..., Found]]) -> Found:
        """Return the first of this name, where the pods run or where Kubeflow is."""
        forbidden = []
        for namespace in self.namespaces:
            try:
                return ask(f"{kind} {name}", request(), name, namespace)
            except ForbiddenError:
                forbidden.append(namespace)
            except MissingError:
                continue
        if forbidden:
            where = " or ".join(forbidden)
            raise ForbiddenError(
                f"these credentials may not read {name} in {where} (403); ask for the right to get {kind} there"
            )
        where = " or ".join(self.namespaces)
        raise MissingError(f"there is no {name} in {where}; use --namespace with the one that Kubeflow is in")


def check_retries(controller: Controller) -> Finding:
    """Return which failures of tasks Kubeflow retries here.

    A policy in the controller's defaults goes before Argo's own, which the pipeline's retries would have
    (argo-workflows v4.0.5, operator.go:2133, 4448-4487; workflow_types.go:2295-2304).
    """

    def tell() -> str:
        defaults = _inside(controller.settings, "workflowDefaults", "spec", "templateDefaults")
        strategy = _mapping(_inside(_mapping(defaults), "retryStrategy"))
        policy = str(strategy.get("retryPolicy") or ("Always" if strategy.get("expression") else "OnFailure"))
        retried = RETRIED.get(policy, f"tasks are started again by a policy that is not known here, {policy!r}")
        if strategy:
            return f"{retried}; drivers alike (templateDefaults.retryStrategy has retryPolicy {policy})"
        return f"{retried}; a driver never is (there is no templateDefaults.retryStrategy)"

    return _told("retries", "which failures Kubeflow retries", tell)


def check_node_status(controller: Controller) -> Finding:
    """Return where the state of a Workflow's nodes is kept.

    Source: argo-workflows v4.0.5, workflow/hydrator/hydrator.go:95-130; for the retry of a run kubeflow/pipelines
    2.17.0, backend/src/common/util/workflow.go:877-880.
    """

    def tell() -> str:
        if _inside(controller.settings, "persistence", "nodeStatusOffLoad") is not True:
            return "is kept in the Workflow, whose size it counts for"
        return (
            f"is kept in a database {_when_offloaded(controller)}: a Workflow's size is then that of its spec, `submit"
            " --wait` tells no single tasks of it, and Kubeflow's Retry refuses it"
        )

    return _told("node status", "whether the state of a run's nodes is kept in a database", tell)


def check_workflow_size(controller: Controller) -> Finding:
    """Return how large a Workflow may be, in bytes of its JSON, compressed nodes included."""

    def tell() -> str:
        text = controller.variable("MAX_WORKFLOW_SIZE")
        limit = (int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else 0) or LIMIT_BYTES
        return f"a Workflow may have {limit / 2**20:.2f} MiB ({limit:,} bytes)"

    return _told("workflow size", f"whether a Workflow may have other than {LIMIT_BYTES:,} bytes", tell)


def _when_offloaded(controller: Controller) -> str:
    try:
        always = controller.variable("ALWAYS_OFFLOAD_NODE_STATUS") == "true"
    except (ForbiddenError, MissingError):
        return "(at the latest once it is too large)"
    return "always" if always else "once it is too large"


def _told(check: str, what: str, tell: Callable[[], str]) -> Finding:
    """Return what there is to tell, or that it cannot be told, which stops no run."""
    try:
        return ok(check, tell())
    except (ForbiddenError, MissingError) as error:
        text, remedy = parts(error)
        return unknown(check, f"{what} is unknown: {text}", remedy)


def _inside(settings: Mapping[str, Any], *names: str) -> Any:
    """Return what stands under these names in nested settings; None where there is nothing."""
    found: Any = settings
    for name in names:
        found = _mapping(found).get(name)
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
