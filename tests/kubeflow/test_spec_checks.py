"""The checks of a compiled pipeline find what is planted in it: each error by itself, in a small pipeline."""

import json
from copy import deepcopy

import pytest
from planted_spec_errors import PLANTED, TEXT_BYTES, Pipeline
from small_pipeline import IMAGE
from spec_checks import problems
from spec_walk import Made, walk

from realfeatures.experiment.presets import load_preset
from realfeatures.kubeflow.batches import Granularity
from realfeatures.kubeflow.tasks.texts import texts_of
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import load_profile
from realfeatures.running.plan import make_plan

CHANGES = ("experiments=E2", "paradigms=supervised,contrastive", "features=natural,robust")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Pipeline:
    plan = make_plan(load_preset("digits", CHANGES), seeds=[0, 1])
    path = tmp_path_factory.mktemp("compiled") / "paper.yaml"
    fitted = compile_pipeline(plan, image=IMAGE, profile=load_profile("cpu"), path=path, granularity=Granularity.STAGE)
    # As JSON and back: the compiler lets tasks share what they have alike.
    spec, platform = json.loads(json.dumps(fitted.specification))
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return Pipeline(spec, pods, texts_of(plan, Granularity.STAGE))


@pytest.fixture
def pipeline(compiled) -> Pipeline:
    return deepcopy(compiled)


def found_in(one: Pipeline) -> list[str]:
    return problems(one.spec, one.pods, one.texts, text_bytes=TEXT_BYTES)


def test_nothing_is_found_where_nothing_is_planted(pipeline):
    assert found_in(pipeline) == []


@pytest.mark.parametrize(("plant", "expected"), PLANTED.items(), ids=[plant.__name__ for plant in PLANTED])
def test_a_planted_error_is_found(plant, expected, pipeline):
    plant(pipeline)
    found = found_in(pipeline)
    assert any(expected in problem for problem in found), found


def test_an_artifact_is_followed_to_the_task_that_makes_it(pipeline):
    uses, _ = walk(pipeline.spec, pipeline.texts)
    artifacts = {use.path: use.artifacts for use in uses}
    assert artifacts["repetition-2", "robust-contrastive", "attack"] == {
        "encoder": Made(("repetition-2", "robust-contrastive", "pretrain"), "encoder"),
        "probes": Made(("repetition-2", "robust-contrastive", "probe"), "probes"),
        "images_1": Made(("prepare-data",), "images"),
        "images_2": Made(("repetition-2", "robust-images"), "images"),
    }
    assert artifacts[("report",)]["results_2"] == Made(("repetition-2", "results"), "results")


def test_a_text_is_followed_to_what_configure_writes(pipeline):
    uses, _ = walk(pipeline.spec, pipeline.texts)
    texts = {use.path: use.parameters.get("cells", "") for use in uses}
    assert texts["repetition-2", "robust-contrastive", "attack"].startswith("digits 1 ")
    assert " stage:robust/contrastive/attack" in texts["repetition-2", "robust-contrastive", "attack"]
    assert texts[("report",)] == pipeline.texts["report"]
