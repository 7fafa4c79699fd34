"""The patch of a task's pod, where no Workflow of a real Kubeflow shows it: tests/kubeflow/test_workflow_size.py."""

import json

import pytest

from realfeatures.pipelines.pod_patch import container_words, pod_spec_patch
from realfeatures.pipelines.profiles import Work, load_profile


def test_all_that_a_profile_sets_is_in_the_patch_of_a_pod():
    profile = load_profile(
        "gpu", ["store.location=s3://bucket", 'image_pull_secrets=["registry"]', 'node_selector={"a": "b"}']
    )
    resources = {"resourceCpuLimit": "1.5", "resourceMemoryLimit": "24Gi", "resourceCpuRequest": "0.05"}
    accelerator = {"accelerator": {"type": "nvidia.com/gpu", "count": "1"}}
    container = {"image": "example/image:1", "resources": {**resources, **accelerator}}
    patch = json.loads(pod_spec_patch(container, profile.pod(Work.LARGE), command=["launch"], words=["work"]))
    (main,) = patch.pop("containers")
    assert main["resources"] == {
        "limits": {"cpu": "1500m", "memory": "24Gi", "nvidia.com/gpu": "1"},
        "requests": {"cpu": "50m"},
    }
    secret = {"name": "realfeatures-store", "key": "accesskey", "optional": False}
    assert main["env"][0] == {"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": secret}}
    assert patch == {
        "volumes": [
            {"name": "scratch", "emptyDir": {"sizeLimit": "50Gi"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
        ],
        "activeDeadlineSeconds": 24 * 3600,
        "nodeSelector": {"a": "b"},
        "imagePullSecrets": [{"name": "registry"}],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        ("{{$.inputs.parameters['seed']}}", "3"),
        ("--text={{$.inputs.parameters['text']}}", "--text=a text"),
        ("{{$.inputs.parameters['unknown']}}", ""),
        ("{{$.outputs.parameters['text'].output_file}}", "{{$.outputs.parameters['text'].output_file}}"),
        ("{{$.outputs.artifacts['a'].path}}/{{$.inputs.parameters['seed']}}",) * 2,
        ("{{$.inputs.artifacts['encoder'].path}}", "{{$.inputs.artifacts['encoder'].path}}"),
        ("{{$}}", "{{$}}"),
    ],
)
def test_the_driver_fills_in_parameters_and_leaves_the_rest_to_the_launcher(word, filled):
    assert container_words({"command": ["work"], "args": [word]}, {"seed": 3, "text": "a text"}) == ["work", filled]
