"""What a real Kubeflow refuses or confuses in a compiled pipeline, each with the words to find it by.

Two looks: at each component as it is written, and at a run of the pipeline (spec_walk.py).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from spec_walk import Spec, Texts, Use, defined, walk

from realfeatures.kubeflow.batches import CONFIGURE

MAX_CONSTANT = 10_000
"""Characters of a run's parameter, which Kubeflow's database holds."""

KINDS = {"artifacts": "Artifact", "parameters": "Parameter"}


def problems(spec: Spec, pods: Spec, texts: Texts, *, text_bytes: int | None = None) -> list[str]:
    """Return what is wrong with a pipeline.

    Args:
        spec: the pipeline.
        pods: what the pods of each executor have beside their container.
        texts: what `configure` writes in a run, by output.
        text_bytes: which every text of a task has to stay under; None: do not look.
    """
    written = [*_used(spec, pods), *_equal_containers(spec), *_constants(spec)]
    # A run is walked along the references, so none may dangle.
    if broken := [*_references(spec), *_cycles(spec), *_texts_written(spec, texts)]:
        return written + broken
    uses, found = walk(spec, texts)
    return [*written, *found, *_equal_tasks(spec, uses), *_long_texts(uses, text_bytes)]


def levels(spec: Spec) -> dict[str, Spec]:
    """Return the pipeline and every component that is one, by name, whether or not it is used."""
    nested = {name: one for name, one in spec["components"].items() if "dag" in one}
    return {"root": spec["root"], **nested}


def _used(spec: Spec, pods: Spec) -> Iterator[str]:
    """Components and executors that nothing leads to, and pods that are of no executor."""
    components, executors = spec["components"], spec["deploymentSpec"]["executors"]
    reached: set[str] = set()
    waiting = _refers_to(spec["root"])
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= _refers_to(components.get(name, {})) - reached
    labels = {components[name].get("executorLabel") for name in reached & components.keys()}
    yield from (f"{name}: no task uses this component" for name in components.keys() - reached)
    yield from (f"{label}: no component that is used has this executor" for label in executors.keys() - labels)
    yield from (f"{label}: pods of an executor that there is not" for label in pods.keys() - executors.keys())
    yield from (f"{label}: nothing is said of this executor's pods" for label in executors.keys() - pods.keys())


def _refers_to(component: Spec) -> set[str]:
    return {task["componentRef"]["name"] for task in component.get("dag", {}).get("tasks", {}).values()}


def _equal_containers(spec: Spec) -> Iterator[str]:
    """Kubeflow keeps components by their container: of two with one container the first stands for both."""
    first: dict[str, str] = {}
    for name, component in spec["components"].items():
        executor = spec["deploymentSpec"]["executors"].get(component.get("executorLabel"))
        if executor is not None:
            known = first.setdefault(json.dumps(executor["container"], sort_keys=True), name)
            if _ports(component) != _ports(spec["components"][known]):
                yield f"{known} and {name}: equal containers, unequal ports"


def _ports(component: Spec) -> tuple[Any, Any]:
    return component.get("inputDefinitions", {}), component.get("outputDefinitions", {})


def _constants(spec: Spec) -> Iterator[str]:
    for name, level in levels(spec).items():
        for key, task in level["dag"]["tasks"].items():
            for port, source in task.get("inputs", {}).get("parameters", {}).items():
                if len(str(source.get("runtimeValue", {}).get("constant", ""))) > MAX_CONSTANT:
                    yield f"{name}/{key}: the constant {port} has over {MAX_CONSTANT} characters"


def _references(spec: Spec) -> Iterator[str]:
    """What a component, or a task in it, refers to and is not there, or is of another kind."""
    for name, component in spec["components"].items():
        label = component.get("executorLabel")
        if "dag" not in component and label not in spec["deploymentSpec"]["executors"]:
            yield f"{name}: there is no executor {label}"
    for name, level in levels(spec).items():
        for key, task in level["dag"]["tasks"].items():
            component = spec["components"].get(task["componentRef"]["name"])
            if component is None:
                yield f"{name}/{key}: there is no component {task['componentRef']['name']}"
                continue
            yield from _given(f"{name}/{key}", task, component)
            yield from _origins(spec, f"{name}/{key}", task, level)
        yield from _returned(spec, name, level)


def _given(where: str, task: Spec, component: Spec) -> Iterator[str]:
    """Inputs that a component does not declare, and those that it wants and a task does not give."""
    for kind in KINDS:
        declared, given = defined(component, "inputDefinitions", kind), task.get("inputs", {}).get(kind, {})
        wanted = {port for port, one in declared.items() if not one.get("isOptional") and "defaultValue" not in one}
        yield from (f"{where}: its component has no input {port}" for port in given.keys() - declared.keys())
        yield from (f"{where}: nothing is connected to its input {port}" for port in wanted - given.keys())


def _origins(spec: Spec, where: str, task: Spec, level: Spec) -> Iterator[str]:
    """Origins of a task's inputs that are not there, are of another kind, or are not waited for."""
    siblings, waits = level["dag"]["tasks"], set(task.get("dependentTasks", ()))
    yield from (f"{where}: waits for {key}, which is not beside it" for key in waits - siblings.keys())
    takes = spec["components"][task["componentRef"]["name"]]
    for kind, one in KINDS.items():
        for port, source in task.get("inputs", {}).get(kind, {}).items():
            wanted = defined(takes, "inputDefinitions", kind).get(port)
            if output := source.get(f"taskOutput{one}"):
                producer, key = output["producerTask"], output[f"output{one}Key"]
                found, name = _made(spec, siblings, producer, kind, key), f"{producer}:{key}"
                if producer not in waits:
                    yield f"{where}: reads from {producer} and does not wait for it"
                if "parameterExpressionSelector" in source:
                    yield f"{where}: selects {port} from the output of a task"
            elif name := source.get(f"componentInput{one}"):
                found = defined(level, "inputDefinitions", kind).get(name)
            elif "runtimeValue" in source:
                continue
            else:
                name, found = "what is not known here", None
            if found is None:
                yield f"{where}: its input {port} comes from {name}, which there is not"
            elif wanted is not None and _kind(found) != _kind(wanted):
                yield f"{where}: its input {port} is of another kind than {name}"


