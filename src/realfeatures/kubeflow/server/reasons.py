"""Why a task failed, in one line: from its pod's log, else from the log that Kubeflow kept, else from its node.

Our own tasks end with a line that begins with `error:`; Kubeflow's launcher and Argo's emissary write after it. A
driver ends with a line in glog's form (kubeflow/pipelines 2.17.0, backend/src/v2/cmd/driver/main.go:79).
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from urllib.parse import SplitResult, urlsplit

from realfeatures.errors import ClusterError
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
from realfeatures.kubeflow.server.run_records import read
from realfeatures.kubeflow.server.task_states import TaskState
from realfeatures.kubeflow.server.workflow import Node, Workflow

OWN_ERROR = re.compile(r"error:\s*(.*)")
DRIVERS_ERROR = re.compile(
    r"[EF]\d{4} \S+ +\d+ \S+\] (?:Failed to execute driver: |KFP driver: )?(?:driver\.\w+\(.*?\) failed: )?(.*)"
)
"""A line of glog: severity and date, time, process, place in the code, text; first how the driver was called."""
LOG_BYTES = 256 * 2**20
"""chosen: of a log; one that is longer is not read to its end."""
ARTIFACT_BYTES = 64 * 2**20
"""chosen: of an artifact that is read as a whole."""
LINE_BYTES = 2**16
"""chosen: of a line; the rest of a longer one is dropped."""
REASON_CHARACTERS = 500
ARCHIVED = "main-logs"
"""The artifact of a node that Argo keeps a pod's log in, where its settings say so."""
PUBLISHED = re.compile(r'"(minio|s3|gs)(://[^"?\\]+/executor-logs)\\*"')
"""Where the launcher puts a task's log (backend/src/v2/driver/driver.go:246-518), in the text of its command."""


def reason_of(kubeflow: Kubeflow, run_id: str, workflow: Workflow, task: TaskState) -> str:
    """Return why a task failed, in one line of at most `REASON_CHARACTERS`; whatever cannot be read is passed over."""
    node = task.failed_node
    if node is None:
        return task.message
    wanted = DRIVERS_ERROR if task.driver_failed else OWN_ERROR
    for opened in _logs(kubeflow, run_id, workflow, node):
        try:
            found, lines = last_match(opened(), wanted)
        except ClusterError:
            continue
        if lines:
            return found or task.message
    return task.message


def last_match(chunks: Iterable[bytes], wanted: re.Pattern[str]) -> tuple[str, int]:
    """Return what the last line says that begins as wanted, and how many lines there are; empty where none does."""
    found, count = "", 0
    for line in _lines(chunks):
        count += 1
        match = wanted.match(line)
        found = match[1] if match else found
    printable = "".join(character if character.isprintable() else " " for character in found)
    return " ".join(printable.split())[:REASON_CHARACTERS], count


def _logs(kubeflow: Kubeflow, run_id: str, workflow: Workflow, node: Node) -> Iterator[Callable[[], Iterable[bytes]]]:
    """Yield the ways to a pod's log; the first that leads to one counts.

    Sources: backend/src/apiserver/main.go:515 (of a pod, while there is one), run_artifact_server.go (kept by Argo),
    frontend/server/handlers/artifacts.ts (kept by the launcher; the UI's server alone answers).
    """
    pod = workflow.pod_name(node)
    yield partial(read, kubeflow, f"log of {pod}", f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log")
    for place in _published(node):
        query = {
            "source": {"gs": "gcs"}.get(place.scheme, place.scheme),
            "bucket": place.netloc,
            "key": place.path.lstrip("/"),
            "namespace": workflow.namespace,
        }
        yield partial(read, kubeflow, f"executor-logs of {pod}", "/artifacts/get", query)
    kept = f"/apis/v1beta1/runs/{run_id}/nodes/{node.id}/artifacts/{ARCHIVED}:read"
    yield lambda: _unpacked(read(kubeflow, f"{ARCHIVED} of {pod}", kept))


def _published(node: Node) -> list[SplitResult]:
    """Return where the launcher may have put a task's log; 2.17 appends the number of the try, older ones do not."""
    match = PUBLISHED.search(node.parameters.get("pod-spec-patch", ""))
    if match is None:
        return []
    place = "".join(match.groups())
    number = node.tries[-1]
    return [urlsplit(place) for place in ([] if number is None else [f"{place}-{number}"]) + [place]]


def _unpacked(chunks: Iterable[bytes]) -> list[bytes]:
    """Return the content of an artifact, which the API server sends as base64 in JSON."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > ARTIFACT_BYTES:
            raise ClusterError(f"{ARCHIVED}: is longer than {ARTIFACT_BYTES // 2**20} MiB")
    try:
        return [base64.b64decode(json.loads(content)["data"])]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ClusterError(f"{ARCHIVED}: the answer holds no artifact") from None


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a text that comes in pieces, up to `LOG_BYTES` of it."""
    rest, size = b"", 0
    for chunk in chunks:
        size += len(chunk)
        if size > LOG_BYTES:
            break
        *lines, last = (rest + chunk).split(b"\n")
        yield from (line[:LINE_BYTES].decode(errors="replace") for line in lines)
        rest = last[:LINE_BYTES]
    if rest:
        yield rest.decode(errors="replace")
