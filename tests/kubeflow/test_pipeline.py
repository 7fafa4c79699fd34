"""The compiled pipeline: whole, small enough, and free of torch."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec
from small_pipeline import IMAGE, SMALL

from realfeatures.components import STAGELESS
from realfeatures.errors import ConfigError, StorageError
from realfeatures.experiment.address import code_digest
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import cells
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.kubeflow.spec import port_name, tasks
from realfeatures.kubeflow.tasks.cells import ADDRESSES, CODE, resolve, slot, structure
from realfeatures.kubeflow.tasks.records import RECORD_BYTES
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import PROFILES, Profile, load_profile
from realfeatures.pipelines.size import MAX_WORKFLOW_BYTES, workflow_bytes

MAX_TASKS = 150
"""One seed's 122 cells of E3 and E4, their nested pipelines and their collecting tasks; Kubeflow starts two pods for
each."""
MAX_YAML_BYTES = 380 * 1024
MAX_ARGUMENT_BYTES = 128 * 1024
"""Linux' limit for one argument, by which a task gets all its inputs."""
MAX_NAME = 63
SECRET = re.compile(r"AKIA[0-9A-Z]{16}|eyJ[\w-]{20}|(?i:password|token) *[=:] *\S")
"""A key of AWS's form, a token, or a value beside a name that asks for one."""
PARTS = ("E1,E2", "E3,E4", "E5,E6,controls")
"""Experiments that fit into one workflow together, as docs/kubeflow.md says; with the decomposition they have every
stage and every nested pipeline."""
COMPILED = tuple((name, part) for name in ("digits", "paper") for part in PARTS)
QUICK = (("paper", PARTS[0]), ("digits", PARTS[2]))
"""What the default tests compile; the slow ones compile them all."""

STORE = ("store.location=s3://experiments/paper", "store.endpoint=http://store.example:9000")


def write(path: Path, preset: Preset, *, repetitions: int = 1, profile: Profile | None = None):
    """Compile a preset as the command line does: the profile by its device, with an object store."""
    chosen = profile or load_profile("gpu" if preset.runtime.device == "cuda" else "cpu", STORE)
    return compile_pipeline(preset, seed=0, repetitions=repetitions, image=IMAGE, profile=chosen, path=path)


def command(preset: str, path: Path, *words: str) -> subprocess.CompletedProcess:
    """Compile from the command line: a fresh process, since kfp walks through all that a process has loaded."""
    options = ["--preset", preset, "--image", IMAGE, "-o", str(path), *words]
    options += [word for assignment in STORE for word in ("--profile-set", assignment)]
    called = [sys.executable, "-m", "realfeatures.cli.main", "compile", *options]
    return subprocess.run(called, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Callable[[str, str], Path]:
    """Where a preset's part stands compiled; each is compiled once."""
    folder = tmp_path_factory.mktemp("compiled")

    @cache
    def path_of(name: str, part: str) -> Path:
        path = folder / f"{name}-{part}.yaml"
        done = command(name, path, "--experiments", part)
        assert done.returncode == 0, done.stderr
        return path

    return path_of


@pytest.fixture(
    params=[pytest.param(one, id=" ".join(one), marks=[pytest.mark.slow] * (one not in QUICK)) for one in COMPILED]
)
def chosen(request) -> tuple[str, str]:
    return request.param


@pytest.fixture
def preset(chosen) -> Preset:
    return load_preset(chosen[0], [f"experiments={chosen[1]}"])


@pytest.fixture
def path(compiled, chosen) -> Path:
    return compiled(*chosen)


@pytest.fixture
def spec(path) -> dict:
    return read(path)


@pytest.fixture
def pods(path) -> dict:
    return read_pods(path)


def read(path: Path) -> dict:
    return next(iter(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader)))


def read_pods(path: Path) -> dict:
    platform = list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))[1]
    return platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def levels(spec: dict) -> Iterator[dict]:
    yield spec["root"]
    yield from (component for component in spec["components"].values() if "dag" in component)


