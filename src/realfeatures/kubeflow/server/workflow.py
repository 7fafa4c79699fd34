"""The Argo Workflow of a run, as Kubeflow's API server keeps it: its nodes, plain or compressed, by their paths.

A node's name is the path of names of what it is in, each with the number of its try in parentheses where the engine
may try again: `paper-x7k2p(0).root(0).repetition(0).configure(0).executor(1)`. Kubeflow Pipelines 2.17 wraps every
driver, level and executor into such a node of tries (of type Retry), 2.16 the executors of tasks with retries alone.
Source: argo-workflows v4.0.5, workflow/controller/operator.go:2339, workflow/util/pod_name.go:50,
workflow/packer/packer.go:17-98; kubeflow/pipelines 2.17.0, backend/src/v2/compiler/argocompiler/dag.go:249-336.
"""

import base64
import binascii
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from realfeatures.errors import ClusterError

NODES_BYTES = 128 * 2**20
"""chosen: of decompressed nodes; 161 tasks had 8.7 MB, which took 0.6 of the 1 MiB that a Workflow may have."""
GZIP = 31
"""zlib's window bits for a stream with gzip's header."""
POD_NAME_PREFIX = 242
"""Characters of a pod's name before the hash, with which it stays under Kubernetes' 253."""

Path = tuple[str, ...]
"""Keys of tasks, outermost first; what the engine makes of the last is its `executor`, or has its key and `-driver`."""


class NoNodesError(ClusterError):
    """The Workflow of a run tells no nodes."""


@dataclass(frozen=True)
class Node:
    """A node of a Workflow."""

    id: str
    name: str
    kind: str
    """Pod, DAG, Retry or Skipped."""
    phase: str
    """Pending, Running, Succeeded, Skipped, Omitted, Failed or Error; empty: not begun."""
    message: str
    template: str
    parameters: Mapping[str, str]
    """Its inputs."""
    tries: tuple[int | None, ...]
    """Which try of each thing in its path it belongs to; None: one that stands for all tries, or is not tried again."""


@dataclass(frozen=True)
class Workflow:
    """A Workflow's nodes, by their paths."""

    name: str
    namespace: str
    message: str
    """Why it ended as a whole, such as for its size."""
    named_by_id: bool
    """Whether pods have their nodes' ids for names, as Argo's older format has it."""
    nodes: Mapping[Path, tuple[Node, ...]]

    def whole(self, path: Path) -> Node | None:
        """Return the node that stands for all tries of what is at a path, else its last try."""
        return max(self._latest(path), key=lambda node: (node.tries[-1] is None, node.tries[-1] or 0), default=None)

    def last_try(self, path: Path) -> Node | None:
        """Return the node of the last try of what is at a path, else the only one that there is."""
        return max(self._latest(path), key=_own_try, default=None)

    def count_tries(self, path: Path) -> int:
        """Return how often what is at a path was tried; at least 1."""
        return 1 + max((_own_try(node) for node in self._latest(path) if node.tries[-1] is not None), default=0)

    def pod_name(self, node: Node) -> str:
        """Return the name of a node's pod: workflow, template and the FNV-1a hash of the node's name."""
        if self.named_by_id:
            return node.id
        if node.name == self.name:
            return self.name
        return f"{self.name}-{node.template}"[:POD_NAME_PREFIX] + f"-{fnv1a32(node.name)}"

    def _latest(self, path: Path) -> list[Node]:
        """Return the nodes at a path that belong to the last try of everything around them."""
        nodes = self.nodes.get(path, ())
        last = max((_outer_tries(node) for node in nodes), default=())
        return [node for node in nodes if _outer_tries(node) == last]


def parse_workflow(manifest: str) -> Workflow:
    """Return a Workflow from its JSON.

    Raises:
        NoNodesError: it is no Workflow, its nodes cannot be read, or are kept elsewhere; the text says which.
    """
    content = _json(manifest, "its Workflow is no JSON")
    metadata, status = _mapping(content.get("metadata")), _mapping(content.get("status"))
    name = str(metadata.get("name") or "")
    if not name:
        raise NoNodesError("its Workflow has no name")
    nodes: defaultdict[Path, list[Node]] = defaultdict(list)
    for node in _nodes(status):
        if isinstance(node, dict) and str(node.get("name", "")).startswith(name):
            path, tries = _path_of(str(node["name"]).removeprefix(name))
            nodes[path].append(_node(node, tries))
    annotations = _mapping(metadata.get("annotations"))
    return Workflow(
        name=name,
        namespace=str(metadata.get("namespace") or ""),
        message=str(status.get("message") or ""),
        named_by_id=annotations.get("workflows.argoproj.io/pod-name-format") == "v1",
        nodes={path: tuple(found) for path, found in nodes.items()},
    )


def fnv1a32(text: str) -> int:
    """Return the 32-bit FNV-1a hash of a text, by which Argo names nodes and pods."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def _nodes(status: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the nodes of a Workflow's status; none where it has not begun."""
    nodes = status.get("nodes")
    if not nodes and status.get("compressedNodes"):
        nodes = _json(_decompressed(str(status["compressedNodes"])), "its compressed nodes are no JSON")
    if not nodes and status.get("offloadNodeStatusVersion"):
        raise NoNodesError("the cluster keeps the state of its nodes in a database (nodeStatusOffLoad)")
    yield from _mapping(nodes).values()


def _decompressed(text: str) -> bytes:
    inflater = zlib.decompressobj(wbits=GZIP)
    try:
        content = inflater.decompress(base64.b64decode(text, validate=True), NODES_BYTES)
    except (binascii.Error, zlib.error, ValueError):
        raise NoNodesError("its compressed nodes are no gzip") from None
    if inflater.unconsumed_tail:
        raise NoNodesError(f"its compressed nodes have over {NODES_BYTES // 2**20} MiB")
    if not inflater.eof:
        raise NoNodesError("its compressed nodes are cut off")
    return content


def _json(text: str | bytes, otherwise: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise NoNodesError(otherwise)
    return content


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _path_of(name: str) -> tuple[Path, tuple[int | None, ...]]:
    """Return the path of a node's name without its Workflow's, and the try of each part, the Workflow's first."""
    parts = [re.fullmatch(r"(.*?)(?:\((\d+)\))?", part, re.DOTALL) for part in name.split(".")]
    matches = [part for part in parts if part is not None]
    return tuple(part[1] for part in matches[1:]), tuple(int(part[2]) if part[2] else None for part in matches)


def _node(content: Mapping[str, Any], tries: tuple[int | None, ...]) -> Node:
    parameters = _mapping(content.get("inputs")).get("parameters")
    given = [one for one in parameters if isinstance(one, dict)] if isinstance(parameters, list) else []
    return Node(
        id=str(content.get("id") or ""),
        name=str(content["name"]),
        kind=str(content.get("type") or ""),
        phase=str(content.get("phase") or ""),
        message=str(content.get("message") or ""),
        template=str(content.get("templateName") or ""),
        parameters={str(one.get("name")): str(one.get("value") or "") for one in given},
        tries=tries,
    )


def _own_try(node: Node) -> int:
    return -1 if node.tries[-1] is None else node.tries[-1]


def _outer_tries(node: Node) -> tuple[int, ...]:
    return tuple(number or 0 for number in node.tries[:-1])
