"""The doctor's checks of room for a run's pods, each in its good and its bad case."""

import pytest
from doctor_need import HERE, IMAGE, findings
from kubernetes_server import limit_range, node, quota

from realfeatures.kubeflow.doctor.findings import Outcome
from realfeatures.kubeflow.doctor.need import Toleration


def test_gpus_are_counted_on_the_nodes_that_are_ready(cluster):
    gpu = {"accelerator": "nvidia.com/gpu"}
    assert findings(**gpu)["nodes"].text == "no node has nvidia.com/gpu"
    cluster.objects["/api/v1/nodes"].items = [node("a", gpus=2), node("b", gpus=4), node("c", gpus=8, ready=False)]
    assert findings(**gpu)["nodes"].text == "6 nvidia.com/gpu on a, b"
    cluster.objects["/api/v1/nodes"].items = [node("c", ready=False)]
    assert findings()["nodes"].outcome is Outcome.PROBLEM


@pytest.mark.parametrize(
    ("obstacle", "pod", "expected"),
    [
        ({}, {"cpu": "8"}, "worker: cpu 4"),
        ({}, {"memory": "17Gi"}, "worker: memory 16Gi"),
        ({"taint": "dedicated"}, {}, "worker: taint dedicated"),
        ({"cordoned": True}, {}, "worker: is cordoned"),
        ({"labels": {"pool": "cpu"}}, {"node_selector": {"pool": "a100"}}, "worker: no label pool=a100"),
    ],
)
def test_what_keeps_the_largest_pod_off_every_node_is_named(obstacle, pod, expected, cluster):
    cluster.objects["/api/v1/nodes"].items = [node("worker", **obstacle)]
    found = findings(**pod)["nodes"]
    assert found.outcome is Outcome.PROBLEM
    assert f"({expected})" in found.text
    cluster.objects["/api/v1/nodes"].items.append(node("other", labels={"pool": "a100"}))
    roomy = {name: value for name, value in pod.items() if name == "node_selector"}
    assert findings(**roomy)["nodes"].outcome is Outcome.OK


@pytest.mark.parametrize(
    ("toleration", "outcome"),
    [
        (Toleration(key="nvidia.com/gpu"), Outcome.OK),
        (Toleration(key="nvidia.com/gpu", operator="Equal", value="here"), Outcome.OK),
        (Toleration(key="nvidia.com/gpu", operator="Equal", value="there"), Outcome.PROBLEM),
        (Toleration(key="nvidia.com/gpu", effect="NoExecute"), Outcome.PROBLEM),
        (Toleration(key="dedicated"), Outcome.PROBLEM),
    ],
)
def test_a_tainted_node_takes_pods_that_tolerate_it(toleration, outcome, cluster):
    cluster.objects["/api/v1/nodes"].items = [node("a", gpus=1, taint="nvidia.com/gpu")]
    gpu = {"accelerator": "nvidia.com/gpu", "tolerations": (toleration,)}
    assert findings(**gpu)["nodes"].outcome is outcome


@pytest.mark.parametrize(
    ("named", "on_node", "policy", "outcome"),
    [
        (IMAGE, IMAGE, "IfNotPresent", Outcome.OK),
        ("realfeatures:cpu-1", "docker.io/library/realfeatures:cpu-1", "Never", Outcome.OK),
        ("realfeatures:cpu-2", "docker.io/library/realfeatures:cpu-1", "Never", Outcome.PROBLEM),
        (IMAGE, "another", "IfNotPresent", Outcome.UNKNOWN),
        (None, "another", "IfNotPresent", Outcome.UNKNOWN),
    ],
)
def test_an_image_that_is_never_pulled_has_to_be_on_a_node(named, on_node, policy, outcome, cluster):
    cluster.objects["/api/v1/nodes"].items = [node("a", images=(on_node,))]
    assert findings(image=named, pull_policy=policy)["image"].outcome is outcome


@pytest.mark.parametrize(
    ("hard", "used", "outcome"),
    [
        ({"requests.memory": "8Gi"}, {"requests.memory": "4Gi"}, Outcome.OK),
        ({"requests.memory": "8Gi"}, {"requests.memory": "4097Mi"}, Outcome.PROBLEM),
        ({"limits.cpu": "900m"}, {}, Outcome.PROBLEM),
        ({"pods": "1"}, {"pods": "1"}, Outcome.PROBLEM),
        ({"cpu": "500m"}, {}, Outcome.PROBLEM),
        ({"memory": "3Gi"}, {}, Outcome.PROBLEM),
        ({"count/pods": "0"}, {}, Outcome.PROBLEM),
        ({"persistentvolumeclaims": "0"}, {}, Outcome.OK),
    ],
)
def test_a_quota_has_to_leave_room_for_a_pod(hard, used, outcome, cluster):
    cluster.objects[f"{HERE}/resourcequotas"].items = [quota(hard, used)]
    found = findings()["quota"]
    assert found.outcome is outcome
    assert outcome is Outcome.OK or next(iter(hard)) in found.text


@pytest.mark.parametrize(
    ("hard", "expected"),
    [
        ({"requests.cpu": "3"}, "leaves room for 3 pods at a time of the widest stage's 12; the others wait"),
        ({"pods": "20", "limits.memory": "4Gi"}, "leaves room for a pod at a time of the widest stage's 12"),
        ({"pods": "20"}, "realfeatures leaves room for 12 pods"),
    ],
)
def test_a_quota_that_makes_pods_wait_is_told_and_no_problem(hard, expected, cluster):
    cluster.objects[f"{HERE}/resourcequotas"].items = [quota(hard, {})]
    found = findings(side_by_side=12)["quota"]
    assert found.outcome is Outcome.OK
    assert expected in found.text


def test_a_quota_of_gpus_counts_where_the_profile_asks_for_one(cluster):
    cluster.objects[f"{HERE}/resourcequotas"].items = [quota({"requests.nvidia.com/gpu": "0"}, {})]
    assert findings()["quota"].outcome is Outcome.OK
    assert findings(accelerator="nvidia.com/gpu")["quota"].outcome is Outcome.PROBLEM


def test_a_limit_below_the_profile_is_a_problem(cluster):
    cluster.objects[f"{HERE}/limitranges"].items = [limit_range({"memory": "2Gi"})]
    found = findings()["limits"]
    assert found.outcome is Outcome.PROBLEM
    assert found.remedy == "use --profile-set memory=2Gi, or change the limit"
    assert findings(memory="2Gi")["limits"].outcome is Outcome.OK


def test_a_limit_above_the_profile_is_a_problem(cluster):
    cluster.objects[f"{HERE}/limitranges"].items = [limit_range(least={"cpu": "2"})]
    assert findings()["limits"].text == "realfeatures wants at least 2 of cpu for a container"
    assert findings(cpu="2")["limits"].outcome is Outcome.OK
