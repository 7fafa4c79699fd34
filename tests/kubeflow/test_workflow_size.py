"""A pipeline's size on a cluster, beside Workflows that a real Kubeflow 2.17 wrote.

workflows/ holds the pipelines, what their tasks wrote at run time, and what was counted in the Workflows: bytes of
JSON without spaces, as Go writes it. No Workflow of a 2.16 was at hand: `without_template_retries` are the same nodes
but for the Retry nodes that a 2.16 does not make, compressed again, times node_status.GO_TO_ZLIB.
"""

import gzip
import json
import random
import re
from pathlib import Path

import pytest
import yaml
from made_up_pipeline import Pipeline, made_up, texts

from realfeatures.errors import ConfigError
from realfeatures.pipelines.drivers import drive, parameter_defaults
from realfeatures.pipelines.go_json import go_json, whole_numbers
from realfeatures.pipelines.node_status import SUFFIX, compressed_bytes, node_status
from realfeatures.pipelines.workflow import KUBEFLOW_2_16, KUBEFLOW_2_17, SCHEDULE_BYTES, Installation, compile_workflow
from realfeatures.pipelines.workflow_size import (
    MAX_ARGUMENT_BYTES,
    MAX_SCHEDULED_BYTES,
    MAX_WORKFLOW_BYTES,
    WorkflowSize,
    require_size,
    workflow_size,
)

WORKFLOWS = Path(__file__).parent / "workflows"
MEASURED = json.loads((WORKFLOWS / "measured.json").read_text())
AT_RUN_TIME = json.loads(gzip.decompress((WORKFLOWS / "at_run_time.json.gz").read_bytes()))

FINISHED = pytest.mark.parametrize("name", sorted(AT_RUN_TIME))
ANYWHERE = pytest.mark.parametrize("installation", [KUBEFLOW_2_17, KUBEFLOW_2_16], ids=lambda one: one.name)
NODES_A_TASK = pytest.mark.parametrize(
    ("installation", "retried", "nodes"),
    [(KUBEFLOW_2_17, True, 6), (KUBEFLOW_2_17, False, 6), (KUBEFLOW_2_16, True, 4), (KUBEFLOW_2_16, False, 3)],
)

UNLIKE = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # UUIDs
    r'|(?<="--execution_id",")\d+'
    r'|(?<=\{\\"name\\":\\")\d+'  # of artifacts
)
"""What differs from run to run in the patch of a pod."""

FITTING = WorkflowSize(spec=400_000, state=600_000, scheduled=480_000, longest_argument=50_000)


