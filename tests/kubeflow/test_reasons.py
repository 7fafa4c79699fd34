"""Why a task failed: from its pod's log, else from the logs that Kubeflow kept, else from its node."""

import base64
import json

import pytest
from kept_workflows import as_2_16, kept, put
from kfp_http import Fault

from realfeatures.kubeflow.server import reasons
from realfeatures.kubeflow.server.reasons import DRIVERS_ERROR, OWN_ERROR, last_match
from realfeatures.kubeflow.server.run_state import Watcher
from realfeatures.kubeflow.server.workflow import parse_workflow

KEYS = "evaluate-non-robust-features"
PROBE, ATTACK = (KEYS, "linear-probe-l3"), (KEYS, "attack-l3")
LOG = (
    '{"level": "info", "message": "epoch 3"}\n'
    "error: probe.epochs: expected at least 1\n"
    "I1127 18:35:00.000000      18 launcher_v2.go:731] publish success.\n"
    'time="2026-11-27T18:35:01.000Z" level=info msg="sub-process exited" argo=true error="<nil>"\n'
)
DRIVERS_LOG = (
    "I1127 18:24:07.000000      18 main.go:107] Setting log level to: '1'\n"
    'F1127 18:24:09.000000      18 main.go:79] KFP driver: driver.Container(runID=e (1), task="attack-l3") failed:'
    " failed to lookup existing execution: no execution found\n"
    "Error: exit status 1\n"
)


def node_of(path: tuple[str, ...], workflow: dict | None = None):
    """Return the Workflow and the node whose pod's log tells a failure."""
    parsed = parse_workflow(json.dumps(workflow or kept("failures")[1]))
    driver = (*path[:-1], f"{path[-1]}-driver") if path == ATTACK else (*path, "executor")
    return parsed, parsed.last_try(("root", *driver))


def log_of(path: tuple[str, ...], workflow: dict | None = None) -> str:
    parsed, node = node_of(path, workflow)
    return f"GET /apis/v1alpha1/runs/failures/nodes/{parsed.pod_name(node)}/log"


def archived(path: tuple[str, ...]) -> str:
    return f"GET /apis/v1beta1/runs/failures/nodes/{node_of(path)[1].id}/artifacts/main-logs:read"


@pytest.fixture
def messages(kubeflow, server):
    """Return what is told of the tasks that failed, by their paths."""

    def look(workflow: dict | None = None) -> dict[tuple[str, ...], str]:
        put(server, "failures", workflow=workflow and json.dumps(workflow))
        return {task.path: task.message for task in Watcher(kubeflow, "failures").look().failures}

    return look


@pytest.mark.parametrize("older", [False, True])
def test_the_last_error_of_a_pod_s_log_tells_why(older, messages, server):
    workflow = as_2_16(kept("failures")[1]) if older else None
    server.texts = {log_of(PROBE, workflow): LOG, log_of(ATTACK, workflow): DRIVERS_LOG}
    assert messages(workflow) == {
        PROBE: "probe.epochs: expected at least 1",
        ATTACK: "Kubeflow's driver failed before it began: failed to lookup existing execution: no execution found",
    }


def test_logs_are_read_once(kubeflow, server):
    server.texts = {log_of(PROBE): LOG}
    put(server, "failures")
    watcher = Watcher(kubeflow, "failures")
    first = watcher.look()
    asked = len(server.requests)
    assert watcher.look().tasks == first.tasks
    assert [made for made in server.requests[asked:] if "log" in made] == []


def test_a_log_that_the_launcher_or_argo_kept_is_read_where_the_pod_is_gone(messages, server):
    kept_log = json.dumps({"data": base64.b64encode(DRIVERS_LOG.encode()).decode()})
    server.texts = {"GET /artifacts/get": LOG, archived(ATTACK): kept_log}
    assert messages() == {
        PROBE: "probe.epochs: expected at least 1",
        ATTACK: "Kubeflow's driver failed before it began: failed to lookup existing execution: no execution found",
    }
    assert server.queries["/artifacts/get"]["source"] == "minio"
    assert server.queries["/artifacts/get"]["bucket"] == "mlpipeline"
    assert server.queries["/artifacts/get"]["key"].endswith("/executor-logs-0")
    assert server.queries["/artifacts/get"]["namespace"] == "kubeflow"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET /apis/v1alpha1/", 500),
        Fault("GET /apis/v1alpha1/", 403),
        Fault("GET /apis/v1alpha1/", 200, page=True),
        Fault("GET /apis/v1alpha1/", drop=True),
    ],
)
def test_where_no_log_can_be_read_the_node_tells_and_nothing_is_tried_again(fault, messages, server):
    server.faults = [fault]
    server.texts = {archived(PROBE): "no JSON"}
    assert messages() == {
        PROBE: "main: Error (exit code 1)",
        ATTACK: "Kubeflow's driver failed before it began: main: Error (exit code 1)",
    }
    assert server.count(log_of(PROBE)) == 1


def test_a_log_without_an_error_leaves_it_to_the_node(messages, server):
    server.texts = {log_of(PROBE): "epoch 3\nno error: at the line's begin\n", "GET /artifacts/get": LOG}
    assert messages()[PROBE] == "main: Error (exit code 1)"


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"error: a\nerr", b"or: b\nrest"], "b"),
        ([b"error: a"], "a"),
        ([b"error: \xff \x1b[31mred\x07\r\n"], "� [31mred"),
        ([b"error: " + b"x" * 10_000], "x" * reasons.REASON_CHARACTERS),
        ([b"x" * 100_000, b"error: inside a line", b"\nerror: c\n"], "c"),
        ([], ""),
    ],
)
def test_the_last_line_that_begins_with_error_counts(chunks, expected):
    assert last_match(chunks, OWN_ERROR)[0] == expected


def test_a_log_without_end_is_left(monkeypatch):
    monkeypatch.setattr(reasons, "LOG_BYTES", 1000)
    endless = iter(lambda: b"error: a\n" * 10, b"")
    assert last_match(endless, OWN_ERROR)[0] == "a"


def test_a_driver_s_error_is_told_without_how_it_was_called():
    line = b"F1127 18:24:09.000000      18 main.go:79] Failed to execute driver: rpc error: code = Unavailable\n"
    assert last_match([line], DRIVERS_ERROR)[0] == "rpc error: code = Unavailable"
