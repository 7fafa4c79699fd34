"""The compiled pipeline: whole, small enough, free of torch, and equal in its results to the one-machine run."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp import components, local
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec

from realfeatures.artifacts import read_manifest
from realfeatures.errors import ConfigError, StorageError
from realfeatures.grid import cells
from realfeatures.kfp_runtime import RECORD_BYTES, parse_cell
from realfeatures.local_run import run_experiment
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.size import MAX_WORKFLOW_BYTES, tasks, workflow_bytes
from realfeatures.presets import PRESETS, load_preset
from realfeatures.provenance import code_digest

IMAGE = "registry.example/realfeatures@sha256:" + "0" * 64
MAX_TASKS = 150
"""One seed's 115 cells, their nested pipelines and their collecting tasks; Kubeflow starts two pods for each."""
MAX_YAML_BYTES = 320 * 1024
MAX_ARGUMENT_BYTES = 128 * 1024
"""Linux' limit for one argument, by which a task gets all its inputs."""
MAX_NAME = 63

TINY = (
    "controls=[]",
    "data.train_size=120",
    "data.test_size=40",
    "supervised.optimizer.epochs=2",
    "supervised.optimizer.warmup_epochs=0",
    "contrastive.optimizer.epochs=2",
    "contrastive.optimizer.warmup_epochs=0",
    "non_robust.steps=3",
    "probe.epochs=2",
    "attack.images=20",
    "attack.pgd_steps=2",
    "attack.autoattack=[]",
    "attack.autoattack_images=20",
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("compiled")
    paths = {name: folder / f"{name}.yaml" for name in PRESETS}
    for name, path in paths.items():
        compile_pipeline(load_preset(name), seeds=[0], image=IMAGE, path=path)
    return paths


@pytest.fixture(params=PRESETS)
def spec(compiled, request) -> dict:
    return read(compiled[request.param])


def read(path: Path) -> dict:
    return yaml.load(path.read_text(), Loader=yaml.CSafeLoader)


def levels(spec: dict) -> Iterator[dict]:
    yield spec["root"]
    yield from (component for component in spec["components"].values() if "dag" in component)


def constant(task: dict, name: str) -> str:
    return task["inputs"]["parameters"][name]["runtimeValue"]["constant"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_compiles_without_torch(preset, tmp_path):
    code = (
        "import sys; from pathlib import Path; from realfeatures.presets import load_preset;"
        "from realfeatures.pipelines.paper import compile_pipeline;"
        f"compile_pipeline(load_preset({preset!r}), seeds=[0], image='i', path=Path(sys.argv[1]));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "paper.yaml")], check=True)


def test_every_cell_is_one_task(compiled):
    for name, path in compiled.items():
        preset = load_preset(name)
        texts = [constant(task, "cell") for task in tasks(read(path)) if "cell" in task["inputs"].get("parameters", {})]
        found = {cell.key: cell for cell, _ in map(parse_cell, texts)}
        assert len(found) == len(texts)
        assert {key: cell.config for key, cell in found.items()} == {
            cell.key: cell.config for cell in cells(preset, [0])
        }


def test_the_top_level_reads_as_the_paper(compiled):
    names = {task["taskInfo"]["name"] for task in read(compiled["paper"])["root"]["dag"]["tasks"].values()}
    assert names == {
        "prepare data",
        "supervised: pretrain",
        "adversarial: train source",
        "make robust images",
        "make non-robust images",
        "make d-rand images",
        "evaluate natural features",
        "evaluate robust features",
        "evaluate non-robust features",
        "evaluate d-rand features",
        "probe natural encoders on crafted features",
        "evaluate controls",
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
    for level in levels(spec):
        for task in level["dag"]["tasks"].values():
            code = task["inputs"]["parameters"]["code"]
            if level is spec["root"]:
                assert code["runtimeValue"]["constant"] == code_digest()
            else:
                assert code == {"componentInputParameter": "code"}


def test_a_pipeline_stays_under_its_caps(spec, compiled):
    assert len(tasks(spec)) <= MAX_TASKS
    assert workflow_bytes(spec) <= MAX_WORKFLOW_BYTES
    assert max(path.stat().st_size for path in compiled.values()) <= MAX_YAML_BYTES


def test_a_nested_pipelines_records_fit_into_one_argument(spec):
    for task in tasks(spec):
        inputs = task["inputs"]["parameters"]
        # Twice: once as an input of its own, once inside the list.
        records = sum(name.startswith("pipelinechannel--") for name in inputs)
        constants = sum(len(str(value["runtimeValue"])) for value in inputs.values() if "runtimeValue" in value)
        assert 2 * records * RECORD_BYTES + 2 * constants < MAX_ARGUMENT_BYTES


def test_a_compiled_pipeline_holds_no_path_of_this_machine(compiled):
    for path in compiled.values():
        text = path.read_text()
        assert str(Path(__file__).parents[1]) not in text
        assert str(Path.home()) + "/" not in text
        assert sys.prefix not in text


def test_compiling_twice_gives_the_same_bytes(compiled, tmp_path):
    compile_pipeline(load_preset("digits"), seeds=[0], image=IMAGE, path=tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == compiled["digits"].read_bytes()


def test_more_seeds_than_a_workflow_holds_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"KiB as an Argo workflow.*one seed at a time"):
        compile_pipeline(load_preset("digits"), seeds=[0, 1], image=IMAGE, path=tmp_path / "paper.yaml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seeds", [[], list(range(7))])
def test_a_number_of_seeds_that_no_pipeline_takes_is_an_error(seeds, tmp_path):
    with pytest.raises(ConfigError, match="a pipeline takes 1 to 6"):
        compile_pipeline(load_preset("digits", TINY), seeds=seeds, image=IMAGE, path=tmp_path / "paper.yaml")


def test_two_seeds_of_a_small_experiment_are_two_nested_pipelines(tmp_path):
    path = tmp_path / "paper.yaml"
    preset = load_preset("digits", [*TINY, "paradigms=supervised", "features=natural,non_robust"])
    compile_pipeline(preset, seeds=[3, 5], image=IMAGE, path=path)
    names = {task["taskInfo"]["name"] for task in read(path)["root"]["dag"]["tasks"].values()}
    assert names == {"prepare data", "seed 3", "seed 5", "report"}


def test_a_place_that_cannot_be_written_is_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"choose a folder, not a file|cannot write"):
        compile_pipeline(load_preset("digits"), seeds=[0], image=IMAGE, path=tmp_path / "file" / "paper.yaml")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("selection", "seeds"),
    [
        (("paradigms=supervised,contrastive", "features=natural,non_robust"), (0,)),
        (("paradigms=supervised", "features=natural"), (0, 1)),
    ],
    ids=["one seed", "two seeds"],
)
def test_kfp_gives_the_bytes_of_the_one_machine_run(selection, seeds, tmp_path):
    preset = load_preset("digits", [*TINY, *selection])
    compile_pipeline(preset, seeds=seeds, image="python", path=tmp_path / "paper.yaml")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"))
    components.load_component_from_file(str(tmp_path / "paper.yaml"))()
    plan = run_experiment(preset, seeds=seeds, out=tmp_path / "out", jobs=1)

    in_kfp = dict(artifacts(tmp_path / "kfp", "*/*/*/manifest.json"))
    expected = dict(artifacts(tmp_path / "out", "cells/*/manifest.json"))
    assert set(expected) == set(plan.addresses.values())
    assert in_kfp == expected
    (page,) = (tmp_path / "kfp").glob("*/report/html")
    assert re.search("<svg", page.read_text())


def artifacts(root: Path, pattern: str) -> Iterator[tuple[str, dict]]:
    """Yield the address and the files, with their digests, of every artifact; gathered records lie deeper."""
    for path in root.glob(pattern):
        manifest = read_manifest(path.parent)
        if manifest["files"]:
            yield manifest["address"], manifest["files"]
