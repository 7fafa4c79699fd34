"""The compiled pipeline: what its tasks run on, and what its file holds and does not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compiled_pipeline import Compile, Compiled, compiler
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec
from small_pipeline import IMAGE, SMALL

from realfeatures.errors import ConfigError, StorageError
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.kubeflow.batches import CONFIGURE, REPORT, RESULTS, Granularity
from realfeatures.kubeflow.spec import tasks
from realfeatures.pipelines.paper import check_profile, compile_pipeline
from realfeatures.pipelines.profiles import PROFILES, Profile
from realfeatures.running.plan import make_plan

SECRET = re.compile(r"AKIA[0-9A-Z]{16}|eyJ[\w-]{20}|(?i:password|token) *[=:] *\S")
"""A key of AWS's form, a token, or a value beside a name that asks for one."""
LIGHT = {CONFIGURE, RESULTS, REPORT}

FRESH = """
import sys
from pathlib import Path
from compiled_pipeline import compiler
from realfeatures.kubeflow.batches import Granularity
print(compiler(Path(sys.argv[1]))(sys.argv[2], Granularity.STAGE, 1).path)
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    return compiler(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module", params=PRESETS)
def pipeline(request, compiled: Compile) -> Compiled:
    return compiled(request.param, Granularity.STAGE, 1)


def compile_small(path: Path, *changes: str, profile: Profile = PROFILES["cpu"]):
    """Compile a few cells without a store."""
    plan = make_plan(load_preset("digits", [*SMALL, *changes]), seeds=[0])
    return compile_pipeline(plan, image=IMAGE, profile=profile, path=path)


def test_all_attempts_at_full_length_fit_into_the_window_of_the_retries(pipeline):
    stages = [use for use in pipeline.uses if use.path[-1] not in (CONFIGURE, REPORT)]
    for use in stages:
        policy, pod = pipeline.task(use)["retryPolicy"], pipeline.pods[pipeline.label(use)]
        retries, wait = policy["maxRetryCount"], seconds(policy["backoffDuration"])
        assert retries == PROFILES["cpu"].retries > 0
        waits = sum(wait * policy["backoffFactor"] ** number for number in range(retries))
        assert seconds(policy["backoffMaxDuration"]) >= (retries + 1) * int(pod["activeDeadlineSeconds"]) + waits


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def test_a_nested_pipeline_is_not_tried_again_as_a_whole(pipeline):
    components = pipeline.spec["components"]
    nested = [task for task in tasks(pipeline.spec) if "dag" in components[task["componentRef"]["name"]]]
    assert len(nested) > 1
    assert not any("retryPolicy" in task for task in nested)


@pytest.mark.parametrize("granularity", [Granularity.STAGE, Granularity.SET])
def test_the_first_and_the_last_task_are_never_cached_and_the_others_are(granularity, compiled):
    made = compiled("digits", granularity, 1)
    for use in made.uses:
        enabled = made.task(use)["cachingOptions"].get("enableCache", False)
        assert enabled is (use.path[-1] not in (CONFIGURE, REPORT)), str(use)


@pytest.mark.parametrize("granularity", [Granularity.STAGE, Granularity.SET])
def test_without_the_cache_nothing_is_taken_from_it(granularity, compiled):
    made = compiled("digits", granularity, 1, use_cache=False)
    assert [task["taskInfo"]["name"] for task in tasks(made.spec) if task["cachingOptions"] != {}] == []


def test_every_component_of_a_gpu_preset_has_one_gpu_but_for_the_light_ones(pipeline):
    on_gpu = pipeline.plan.preset.runtime.device == "cuda"
    for label, executor in pipeline.spec["deploymentSpec"]["executors"].items():
        light = label.removeprefix("exec-") in LIGHT
        found = executor["container"]["resources"].get("accelerator", {})
        wanted = {"nvidia.com/gpu": "1"} if on_gpu and not light else {}
        assert ({found["resourceType"]: found["resourceCount"]} if found else {}) == wanted
        shared = [mount["medium"] for mount in pipeline.pods[label]["emptyDirMounts"] if mount["volumeName"] == "shm"]
        assert shared == ([] if light else ["Memory"])


def test_a_task_of_little_work_asks_for_little_and_may_use_as_much_as_any(compiled):
    small, large = (compiled(name, Granularity.STAGE, 1) for name in ("digits", "paper"))
    resources = {
        label: one["container"]["resources"]
        for made in (small, large)
        for label, one in made.spec["deploymentSpec"]["executors"].items()
    }
    asked = {label: (one["resourceCpuRequest"], one["resourceMemoryRequest"]) for label, one in resources.items()}
    assert asked["exec-probe-small"] == asked["exec-pretrain-small"] == ("250m", "1Gi")
    assert asked["exec-attack"] == ("4", "24Gi")
    assert len(set(asked.values())) == 2  # the light ones ask for as little
    assert {one["resourceMemoryLimit"] for label, one in resources.items() if label == "exec-attack"} == {"24Gi"}
    stages = [label for label in small.spec["deploymentSpec"]["executors"] if label.removeprefix("exec-") not in LIGHT]
    assert all(label.endswith("-small") for label in stages)


def test_no_two_components_have_one_container_where_little_work_asks_for_as_much(tmp_path):
    same = PROFILES["cpu"].model_copy(update={"small_cpu": "1", "small_memory": "4Gi"})
    made = compile_small(tmp_path / "paper.yaml", profile=same)
    executors = made.specification[0]["deploymentSpec"]["executors"]
    assert len({json.dumps(one) for one in executors.values()}) == len(executors)
    assert not any(label.endswith("-small") for label in executors)


def test_a_pipeline_is_a_valid_pipeline_spec_with_valid_pods(pipeline):
    json_format.ParseDict(pipeline.spec, PipelineSpec())
    for executor in pipeline.spec["deploymentSpec"]["executors"].values():
        json_format.ParseDict(executor, PipelineDeploymentConfig.ExecutorSpec())
    for pod in pipeline.pods.values():
        json_format.ParseDict(pod, KubernetesExecutorConfig())


def test_pods_are_not_root_and_write_to_their_own_disk(pipeline):
    for pod in pipeline.pods.values():
        assert pod["securityContext"] == {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
        assert "/scratch" in {mount["mountPath"] for mount in pod["emptyDirMounts"]}


def test_every_task_runs_in_the_image_that_was_named(pipeline):
    executors = pipeline.spec["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {IMAGE}


def test_the_file_holds_the_specification_and_that_of_the_pods(pipeline):
    assert tuple(yaml.load_all(pipeline.path.read_text(), Loader=yaml.CSafeLoader)) == pipeline.fitted.specification


def test_a_pipeline_names_its_secret_and_holds_none(pipeline):
    for pod in pipeline.pods.values():
        (secret,) = pod["secretAsEnv"]
        assert secret["secretName"] == "realfeatures-store"
    assert not SECRET.search(pipeline.path.read_text())


def test_without_a_store_pods_have_no_secret(tmp_path):
    compile_small(tmp_path / "paper.yaml")
    text = (tmp_path / "paper.yaml").read_text()
    assert "secretAsEnv" not in text
    assert "REALFEATURES_STORE" not in text


def test_a_compiled_pipeline_holds_no_path_of_this_machine(pipeline):
    text = pipeline.path.read_text()
    assert str(Path(__file__).parents[2]) not in text
    assert str(Path.home()) + "/" not in text
    assert sys.prefix not in text


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("digits", "paper"))) for name in PRESETS]
)
def test_a_fresh_process_compiles_the_same_bytes_without_torch(name, compiled, tmp_path):
    words = [sys.executable, "-c", FRESH, str(tmp_path), name]
    support = {"PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[level]) for level in (0, 1))}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=support)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == compiled(name, Granularity.STAGE, 1).path.read_bytes()


def test_a_preset_for_a_gpu_needs_a_profile_with_one(tmp_path):
    with pytest.raises(ConfigError, match=r"runtime.device=cuda and profile cpu no accelerator; use --profile gpu"):
        compile_small(tmp_path / "paper.yaml", "runtime.device=cuda")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_this_machine_needs_a_store():
    preset = load_preset("digits", [*SMALL, "data=folder:pets", f"data.sha256={'a' * 64}"])
    with pytest.raises(ConfigError, match=r"pods cannot see a folder of this machine.*store mirror"):
        check_profile(preset, PROFILES["cpu"])


def test_weights_of_this_machine_are_refused():
    outside = {"paradigm": "outside", "architecture": "robustbench:resnet18", "weights": "robust.pt"}
    preset = load_preset("digits", [*SMALL, f"adversarial={json.dumps(outside)}"])
    with pytest.raises(ConfigError, match=r"adversarial.weights 'robust.pt': pods cannot see a file of this machine"):
        check_profile(preset, PROFILES["cpu"])


def test_a_place_that_cannot_be_written_is_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"choose a folder, not a file|cannot write"):
        compile_small(tmp_path / "file" / "paper.yaml")