def _returned(spec: Spec, name: str, level: Spec) -> Iterator[str]:
    """Outputs of a pipeline that no task in it makes."""
    declared = defined(level, "outputDefinitions", "artifacts")
    returned = level["dag"].get("outputs", {}).get("artifacts", {})
    yield from (f"{name}: its output {port} comes from no task" for port in declared.keys() - returned.keys())
    for port, one in returned.items():
        for origin in one["artifactSelectors"]:
            producer, key = origin["producerSubtask"], origin["outputArtifactKey"]
            found = _made(spec, level["dag"]["tasks"], producer, "artifacts", key)
            if found is None:
                yield f"{name}: its output {port} comes from {producer}:{key}, which there is not"
            elif port not in declared or _kind(found) != _kind(declared[port]):
                yield f"{name}: its output {port} is not declared as it is made"


def _made(spec: Spec, siblings: Spec, producer: str, kind: str, key: str) -> Spec | None:
    if producer not in siblings:
        return None
    component = spec["components"].get(siblings[producer]["componentRef"]["name"], {})
    found: Spec | None = defined(component, "outputDefinitions", kind).get(key)
    return found


def _kind(port: Spec) -> Any:
    return port.get("parameterType") or port["artifactType"]


def _cycles(spec: Spec) -> Iterator[str]:
    graphs = {"components": {name: _refers_to(one) for name, one in levels(spec).items()}}
    for name, level in levels(spec).items():
        graphs[name] = {key: set(task.get("dependentTasks", ())) for key, task in level["dag"]["tasks"].items()}
    for name, graph in graphs.items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            yield f"{name}: a cycle of {', '.join(error.args[1])}"


def _texts_written(spec: Spec, texts: Mapping[str, str]) -> Iterator[str]:
    """Texts that `configure` writes and does not declare, or the other way about."""
    component = spec["components"].get(spec["root"]["dag"]["tasks"][CONFIGURE]["componentRef"]["name"], {})
    declared = defined(component, "outputDefinitions", "parameters").keys()
    yield from (f"{CONFIGURE}: writes no text {name}" for name in declared - texts.keys())
    yield from (f"{CONFIGURE}: has no output for the text {name}" for name in texts.keys() - declared)


def _equal_tasks(spec: Spec, uses: Iterable[Use]) -> Iterator[str]:
    """Of two tasks that Kubeflow's cache cannot tell apart the second is given the first one's artifacts."""
    first: dict[str, Use] = {}
    for use in uses:
        component = spec["components"][use.component]
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        words = [container.get(name) for name in ("image", "command", "args")]
        inputs = {port: str(one) for port, one in use.artifacts.items()}
        fingerprint = json.dumps([words, use.parameters, inputs, component.get("outputDefinitions")], sort_keys=True)
        if (known := first.setdefault(fingerprint, use)) is not use:
            yield f"{known} and {use}: have equal fingerprints"


def _long_texts(uses: Iterable[Use], text_bytes: int | None) -> Iterator[str]:
    for use in uses if text_bytes is not None else ():
        for name, value in use.parameters.items():
            if isinstance(value, str) and len(value.encode()) >= text_bytes:
                yield f"{use}: its text {name} has {len(value.encode())} bytes"
