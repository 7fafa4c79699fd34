"""Workflows as a real back end (KFP 2.17.0, Argo 4.0.5) wrote them, with fewer nodes, and some fields of each left out.

repetitions.json: a run that has ended, its nodes compressed; two nested pipelines share a component, so that the keys
of their tasks are equal, and one task came from the cache. failures.json: a run with a driver that failed; made up are
the failure of `linear-probe-l3` and the second try of `linear-probe-5-l3`, which that run did not have.
"""

import base64
import gzip
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import kfp_server_api as api
from kfp_server import KfpServer

from realfeatures.kubeflow.server.workflow import fnv1a32

FOLDER = Path(__file__).parent / "workflows"


def kept(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the compiled pipeline, as far as it tells tasks, and the Workflow."""
    content = json.loads((FOLDER / f"{name}.json").read_text())
    return content["pipeline_spec"], content["workflow"]


def nodes_of(workflow: dict[str, Any]) -> dict[str, Any]:
    status = workflow["status"]
    return status.get("nodes") or json.loads(gzip.decompress(base64.b64decode(status["compressedNodes"])))


def with_nodes(workflow: dict[str, Any], nodes: dict[str, Any], *, packed: bool) -> dict[str, Any]:
    """Return a Workflow with other nodes, compressed or plain."""
    text = base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()
    status = {name: value for name, value in workflow["status"].items() if name not in ("nodes", "compressedNodes")}
    return {**workflow, "status": {**status, **({"compressedNodes": text} if packed else {"nodes": nodes})}}


def as_2_16(workflow: dict[str, Any]) -> dict[str, Any]:
    """Return a Workflow as KFP 2.16 has it: only executors of tasks with retries are in nodes of tries."""
    kept_nodes = {}
    for node in deepcopy(nodes_of(workflow)).values():
        retried = node["templateName"].startswith("retry-") and node["displayName"].startswith("executor")
        if node["type"] == "Retry" and not retried:
            continue
        outer, dot, own = node["name"].rpartition(".")
        own = own if retried else re.sub(r"\(\d+\)", "", own)
        node["name"] = re.sub(r"\(\d+\)", "", outer) + dot + own
        node["id"] = f"{workflow['metadata']['name']}-{fnv1a32(node['name'])}"
        kept_nodes[node["id"]] = node
    return with_nodes(workflow, kept_nodes, packed=False)


def put(server: KfpServer, name: str, *, state: str = "RUNNING", workflow: str | None = None) -> str:
    """Let a server have a run with a kept Workflow, or with another text in its place; returns the run's id."""
    spec, content = kept(name)
    reference = api.V2beta1PipelineVersionReference(pipeline_id="pipeline", pipeline_version_id=name)
    server.pipelines["pipeline"] = api.V2beta1Pipeline(pipeline_id="pipeline")
    server.versions[name] = api.V2beta1PipelineVersion(
        pipeline_id="pipeline", pipeline_version_id=name, pipeline_spec={"pipeline_spec": spec}
    )
    server.runs[name] = api.V2beta1Run(
        run_id=name, display_name=name, state=state, pipeline_version_reference=reference
    )
    server.workflows[name] = json.dumps(content) if workflow is None else workflow
    return name
