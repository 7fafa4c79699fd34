"""Checks of a cluster: is there room for the largest pod of a run, and is its image there."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from realfeatures.kubeflow.doctor.findings import Finding, ok, problem, unknown
from realfeatures.kubeflow.doctor.need import Need, number
from realfeatures.kubeflow.server.kubernetes_api import Cluster, ask

BARRING = ("NoSchedule", "NoExecute")
"""Effects of a taint that keep a pod away which does not tolerate it."""
NAMED = 3
"""Nodes that are named with what keeps pods away; more make no readable line."""


def check_nodes(cluster: Cluster, need: Need) -> Finding:
    """Return whether a node takes the largest pod: its resources, labels and taints."""
    nodes = [node for node in ask("nodes", cluster.core.list_node).items if _is_ready(node)]
    if not nodes:
        return problem("nodes", "none is ready", "kubectl get nodes")
    accelerators = _accelerators(nodes, need.accelerator) if need.accelerator else {}
    if need.accelerator and not accelerators:
        return problem("nodes", f"no node has {need.accelerator}", "install the device plugin, or use --profile cpu")
    obstacles = {node.metadata.name: list(_obstacles(node, need)) for node in nodes}
    if all(obstacles.values()):
        named = "; ".join(f"{name}: {', '.join(why)}" for name, why in sorted(obstacles.items())[:NAMED])
        return problem(
            "nodes",
            f"none takes a pod of {_words(need)} ({named})",
            "use --profile-set with cpu, memory, node_selector or tolerations that fit, or add a node",
        )
    if accelerators:
        return ok("nodes", f"{sum(accelerators.values())} {need.accelerator} on {', '.join(sorted(accelerators))}")
    cores = sum(_allocatable(node, "cpu") for node in nodes)
    fitting = sum(not why for why in obstacles.values())
    return ok("nodes", f"{len(nodes)} ready, {cores:g} cores; {fitting} of them take a pod of {_words(need)}")


def check_image(cluster: Cluster, need: Need) -> Finding:
    """Return whether a node has the image; whether it can be pulled shows only with a pod."""
    name = need.image
    if name is None:
        return unknown("image", "none was named", "name it by --image")
    nodes = ask("image", cluster.core.list_node).items
    having = sorted(node.metadata.name for node in nodes if _has_image(node, name))
    if having:
        return ok("image", f"{name} is on {', '.join(having)}")
    if need.pull_policy == "Never":
        return problem("image", f"no node has {name}, and it is never pulled", "import it into the nodes' containerd")
    return unknown("image", f"no node has {name} yet; whether it can be pulled shows with the first pod")


def check_quota(cluster: Cluster, need: Need) -> Finding:
    """Return whether the namespace's quotas leave room for a pod, and for how many."""
    found = ask("quota", cluster.core.list_namespaced_resource_quota, need.namespace).items
    demands, room = _demands(need), Decimal(need.side_by_side)
    for quota in found:
        for name, limit in ((quota.status and quota.status.hard) or {}).items():
            if name not in demands:
                continue
            left = number(limit) - number((quota.status.used or {}).get(name, 0))
            if demands[name] > left:
                return problem(
                    "quota",
                    f"{quota.metadata.name} leaves {left:g} of {name}, and one pod needs {demands[name]:g}",
                    "wait for other runs, raise the quota, or use smaller --profile-set cpu= and memory=",
                )
            room = min(room, left // demands[name])
    if not found:
        return ok("quota", "none is set")
    names = ", ".join(quota.metadata.name for quota in found)
    waiting = f" at a time of the widest stage's {need.side_by_side}; the others wait"
    more = waiting if room < need.side_by_side else ""
    return ok("quota", f"{names} leaves room for {'a pod' if room == 1 else f'{room} pods'}{more}")


def check_limits(cluster: Cluster, need: Need) -> Finding:
    """Return whether the namespace's limit ranges allow the largest pod."""
    found = ask("limits", cluster.core.list_namespaced_limit_range, need.namespace).items
    for limits in found:
        for limit in limits.spec.limits:
            conflict = _conflict(limit, need) if limit.type in ("Container", "Pod") else None
            if conflict:
                name, bound, word = conflict
                return problem(
                    "limits",
                    f"{limits.metadata.name} wants {word} {bound} of {name} for a {limit.type.lower()}",
                    f"use --profile-set {name}={bound}, or change the limit",
                )
    return ok("limits", ", ".join(one.metadata.name for one in found) or "none is set")


def _conflict(limits: Any, need: Need) -> tuple[str, str, str] | None:
    """Return the resource, the bound and its kind that a pod breaks, or None."""
    for name, wanted in need.pod.items():
        most, least = (limits.max or {}).get(name), (limits.min or {}).get(name)
        if most is not None and wanted > number(most):
            return name, most, "at most"
        if least is not None and wanted < number(least):
            return name, least, "at least"
    return None


def _demands(need: Need) -> Mapping[str, Decimal]:
    """Return what one pod takes of each kind of quota; a limit without a prefix is one of requests."""
    demands = {"pods": number("1"), "count/pods": number("1")}
    for name, wanted in need.pod.items():
        demands[f"requests.{name}"] = wanted
    for name in ("cpu", "memory"):
        demands[name] = demands[f"limits.{name}"] = need.pod[name]
    return demands


def _obstacles(node: Any, need: Need) -> Iterator[str]:
    """Yield what keeps the largest pod off a node, though nothing else ran on it."""
    if node.spec is not None and node.spec.unschedulable:
        yield "is cordoned"
    labels = node.metadata.labels or {}
    yield from (f"no label {name}={value}" for name, value in need.node_selector.items() if labels.get(name) != value)
    yield from (f"taint {taint.key}" for taint in _barring_taints(node, need))
    allocatable = node.status.allocatable or {}
    yield from (
        f"{name} {allocatable.get(name, 0)}" for name, wanted in need.pod.items() if wanted > _allocatable(node, name)
    )


def _barring_taints(node: Any, need: Need) -> Iterator[Any]:
    for taint in (node.spec and node.spec.taints) or ():
        if taint.effect in BARRING and not any(toleration.accepts(taint) for toleration in need.tolerations):
            yield taint


def _accelerators(nodes: Iterable[Any], resource: str) -> dict[str, int]:
    """Return how many accelerators each node has that has any, by the node's name."""
    counts = {node.metadata.name: int(_allocatable(node, resource)) for node in nodes}
    return {name: count for name, count in counts.items() if count}


def _words(need: Need) -> str:
    words = [f"{need.cpu} CPU", need.memory]
    return ", ".join([*words, f"1 {need.accelerator}"] if need.accelerator else words)


def _allocatable(node: Any, name: str) -> Decimal:
    return number((node.status.allocatable or {}).get(name, 0))


def _is_ready(node: Any) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions or ())


def _has_image(node: Any, image: str) -> bool:
    """Return whether a node lists an image, with or without the registry that containerd puts before a short name."""
    names = {name for one in node.status.images or () for name in one.names or ()}
    return any(name == image or name.removeprefix("docker.io/library/") == image for name in names)
