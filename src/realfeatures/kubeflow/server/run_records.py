"""What Kubeflow's API server keeps of a run besides the run: its Argo Workflow, its logs.

By hand, since the generated client speaks version 2beta1 alone, which leaves both out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from realfeatures.kubeflow.server.answers import ForeignAnswerError
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
from realfeatures.kubeflow.server.refusals import told

PIECE_BYTES = 2**16
"""Of an answer that is read piece by piece."""


def workflow_of(kubeflow: Kubeflow, run_id: str) -> str:
    """Return a run's Workflow as JSON, as the server last heard of it; empty where it has none.

    Takes the right to read runs alone, and outlives the Workflow in the cluster. Source: kubeflow/pipelines 2.17.0,
    backend/src/apiserver/server/run_server.go:202-212, api_converter.go:1697, resource/resource_manager.go:1560.

    Raises:
        ClusterError: the server refuses or does not answer.
    """
    content = kubeflow.ask(
        f"workflow of run {run_id}",
        kubeflow.client.call_api,
        f"/apis/v1beta1/runs/{run_id}",
        "GET",
        response_type="object",
        auth_settings=["Bearer"],
        _return_http_data_only=True,
    )
    runtime = content.get("pipeline_runtime")
    return str(runtime.get("workflow_manifest") or "") if isinstance(runtime, dict) else ""


def read(kubeflow: Kubeflow, what: str, path: str, query: Mapping[str, str] = {}) -> Iterator[bytes]:
    """Yield an answer that need not be JSON, such as a log, piece by piece; it is asked for once.

    Raises:
        ClusterError: the server refuses, does not answer, answers with a page, or breaks off.
    """
    response = kubeflow.ask_once(
        what,
        kubeflow.client.call_api,
        path,
        "GET",
        query_params=list(query.items()),
        auth_settings=["Bearer"],
        _preload_content=False,
    )
    try:
        _refuse_page(response)
        yield from response.stream(PIECE_BYTES)
    except Exception as error:
        line = told(error, f"{kubeflow.host}: {what}")
        if line is None:
            raise
        raise line from None
    finally:
        response.close()


def _refuse_page(response: Any) -> None:
    if "html" in response.headers.get("Content-Type", ""):
        raise ForeignAnswerError
