"""Errors to plant in a compiled pipeline, and how its checks call them."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

TEXT_BYTES = 2000
"""Chosen: above all texts of a preset with a few changes, and below the planted one."""


@dataclass
class Pipeline:
    """A pipeline to plant an error in."""

    spec: dict
    pods: dict
    texts: dict[str, str]

    def component(self, name: str) -> dict:
        return self.spec["components"][f"comp-{name}"]

    def task(self, key: str, level: str | None = None) -> dict:
        """Return a task of a component; without `level`: of the pipeline itself."""
        return (self.spec["root"] if level is None else self.component(level))["dag"]["tasks"][key]

    def shared(self, key: str) -> str:
        """Return the component, without `comp-`, of an encoder in a repetition."""
        return self.task(key, "repetition")["componentRef"]["name"].removeprefix("comp-")


def read(task: str, port: str) -> dict:
    return {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": port}}


def an_artifact_twice_in_a_task(one: Pipeline) -> None:
    """The encoder as its own probe."""
    inputs = one.task("attack", one.shared("robust-supervised"))["inputs"]["artifacts"]
    inputs["probes"] = inputs["encoder"]


def an_artifact_twice_in_a_nested_pipeline(one: Pipeline) -> None:
    inputs = one.task("natural-contrastive", "repetition")["inputs"]["artifacts"]
    inputs["robust"] = inputs["natural"]


def an_artifact_by_two_ways(one: Pipeline) -> None:
    """Of one use alone: what is `natural` to a shared component is `own` to it as well."""
    inputs = one.task("robust-contrastive", "repetition")["inputs"]["artifacts"]
    inputs["natural"] = inputs["own"]


def a_selector_without_its_text(one: Pipeline) -> None:
    texts = json.loads(one.texts["repetition_2"])
    inner = json.loads(texts["robust-contrastive"])
    del inner["probe"]
    one.texts["repetition_2"] = json.dumps({**texts, "robust-contrastive": json.dumps(inner)})


def a_text_that_is_no_text(one: Pipeline) -> None:
    """JSON in JSON must be a string: an object would reach the task as Go prints it."""
    texts = json.loads(one.texts["repetition_1"])
    one.texts["repetition_1"] = json.dumps({**texts, "robust-contrastive": json.loads(texts["robust-contrastive"])})


def a_selector_of_another_form(one: Pipeline) -> None:
    text = one.task("results", "repetition")["inputs"]["parameters"]["cells"]
    text["parameterExpressionSelector"] = "parseJson(string_value).results"


def a_selector_on_the_output_of_a_task(one: Pipeline) -> None:
    text = one.task("prepare-data")["inputs"]["parameters"]["cells"]
    text["parameterExpressionSelector"] = 'parseJson(string_value)["data"]'


def a_text_that_no_task_takes(one: Pipeline) -> None:
    one.texts["repetition_1"] = json.dumps({**json.loads(one.texts["repetition_1"]), "left-over": "text"})


def a_text_that_configure_does_not_write(one: Pipeline) -> None:
    del one.texts["repetition_2"]


def a_long_text(one: Pipeline) -> None:
    one.texts["data"] += "x" * TEXT_BYTES


def a_long_constant(one: Pipeline) -> None:
    one.task("configure")["inputs"]["parameters"]["changes"]["runtimeValue"]["constant"] = "x" * 10_001


def a_shared_component_of_other_ports(one: Pipeline) -> None:
    task = one.task("robust-contrastive", "repetition")
    task["componentRef"]["name"] = one.task("natural-contrastive", "repetition")["componentRef"]["name"]


def a_shared_component_of_other_tasks(one: Pipeline) -> None:
    """Equal ports, and no probe in it: its text stands there for nobody."""
    task = one.task("natural-contrastive", "repetition")
    task["componentRef"]["name"] = one.task("natural-supervised", "repetition")["componentRef"]["name"]


def a_cycle(one: Pipeline) -> None:
    source, images = (one.task(key, "repetition") for key in ("sources-adversarial-pretrain", "robust-images"))
    source["inputs"]["artifacts"]["images"] = read("robust-images", "images")
    source["dependentTasks"] = ["robust-images"]
    assert images["dependentTasks"] == ["sources-adversarial-pretrain"]


def a_pipeline_nested_in_itself(one: Pipeline) -> None:
    one.component("repetition")["dag"]["tasks"]["again"] = deepcopy(one.task("repetition-1")) | {"dependentTasks": []}


def a_dead_executor(one: Pipeline) -> None:
    executors = one.spec["deploymentSpec"]["executors"]
    executors["exec-probe-2"] = one.pods["exec-probe-2"] = deepcopy(executors["exec-probe-small"])


def a_dead_component(one: Pipeline) -> None:
    one.spec["components"]["comp-probe-2"] = deepcopy(one.component("probe-small"))


def components_that_only_a_dead_one_uses(one: Pipeline) -> None:
    """A pipeline that no task uses does not keep alive what is nested in it."""
    one.spec["components"]["comp-repetition-2"] = deepcopy(one.component("repetition"))
    tasks = one.spec["components"]["comp-repetition-2"]["dag"]["tasks"]
    one.spec["components"]["comp-probe-2"] = deepcopy(one.component("probe-small"))
    tasks["probe"] = {"taskInfo": {"name": "probe"}, "componentRef": {"name": "comp-probe-2"}}


def pods_of_no_executor(one: Pipeline) -> None:
    one.pods["exec-proeb"] = one.pods.pop("exec-probe-small")


def a_component_that_is_not_there(one: Pipeline) -> None:
    one.task("prepare-data")["componentRef"]["name"] = "comp-prepare"


def an_executor_that_is_not_there(one: Pipeline) -> None:
    one.component("probe-small")["executorLabel"] = "exec-probes"


def a_producer_that_is_not_there(one: Pipeline) -> None:
    one.task("results", "repetition")["inputs"]["artifacts"]["results_1"] = read("natural-masked", "results")


def an_output_that_is_not_there(one: Pipeline) -> None:
    images = one.task("robust-images", "repetition")["inputs"]["artifacts"]
    images["encoder"] = read("sources-adversarial-pretrain", "encoders")


def a_port_of_the_pipeline_around_it_that_is_not_there(one: Pipeline) -> None:
    task = one.task("pretrain", one.shared("natural-supervised"))
    task["inputs"]["artifacts"]["images"] = {"componentInputArtifact": "own"}


def an_output_of_a_nested_pipeline_that_no_task_makes(one: Pipeline) -> None:
    outputs = one.component(one.shared("robust-supervised"))["dag"]["outputs"]["artifacts"]
    outputs["results"]["artifactSelectors"][0]["producerSubtask"] = "probe"


def a_producer_that_is_not_waited_for(one: Pipeline) -> None:
    one.task("robust-images", "repetition")["dependentTasks"] = []


def a_task_to_wait_for_that_is_not_there(one: Pipeline) -> None:
    one.task("report")["dependentTasks"].append("repetition-3")


def an_artifact_of_another_kind(one: Pipeline) -> None:
    one.task("robust-images", "repetition")["inputs"]["artifacts"]["encoder"] = {"componentInputArtifact": "natural"}


def an_input_that_nothing_is_connected_to(one: Pipeline) -> None:
    del one.task("probe", one.shared("robust-contrastive"))["inputs"]["artifacts"]["encoder"]


def an_input_that_one_use_alone_does_not_give(one: Pipeline) -> None:
    """The nested pipeline calls it optional, and the task in it does not."""
    component = one.component(one.shared("robust-contrastive"))
    component["inputDefinitions"]["artifacts"]["own"]["isOptional"] = True
    del one.task("robust-contrastive", "repetition")["inputs"]["artifacts"]["own"]


def an_input_that_the_component_does_not_declare(one: Pipeline) -> None:
    one.task("prepare-data")["inputs"]["parameters"]["seed"] = {"componentInputParameter": "seed"}


def two_tasks_alike(one: Pipeline) -> None:
    tasks = one.component("repetition")["dag"]["tasks"]
    tasks["robust-images-2"] = deepcopy(tasks["robust-images"])


def two_repetitions_alike(one: Pipeline) -> None:
    """The second would be taken from the cache, and `report` would be given one artifact twice."""
    one.texts["repetition_2"] = one.texts["repetition_1"]


def two_components_with_one_container(one: Pipeline) -> None:
    executors = one.spec["deploymentSpec"]["executors"]
    executors["exec-results-2"], one.pods["exec-results-2"] = executors["exec-results"], one.pods["exec-results"]
    two = one.spec["components"]["comp-results-2"] = deepcopy(one.component("results"))
    two["executorLabel"] = "exec-results-2"
    two["inputDefinitions"]["artifacts"] = {"results": two["inputDefinitions"]["artifacts"]["results_1"]}
    results = one.task("results", "repetition")
    text = {"cells": results["inputs"]["parameters"]["cells"]}
    inputs = {"artifacts": {"results": read("natural-supervised", "results")}, "parameters": text}
    part = {**results, "componentRef": {"name": "comp-results-2"}, "inputs": inputs}
    one.component("repetition")["dag"]["tasks"]["part"] = part


PLANTED: dict[Callable[[Pipeline], None], str] = {
    an_artifact_twice_in_a_task: "repetition-1/robust-supervised/attack: is given"
    " repetition-1/robust-supervised/pretrain:encoder twice, at encoder, probes",
    an_artifact_twice_in_a_nested_pipeline: "repetition-2/natural-contrastive: is given prepare-data:images twice,"
    " at natural, robust",
    an_artifact_by_two_ways: "repetition-1/robust-contrastive/attack: is given repetition-1/robust-images:images twice",
    a_selector_without_its_text: 'repetition-2/robust-contrastive/probe: parseJson(string_value)["probe"] selects no',
    a_text_that_is_no_text: 'robust-contrastive: parseJson(string_value)["robust-contrastive"] selects no text',
    a_selector_of_another_form: "repetition-1/results: parseJson(string_value).results selects no text",
    a_selector_on_the_output_of_a_task: "root/prepare-data: selects cells from the output of a task",
    a_text_that_no_task_takes: "repetition-1: no task takes the text left-over",
    a_text_that_configure_does_not_write: "configure: writes no text repetition_2",
    a_long_text: "prepare-data: its text cells has",
    a_long_constant: "root/configure: the constant changes has over 10000 characters",
    a_shared_component_of_other_ports: "comp-repetition/robust-contrastive: its component has no input own",
    a_shared_component_of_other_tasks: "repetition-1/natural-contrastive: no task takes the text probe",
    a_cycle: "comp-repetition: a cycle of ",
    a_pipeline_nested_in_itself: "components: a cycle of comp-repetition",
    a_dead_executor: "exec-probe-2: no component that is used has this executor",
    a_dead_component: "comp-probe-2: no task uses this component",
    components_that_only_a_dead_one_uses: "comp-probe-2: no task uses this component",
    pods_of_no_executor: "exec-proeb: pods of an executor that there is not",
    a_component_that_is_not_there: "root/prepare-data: there is no component comp-prepare",
    an_executor_that_is_not_there: "comp-probe-small: there is no executor exec-probes",
    a_producer_that_is_not_there: "results: its input results_1 comes from natural-masked:results, which there is not",
    an_output_that_is_not_there: "its input encoder comes from sources-adversarial-pretrain:encoders, which there is",
    a_port_of_the_pipeline_around_it_that_is_not_there: "pretrain: its input images comes from own, which there is not",
    an_output_of_a_nested_pipeline_that_no_task_makes: "its output results comes from probe:results, which there is",
    a_producer_that_is_not_waited_for: "robust-images: reads from sources-adversarial-pretrain and does not wait",
    a_task_to_wait_for_that_is_not_there: "root/report: waits for repetition-3, which is not beside it",
    an_artifact_of_another_kind: "robust-images: its input encoder is of another kind than natural",
    an_input_that_nothing_is_connected_to: "probe: nothing is connected to its input encoder",
    an_input_that_one_use_alone_does_not_give: "repetition-2/robust-contrastive/pretrain: the pipeline around it",
    an_input_that_the_component_does_not_declare: "root/prepare-data: its component has no input seed",
    two_tasks_alike: "repetition-1/robust-images and repetition-1/robust-images-2: have equal fingerprints",
    two_repetitions_alike: "natural-supervised/pretrain and repetition-2/natural-supervised/pretrain: have equal",
    two_components_with_one_container: "comp-results and comp-results-2: equal containers, unequal ports",
}
"""Each error, and how the checks call it."""
