"""States of tasks from real Workflows: by paths, in every form of nodes, after tries, failures and the cache."""

import base64
import gzip
import json

import pytest
from kept_workflows import as_2_16, kept, nodes_of, put, with_nodes

from realfeatures.kubeflow.server import workflow as workflows
from realfeatures.kubeflow.server.run_state import NO_TASKS, Watcher
from realfeatures.kubeflow.server.task_states import State, TaskState, failures, pipeline_tasks, seen_tasks, task_states
from realfeatures.kubeflow.server.workflow import fnv1a32, parse_workflow

SET = "evaluate non-robust features"
FAILURES = {
    "the pipeline": State.RUNNING,
    SET: State.RUNNING,
    "report": State.WAITING,
    f"{SET} / supervised: attack, own head": State.FAILED,
    f"{SET} / supervised: probe on natural": State.FAILED,
    f"{SET} / masked: probe on natural": State.RUNNING,
    f"{SET} / masked: attack, probed on non-robust": State.STARTING,
}


def states(name: str, workflow: dict | None = None) -> dict[str, TaskState]:
    spec, content = kept(name)
    found = task_states(parse_workflow(json.dumps(workflow or content)), pipeline_tasks(spec))
    return {task.name: task for task in found}


def test_tasks_whose_keys_repeat_are_told_apart_and_cached_ones_named_as_such():
    assert {name: task.state for name, task in states("repetitions").items()} == {
        "the pipeline": State.SUCCEEDED,
        "configure": State.SUCCEEDED,
        "prepare data": State.CACHED,
        "repetition 1": State.SUCCEEDED,
        "repetition 2": State.SUCCEEDED,
        "repetition 1 / make robust": State.SUCCEEDED,
        "repetition 2 / make robust": State.SUCCEEDED,
    }


def test_failures_tries_and_waits_are_told():
    found = states("failures")
    assert {name: task.state for name, task in found.items()} == FAILURES
    assert found[f"{SET} / masked: probe on natural"].tries == 2
    assert found[f"{SET} / masked: attack, probed on non-robust"].message == "PodInitializing"
    driver, executor = failures(tuple(found.values()))
    assert (driver.name, driver.driver_failed) == (f"{SET} / supervised: attack, own head", True)
    assert (executor.name, executor.driver_failed) == (f"{SET} / supervised: probe on natural", False)
    assert executor.message == "main: Error (exit code 1)"


@pytest.mark.parametrize("name", ["repetitions", "failures"])
@pytest.mark.parametrize("change", ["packed", "plain", "2.16"])
def test_every_form_of_nodes_tells_the_same(name, change):
    _, content = kept(name)
    nodes = nodes_of(content)
    other = as_2_16(content) if change == "2.16" else with_nodes(content, nodes, packed=change == "packed")
    expected, found = states(name), states(name, other)
    assert {key: (task.state, task.tries) for key, task in found.items()} == {
        key: (task.state, task.tries) for key, task in expected.items()
    }


def test_a_level_that_is_tried_again_is_told_by_its_last_try():
    _, content = kept("repetitions")
    nodes = nodes_of(content)
    name = content["metadata"]["name"]
    again = f"{name}(0).root(0).repetition"
    for node in list(nodes.values()):
        if node["name"].startswith(f"{again}(0)"):
            node["phase"] = "Error"
    nodes["again"] = {"id": "again", "name": f"{again}(1)", "type": "DAG", "phase": "Running"}
    nodes[f"{name}-{fnv1a32(again)}"]["phase"] = "Running"
    for key, kind in ((".synthesize-driver", "Pod"), (".synthesize", "DAG")):
        nodes[key] = {"id": key, "name": f"{again}(1){key}", "type": kind, "phase": "Succeeded"}
    found = states("repetitions", with_nodes(content, nodes, packed=False))
    assert found["repetition 1"].state is State.RUNNING
    assert found["repetition 1 / make robust"].state is State.SUCCEEDED


def test_two_tasks_of_one_name_are_told_apart_by_their_keys():
    spec, content = kept("repetitions")
    spec["root"]["dag"]["tasks"]["repetition-2"]["taskInfo"]["name"] = "repetition 1"
    names = [task.name for task in pipeline_tasks(spec)]
    assert len(set(names)) == len(names)
    assert "repetition 1 / make robust (repetition-2.synthesize)" in names
    assert pipeline_tasks({"root": {"dag": {"tasks": {"a": {}}}}}) == ()
    assert {task.name for task in seen_tasks(parse_workflow(json.dumps(content)))} == {
        "the pipeline",
        "configure",
        "prepare-data",
        "repetition",
        "repetition-2",
        "repetition / synthesize",
        "repetition-2 / synthesize",
    }


@pytest.mark.parametrize("name", ["repetitions", "failures"])
def test_nodes_and_pods_have_the_names_that_argo_gives_them(name):
    workflow = parse_workflow(json.dumps(kept(name)[1]))
    logs = {node["id"]: node["outputs"]["artifacts"] for node in nodes_of(kept(name)[1]).values() if "outputs" in node}
    for node in (node for nodes in workflow.nodes.values() for node in nodes if node.name != workflow.name):
        assert node.id == f"{workflow.name}-{fnv1a32(node.name)}"
        for artifact in logs.get(node.id, []) if not node.name.endswith("(1)") else []:
            assert f"/{workflow.pod_name(node)}/main.log" in artifact["s3"]["key"]


def packed(content: bytes) -> str:
    return json.dumps({"metadata": {"name": "w"}, "status": {"compressedNodes": base64.b64encode(content).decode()}})


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ("", "no Workflow of it"),
        ("<html>Sign in</html>", "is no JSON"),
        ("[]", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"status": {"nodes": {}}}', "has no name"),
        ('{"metadata": {"name": "w"}, "status": {"offloadNodeStatusVersion": "fnv:1"}}', "nodeStatusOffLoad"),
        ('{"metadata": {"name": "w"}, "status": {"compressedNodes": "%%%"}}', "are no gzip"),
        (packed(b"neither"), "are no gzip"),
        (packed(gzip.compress(b'{"a": 1}', mtime=0)[:-9]), "are cut off"),
        (packed(gzip.compress(b"[1]", mtime=0)), "compressed nodes are no JSON"),
        (packed(gzip.compress(bytes(2**21), mtime=0)), "have over 1 MiB"),
    ],
)
def test_a_workflow_that_cannot_be_read_is_one_line_and_no_task(manifest, expected, kubeflow, server, monkeypatch):
    monkeypatch.setattr(workflows, "NODES_BYTES", 2**20)
    put(server, "failures", workflow=manifest)
    state = Watcher(kubeflow, "failures").look()
    assert state.tasks == ()
    assert state.unread.startswith(f"{NO_TASKS}: ")
    assert expected in state.unread
    assert "\n" not in state.unread


@pytest.mark.parametrize("nodes", [None, [], {"a": None}, {"a": {}}, {"a": {"name": "w", "inputs": []}}, "text"])
def test_nodes_of_another_form_are_no_tasks(nodes):
    workflow = parse_workflow(json.dumps({"metadata": {"name": "w"}, "status": {"nodes": nodes}}))
    assert {task.state for task in task_states(workflow, pipeline_tasks(kept("failures")[0]))} == {State.WAITING}