def text_of(task: dict) -> str | None:
    """Return what text a task takes: a root's task by its output of `configure`, a nested one by its selector."""
    source = task["inputs"]["parameters"].get("cell")
    if source is None:
        return None
    if "taskOutputParameter" in source:
        assert source["taskOutputParameter"]["producerTask"] == "configure"
        return source["taskOutputParameter"]["outputParameterKey"]
    assert source["componentInputParameter"] == "cells"
    return re.fullmatch(r'parseJson\(string_value\)\["(.*)"\]', source["parameterExpressionSelector"])[1]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("digits", "paper"))) for name in PRESETS]
)
def test_a_preset_compiles_without_torch(name, tmp_path):
    code = (
        "import sys; from pathlib import Path; from realfeatures.experiment.presets import load_preset;"
        "from realfeatures.pipelines.paper import compile_pipeline;"
        "from realfeatures.pipelines.profiles import load_profile;"
        f"compile_pipeline(load_preset({name!r}, ['experiments=E1']), seed=0, repetitions=1, image='i',"
        " profile=load_profile('gpu'), path=Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "paper.yaml")], check=True)


def test_every_cell_is_one_task(spec, preset):
    found = sorted(port_name(text) for task in tasks(spec) if (text := text_of(task)))
    assert found == sorted(port_name(slot(cell, [0])) for cell in cells(preset, [0]))


def test_every_text_that_a_task_takes_is_written_by_the_first_task(spec, preset):
    grid = cells(preset, [0])
    resolved = resolve(
        preset.model_dump_json(), seed=7, repetitions=1, overrides="{}", expected_structure=structure(grid, [0])
    )
    written = spec["components"]["comp-configure"]["outputDefinitions"]["parameters"]
    root = spec["root"]["dag"]["tasks"].values()
    assert {text for task in root if (text := text_of(task))} <= set(written)
    nested = [task for level in levels(spec) if level is not spec["root"] for task in level["dag"]["tasks"].values()]
    assert {text for task in nested if (text := text_of(task))} <= set(resolved.texts)


def test_the_top_level_reads_as_the_paper(compiled):
    names = {task["taskInfo"]["name"] for task in read(compiled("paper", "E1,E2"))["root"]["dag"]["tasks"].values()}
    assert names == {
        "configure",
        "prepare data",
        "supervised: train",
        "adversarial source",
        "robust images",
        "non-robust images",
        "d-rand images",
        "natural: evaluate",
        "robust: evaluate",
        "non-robust: evaluate",
        "d-rand: evaluate",
        "raw pixels and untrained ResNets",
        "untrained ViTs and U-Nets",
        "attacks from robust images",
        "report",
    }


def test_names_are_human_and_short(spec):
    for level in levels(spec):
        names = [task["taskInfo"]["name"] for task in level["dag"]["tasks"].values()]
        assert len(set(names)) == len(names)
        assert all(len(name) <= MAX_NAME and "_" not in name for name in names)


def test_a_pipeline_is_a_valid_pipeline_spec(spec):
    json_format.ParseDict(spec, PipelineSpec())
    for executor in spec["deploymentSpec"]["executors"].values():
        json_format.ParseDict(executor, PipelineDeploymentConfig.ExecutorSpec())


def test_pods_are_valid_executor_configurations(spec, pods):
    assert set(pods) == set(spec["deploymentSpec"]["executors"])
    for pod in pods.values():
        json_format.ParseDict(pod, KubernetesExecutorConfig())


def test_pods_are_not_root_and_write_to_their_own_disk(pods):
    for pod in pods.values():
        assert pod["securityContext"] == {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
        assert "/scratch" in {mount["mountPath"] for mount in pod["emptyDirMounts"]}


def test_a_stage_has_memory_as_dev_shm_a_time_limit_and_retries(spec, pods):
    for label, pod in pods.items():
        stage = not any(name in label for name in STAGELESS)
        shared = [mount for mount in pod["emptyDirMounts"] if mount["volumeName"] == "shm"]
        assert [mount["medium"] for mount in shared] == (["Memory"] if stage else [])
        assert int(pod["activeDeadlineSeconds"]) > 0
    for task in tasks(spec):
        if text_of(task):
            assert task["retryPolicy"]["maxRetryCount"] == PROFILES["cpu"].retries
            assert task["retryPolicy"]["backoffFactor"] == 2


def test_every_stage_of_a_gpu_preset_has_one_gpu_and_the_rest_none(compiled):
    for label, executor in read(compiled("paper", "E1,E2"))["deploymentSpec"]["executors"].items():
        accelerator = executor["container"]["resources"].get("accelerator", {})
        wanted = not any(name in label for name in STAGELESS)
        assert (accelerator.get("resourceType") == "nvidia.com/gpu") is wanted
        assert accelerator.get("resourceCount", "0") == ("1" if wanted else "0")


def test_a_pipeline_names_its_secret_and_holds_none(path, pods):
    for pod in pods.values():
        (secret,) = pod["secretAsEnv"]
        assert secret["secretName"] == "realfeatures-store"
    assert not SECRET.search(path.read_text())


def test_without_a_store_pods_have_no_secret(tmp_path):
    write(tmp_path / "paper.yaml", load_preset("digits", SMALL), profile=load_profile("cpu"))
    assert all("secretAsEnv" not in pod for pod in read_pods(tmp_path / "paper.yaml").values())
    assert "REALFEATURES_STORE" not in (tmp_path / "paper.yaml").read_text()


def test_a_preset_for_a_gpu_needs_a_profile_with_one(tmp_path):
    with pytest.raises(ConfigError, match=r"runtime.device=cuda and profile cpu no accelerator; use --profile gpu"):
        write(tmp_path / "paper.yaml", load_preset("paper"), profile=load_profile("cpu"))


def test_a_folder_of_this_machine_needs_a_store(tmp_path):
    preset = load_preset("digits", ["data=folder:pets", f"data.sha256={'a' * 64}"])
    with pytest.raises(ConfigError, match=r"pods cannot see a folder of this machine.*store mirror"):
        write(tmp_path / "paper.yaml", preset, profile=load_profile("cpu"))


def test_every_task_runs_in_the_image_that_was_named(spec):
    executors = spec["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {IMAGE}


def test_no_reference_dangles(spec):
    defined, executors = spec["components"], spec["deploymentSpec"]["executors"]
    assert {c["executorLabel"] for c in defined.values() if "executorLabel" in c} == set(executors)
    used = {task["componentRef"]["name"] for task in tasks(spec)}
    assert used == set(defined)
    for level in levels(spec):
        for task in level["dag"]["tasks"].values():
            check_task(task, level, defined)
        for name, output in level["dag"].get("outputs", {}).get("artifacts", {}).items():
            (selector,) = output["artifactSelectors"]
            producer = level["dag"]["tasks"][selector["producerSubtask"]]
            outputs = defined[producer["componentRef"]["name"]]["outputDefinitions"]["artifacts"]
            assert selector["outputArtifactKey"] in outputs
            assert name in level["outputDefinitions"]["artifacts"]


def check_task(task: dict, level: dict, defined: dict) -> None:
    """Assert that a task's inputs are ports of its component, and come from where there is such an output."""
    siblings = level["dag"]["tasks"]
    assert set(task.get("dependentTasks", ())) <= set(siblings)
    inputs = defined[task["componentRef"]["name"]].get("inputDefinitions", {})
    for kind, name_of_kind in (("artifacts", "Artifact"), ("parameters", "Parameter")):
        given = task.get("inputs", {}).get(kind, {})
        ports = inputs.get(kind, {})
        required = {name for name, port in ports.items() if not port.get("isOptional")}
        # kfp adds an input for each output that stands inside a list.
        assert required <= set(given)
        assert {name for name in given if not name.startswith("pipelinechannel--")} <= set(ports)
        for source in given.values():
            if produced := source.get(f"taskOutput{name_of_kind}"):
                assert produced["producerTask"] in task["dependentTasks"]
                producer = defined[siblings[produced["producerTask"]]["componentRef"]["name"]]
                key = produced[f"output{name_of_kind}Key"]
                assert key in producer["outputDefinitions"][kind]
            elif handed := source.get(f"componentInput{name_of_kind}"):
                assert handed in level["inputDefinitions"][kind]
            else:
                assert "runtimeValue" in source


def test_the_code_digest_is_in_the_cache_key_of_every_task(spec):
    """In a cell's text, in what `collect` takes of the texts, or as a constant of its own."""
    for task in tasks(spec):
        inputs = task["inputs"]["parameters"]
        if "code" in inputs:
            assert inputs["code"]["runtimeValue"]["constant"] == code_digest()
        elif "version" in inputs:
            assert any(f'["{name}"]' in inputs["version"]["parameterExpressionSelector"] for name in (CODE, ADDRESSES))
        else:
            assert text_of(task) or "cells" in inputs


def test_the_run_form_asks_for_seed_overrides_and_name(spec, preset):
    fields = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: (field["parameterType"], field["defaultValue"]) for name, field in fields.items()} == {
        "seed": ("NUMBER_INTEGER", 0),
        "overrides": ("STRING", "{}"),
        "run_name": ("STRING", preset.name),
    }


def test_a_pipeline_stays_under_its_caps(spec, pods, path):
    assert len(tasks(spec)) <= MAX_TASKS
    assert workflow_bytes(spec, pods) <= MAX_WORKFLOW_BYTES
    assert path.stat().st_size <= MAX_YAML_BYTES


def test_a_nested_pipelines_records_fit_into_one_argument(spec):
    for task in tasks(spec):
        inputs = task["inputs"]["parameters"]
        # Twice: once as an input of its own, once inside the list.
        records = sum(name.startswith("pipelinechannel--") for name in inputs)
        constants = sum(len(str(value["runtimeValue"])) for value in inputs.values() if "runtimeValue" in value)
        assert 2 * records * RECORD_BYTES + 2 * constants < MAX_ARGUMENT_BYTES


def test_a_compiled_pipeline_holds_no_path_of_this_machine(path):
    text = path.read_text()
    assert str(Path(__file__).parents[2]) not in text
    assert str(Path.home()) + "/" not in text
    assert sys.prefix not in text


def test_compiling_twice_gives_the_same_bytes(compiled, tmp_path):
    name, part = QUICK[1]
    assert command(name, tmp_path / "again.yaml", "--experiments", part).returncode == 0
    assert (tmp_path / "again.yaml").read_bytes() == compiled(name, part).read_bytes()


@pytest.mark.parametrize(
    "words", [pytest.param((), marks=pytest.mark.slow), ("--experiments", "E1,E2", "--repetitions", "2")]
)
def test_more_cells_than_a_workflow_holds_are_refused_and_nothing_is_written(words, tmp_path):
    done = command("digits", tmp_path / "paper.yaml", *words)
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: .*KiB as an Argo workflow.*--experiments E1,E2, or fewer --repetitions.*\n", done.stderr
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("repetitions", [0, 19])
def test_a_number_of_repetitions_that_no_pipeline_takes_is_an_error(repetitions, tmp_path):
    with pytest.raises(ConfigError, match="a pipeline takes 1 to 18"):
        write(tmp_path / "paper.yaml", load_preset("digits", SMALL), repetitions=repetitions)


def test_two_repetitions_of_a_small_experiment_are_two_nested_pipelines(tmp_path):
    path = tmp_path / "paper.yaml"
    write(path, load_preset("digits", [*SMALL, "features=natural,non_robust"]), repetitions=2)
    names = {task["taskInfo"]["name"] for task in read(path)["root"]["dag"]["tasks"].values()}
    assert names == {"configure", "prepare data", "repetition 1", "repetition 2", "report"}


def test_a_place_that_cannot_be_written_is_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"choose a folder, not a file|cannot write"):
        write(tmp_path / "file" / "paper.yaml", load_preset("digits", SMALL))
