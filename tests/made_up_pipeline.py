"""A compiled pipeline as small as one can be that has all that decides a Workflow's size."""

import json
from typing import Any, NamedTuple

RETRY = {"maxRetryCount": 2, "backoffDuration": "60s", "backoffFactor": 2.0, "backoffMaxDuration": "600000s"}


class Pipeline(NamedTuple):
    spec: dict[str, Any]
    pods: dict[str, Any]
    """What the pods of each executor have beside their container."""


def made_up(
    parts: tuple[str, ...] = ("comp-one", "comp-one"),
    work: tuple[str, str] = ("comp-work", "comp-work"),
    *,
    policy: dict | None = RETRY,
    argument: str = "",
) -> Pipeline:
    """Return a pipeline: `configure` writes texts for nested pipelines, in each of which `attack` reads from `probe`.

    Args:
        parts: names of the nested pipelines' components; equal names share one, and others are equal to it.
        work: names of the components of `probe` and `attack`, of which the same holds.
        policy: when `probe` and `attack` are tried again.
        argument: a constant that `configure` is given.
    """
    components: dict[str, Any] = {"comp-configure": _component("exec-configure", "cells", None)}
    components |= {name: _component("exec-work", None, "result") for name in work}
    components |= {name: _part(work, policy) for name in parts}
    tasks = {"configure": _task("comp-configure", {"runtimeValue": {"constant": argument}})}
    for number, name in enumerate(parts):
        given = {"taskOutputParameter": {"producerTask": "configure", "outputParameterKey": "cells"}}
        tasks[f"part-{number}"] = _task(name, _selected(given, str(number)), dependentTasks=["configure"])
    words = {"configure": ["configure"], "work": ["work", "{{$.inputs.parameters['text']}}"]}
    executors = {
        f"exec-{name}": {"container": {"image": "example/image:1", "command": command}}
        for name, command in words.items()
    }
    spec = {
        "pipelineInfo": {"name": "small"},
        "deploymentSpec": {"executors": executors},
        "components": components,
        "root": {"dag": {"tasks": tasks}},
    }
    return Pipeline(spec, {"exec-work": {"activeDeadlineSeconds": "60"}})


def texts(parts: int = 2, **cells: str) -> dict[str, str]:
    """Return what `configure` writes: for each part the texts of its tasks as JSON, inside JSON."""
    inner = json.dumps({"probe": "p", "attack": "a", **cells})
    return {"configure/cells": json.dumps({str(number): inner for number in range(parts)})}


def _part(work: tuple[str, str], policy: dict | None) -> dict[str, Any]:
    retried = {} if policy is None else {"retryPolicy": policy}
    text = {"componentInputParameter": "text"}
    probe, attack = (
        _task(name, _selected(text, key), **retried) for name, key in zip(work, ("probe", "attack"), strict=True)
    )
    read = {"taskOutputArtifact": {"producerTask": "probe", "outputArtifactKey": "result"}}
    attack |= {"dependentTasks": ["probe"], "inputs": {**attack["inputs"], "artifacts": {"probe": read}}}
    return {"dag": {"tasks": {"probe": probe, "attack": attack}}}


def _component(executor: str, parameter: str | None, artifact: str | None) -> dict[str, Any]:
    kind = {"artifactType": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}}
    text = {"parameterType": "STRING"}
    outputs = {"artifacts": {artifact: kind}} if artifact else {"parameters": {parameter: text}}
    return {"executorLabel": executor, "inputDefinitions": {"parameters": {"text": text}}, "outputDefinitions": outputs}


def _task(component: str, text: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"componentRef": {"name": component}, "inputs": {"parameters": {"text": text}}, **more}


def _selected(source: dict[str, Any], key: str) -> dict[str, Any]:
    return {**source, "parameterExpressionSelector": f'parseJson(string_value)["{key}"]'}