def real(name: str) -> Pipeline:
    text = gzip.decompress((WORKFLOWS / f"{name}.pipeline.yaml.gz").read_bytes())
    spec, platform = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return Pipeline(spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"])


def real_size(name: str, *, installation: Installation = KUBEFLOW_2_17, suffix: str = SUFFIX) -> WorkflowSize:
    run = {"values": MEASURED[name]["values"], "cached": MEASURED[name]["cached"]}
    outputs = AT_RUN_TIME[name]["outputs"]
    return workflow_size(*real(name), outputs=outputs, installation=installation, suffix=suffix, **run)


def nodes_of(pipeline: Pipeline, outputs=None, *, values=None, cached=(), installation=KUBEFLOW_2_17) -> dict:
    spec = whole_numbers(pipeline.spec)
    given = {**parameter_defaults(spec["root"]), **(values or {})}
    workflow = compile_workflow(spec, pipeline.pods, values=given)
    root = drive(workflow, values=given, outputs=outputs or {}, cached=cached)
    return node_status(workflow, root, values=given, installation=installation)


def real_nodes(name: str, installation: Installation = KUBEFLOW_2_17) -> dict:
    run = {"values": MEASURED[name]["values"], "cached": MEASURED[name]["cached"]}
    return nodes_of(real(name), AT_RUN_TIME[name]["outputs"], installation=installation, **run)


def counted(name: str, installation: Installation) -> dict:
    measured = MEASURED[name]
    return measured if installation is KUBEFLOW_2_17 else measured["without_template_retries"]


def json_bytes(nodes: dict) -> int:
    return len(go_json(nodes, in_order=True).encode())


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_a_spec_is_as_large_as_on_the_cluster(name):
    size = workflow_size(*real(name), outputs={}, values=MEASURED[name]["values"])
    assert size.spec == pytest.approx(MEASURED[name]["spec"], rel=0.001)


@FINISHED
@ANYWHERE
def test_a_state_is_as_large_as_on_the_cluster(name, installation):
    size = real_size(name, installation=installation)
    assert size.state == pytest.approx(counted(name, installation)["state"], rel=0.08)


@FINISHED
def test_a_state_is_met_closely_where_the_workflows_name_is_known(name):
    size = real_size(name, suffix=MEASURED[name]["suffix"])
    assert size.state == pytest.approx(MEASURED[name]["state"], rel=0.02)


@FINISHED
@ANYWHERE
def test_nodes_are_as_many_and_as_long_as_on_the_cluster(name, installation):
    nodes = real_nodes(name, installation)
    assert len(nodes) == counted(name, installation)["nodes"]
    assert json_bytes(nodes) == pytest.approx(counted(name, installation)["nodes_bytes"], rel=0.003)
    assert list(nodes) == sorted(nodes)


@FINISHED
def test_the_patch_of_a_pod_is_the_clusters_own_text(name):
    expected = AT_RUN_TIME[name]["patch"]
    path = "".join(f".{key}(0)" for key in ["root", *expected["task"].split("/")])
    (node,) = (node for node in real_nodes(name).values() if node["name"].endswith(path))
    patch = node["inputs"]["parameters"][0]["value"]
    assert UNLIKE.sub("?", patch) == UNLIKE.sub("?", expected["text"])


def test_a_state_without_the_drivers_nodes_would_be_seen():
    nodes = real_nodes("encoders")
    executors = {key: node for key, node in nodes.items() if not node["templateName"].endswith("-driver")}
    assert len(executors) == 971 - 2 * 163
    assert compressed_bytes(executors) < 0.8 * MEASURED["encoders"]["state"]


def test_a_task_from_the_cache_leaves_a_small_state():
    outputs = {"probe/result": '{"kind": "probe"}'}
    every = workflow_size(*made_up(), outputs=outputs)
    some = workflow_size(*made_up(), outputs=outputs, cached={"part-0/probe", "part-1/probe"})
    assert some.spec == every.spec
    assert some.state < every.state - 800


@NODES_A_TASK
def test_installation_and_retries_decide_how_many_nodes_a_task_has(installation, retried, nodes):
    pipeline = made_up() if retried else made_up(policy=None)
    names = [node["name"] for node in nodes_of(pipeline, texts(), installation=installation).values()]
    assert len([name for name in names if re.search(r"\.part-0(\(0\))?\.probe", name)]) == nodes


@NODES_A_TASK
def test_a_text_stands_once_in_every_node_of_its_task(installation, retried, nodes):
    pipeline = made_up() if retried else made_up(policy=None)
    short, long = (
        json_bytes(nodes_of(pipeline, texts(probe="p" * length), installation=installation)) for length in (1, 1001)
    )
    # The made-up container has it among its arguments besides; there are two parts.
    assert long - short == 2 * nodes * 2 * 1000


def test_a_longer_text_costs_state_and_no_spec():
    drawn = random.Random(0).randbytes(4000).hex()
    short, long = (workflow_size(*made_up(), outputs=texts(parts=2, probe=text)) for text in ("", drawn))
    assert long.spec == short.spec
    # Hexadecimal digits hold 4 bits each; base64 makes 4 bytes of 3.
    assert long.state - short.state > 4000 * 4 / 3
    assert long.longest_argument > 8000 > short.longest_argument


def test_pipelines_and_containers_are_stored_once_by_name_and_run_as_often_as_they_are_used():
    shared = made_up(parts=("comp-one", "comp-one"), work=("comp-work", "comp-work"))
    for apart in (
        made_up(parts=("comp-one", "comp-two"), work=("comp-work", "comp-work")),
        made_up(parts=("comp-one", "comp-one"), work=("comp-work", "comp-play")),
    ):
        one, other = (workflow_size(*pipeline, outputs=texts()) for pipeline in (shared, apart))
        assert one.spec < other.spec - 60
        assert json_bytes(nodes_of(shared, texts())) == json_bytes(nodes_of(apart, texts()))
        assert one.state == pytest.approx(other.state, rel=0.01)


def test_a_third_use_costs_a_task_of_spec_and_a_whole_part_of_state():
    two, three = (workflow_size(*made_up(parts=("comp-one",) * number), outputs=texts(number)) for number in (2, 3))
    assert 1000 < three.spec - two.spec < 2500
    assert len(nodes_of(made_up(("comp-one",) * 3))) - len(nodes_of(made_up(("comp-one",) * 2))) == 4 + 2 * 6


def test_tasks_of_one_key_in_sister_pipelines_have_texts_and_outputs_of_their_own():
    inner = [json.dumps({"probe": f"probe of {part}", "attack": f"attack of {part}"}) for part in range(2)]
    outputs = {
        "configure/cells": json.dumps({"0": inner[0], "1": inner[1]}),
        "result": '{"kind": "any"}',
        "part-1/probe/result": '{"kind": "second"}',
    }
    patches = {
        node["name"]: go_json(node["inputs"]) for node in nodes_of(made_up(), outputs).values() if node.get("inputs")
    }
    first, second = (
        next(text for name, text in patches.items() if name.endswith(f"part-{part}(0).attack(0).executor(0)"))
        for part in range(2)
    )
    assert "attack of 0" in first
    assert "attack of 1" in second
    assert "attack of 1" not in first
    assert "any" in first
    assert "second" not in first
    assert "second" in second


def test_what_is_not_known_is_taken_to_be_empty():
    assert workflow_size(*made_up(), outputs={}).state < workflow_size(*made_up(), outputs=texts()).state


def test_equal_containers_share_the_first_specification_and_keep_their_own_pods():
    pipeline = made_up(work=("comp-work", "comp-play"))
    containers = pipeline.spec["deploymentSpec"]["executors"]
    containers["exec-play"] = containers["exec-work"]
    pipeline.spec["components"]["comp-play"]["executorLabel"] = "exec-play"
    pipeline.pods["exec-play"] = {"activeDeadlineSeconds": "99"}
    (attack,) = (node for node in nodes_of(pipeline).values() if node["name"].endswith("part-0(0).attack(0)"))
    patch = json.loads(attack["inputs"]["parameters"][0]["value"])
    assert patch["activeDeadlineSeconds"] == 99
    # Tasks are visited by their keys: `attack` before `probe`.
    assert "exec-play" in go_json(patch)
    assert all("exec-work" not in go_json(node.get("inputs")) for node in nodes_of(pipeline).values())


@pytest.mark.parametrize("text", ['{"0": "{}"}', "{}", "no JSON", '"a text"'])
def test_a_text_that_lacks_what_is_selected_is_refused(text):
    with pytest.raises(ConfigError, match="no such key"):
        workflow_size(*made_up(), outputs={"cells": text})


def test_another_form_of_selection_is_refused():
    pipeline = made_up()
    probe = pipeline.spec["components"]["comp-one"]["dag"]["tasks"]["probe"]
    probe["inputs"]["parameters"]["text"]["parameterExpressionSelector"] = "string_value.size()"
    with pytest.raises(ConfigError, match="expected parseJson"):
        workflow_size(*pipeline, outputs=texts())


def test_a_pipeline_of_this_project_has_a_size(paper):
    spec, platform = yaml.load_all(paper.read_text(), Loader=yaml.CSafeLoader)
    size = workflow_size(spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"], outputs={})
    assert 30_000 < size.spec < size.scheduled
    assert size.state > 15_000
    require_size(size, scheduled=True)


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_a_pinned_pipeline_has_a_backslash_for_each_of_its_quotes(name):
    size = workflow_size(*real(name), outputs={}, values=MEASURED[name]["values"])
    assert size.scheduled == pytest.approx(MEASURED[name]["spec_as_text"] + SCHEDULE_BYTES, rel=0.001)


@FINISHED
def test_the_longest_argument_is_the_clusters(name):
    assert real_size(name).longest_argument == pytest.approx(MEASURED[name]["longest_argument"], rel=0.001)


def test_the_longest_argument_is_found_wherever_it_stands():
    constant = workflow_size(*made_up(argument="c" * MAX_ARGUMENT_BYTES), outputs=texts())
    assert constant.longest_argument > MAX_ARGUMENT_BYTES
    with pytest.raises(ConfigError, match="an argument of 129 KiB, and Linux takes 128 KiB"):
        require_size(constant)


@pytest.mark.parametrize(
    ("changes", "options", "refusal"),
    [
        (
            {"state": MAX_WORKFLOW_BYTES - 399_999},
            {},
            "391 KiB as an Argo workflow and the state of its run 634 KiB.* 1024 KiB",
        ),
        ({}, {"limit": 999_999}, "391 KiB as .* 586 KiB.* 977 KiB"),
        ({"scheduled": MAX_SCHEDULED_BYTES + 1}, {"scheduled": True}, "1537 KiB as a recurring run"),
        ({"longest_argument": MAX_ARGUMENT_BYTES + 1}, {}, "an argument of 128 KiB"),
    ],
)
def test_what_a_cluster_cannot_hold_is_refused_in_one_line(changes, options, refusal):
    with pytest.raises(ConfigError, match=refusal) as raised:
        require_size(WorkflowSize(**{**vars(FITTING), **changes}), **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {}),
        ({"state": MAX_WORKFLOW_BYTES - 400_000}, {}),
        ({"state": 2 * MAX_WORKFLOW_BYTES}, {"limit": 3 * MAX_WORKFLOW_BYTES}),
        ({"scheduled": MAX_SCHEDULED_BYTES + 1}, {}),
        ({"scheduled": MAX_SCHEDULED_BYTES}, {"scheduled": True}),
        ({"longest_argument": MAX_ARGUMENT_BYTES}, {}),
    ],
)
def test_what_fits_is_not_refused(changes, options):
    require_size(WorkflowSize(**{**vars(FITTING), **changes}), **options)
