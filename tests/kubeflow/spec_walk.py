"""A run of a compiled pipeline, in which every *use* of a shared component counts.

Every artifact is followed through nested pipelines to the task that makes it, every text to what `configure` writes.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

from realfeatures.kubeflow.batches import CONFIGURE

Spec = Mapping[str, Any]
Texts = Mapping[str, str]

SELECTOR = re.compile(r'parseJson\(string_value\)\["([^"\\]+)"\]')


class Made(NamedTuple):
    """An artifact of a run."""

    task: tuple[str, ...]
    """Keys of the task that makes it, after those of the nested pipelines around it."""
    port: str

    def __str__(self) -> str:
        return f"{'/'.join(self.task)}:{self.port}"


@dataclass(frozen=True)
class Use:
    """A container task of a run."""

    path: tuple[str, ...]
    component: str
    parameters: Mapping[str, Any]
    """None where a text has not what is selected from it."""
    artifacts: Mapping[str, Made]

    def __str__(self) -> str:
        return "/".join(self.path)


def walk(spec: Spec, texts: Texts) -> tuple[list[Use], list[str]]:
    """Return the container tasks of a run, each after those that it waits for, and what is wrong on the way.

    Args:
        spec: the pipeline, in which no reference dangles.
        texts: what `configure` writes, by output.
    """
    run = _Run(spec, texts)
    form = defined(spec["root"], "inputDefinitions", "parameters")
    run.level((), spec["root"], {name: one.get("defaultValue") for name, one in form.items()}, {})
    return run.uses, run.found


def defined(component: Spec, definitions: str, kind: str) -> Spec:
    """Return a component's ports of a kind: `parameters` or `artifacts`."""
    found: Spec = component.get(definitions, {}).get(kind, {})
    return found


@dataclass
class _Run:
    """Every task of it runs."""

    spec: Spec
    texts: Texts
    uses: list[Use] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def level(
        self, path: tuple[str, ...], level: Spec, parameters: Mapping[str, Any], artifacts: Mapping[str, Made]
    ) -> dict[str, Made]:
        """Walk the tasks of a pipeline; return what it hands up."""
        tasks, made, taken = level["dag"]["tasks"], {}, set()
        for key in TopologicalSorter({key: one.get("dependentTasks", ()) for key, one in tasks.items()}).static_order():
            inputs, here = tasks[key].get("inputs", {}), (*path, key)
            values = {port: self._text(here, one, parameters) for port, one in inputs.get("parameters", {}).items()}
            given = {port: _artifact(one, artifacts, made) for port, one in inputs.get("artifacts", {}).items()}
            made[key] = self._task(here, tasks[key]["componentRef"]["name"], values, given)
            taken |= set(map(_name_taken, inputs.get("parameters", {}).values()))
        texts = _parsed(parameters.get("cells")) if path else self.texts
        self._report(path, *(f"no task takes the text {name}" for name in texts.keys() - taken))
        returned = level["dag"].get("outputs", {}).get("artifacts", {})
        origins = {port: one["artifactSelectors"][0] for port, one in returned.items()}
        return {port: made[one["producerSubtask"]][one["outputArtifactKey"]] for port, one in origins.items()}

    def _task(
        self, path: tuple[str, ...], name: str, values: Mapping[str, Any], found: Mapping[str, Made | None]
    ) -> dict[str, Made]:
        given = {port: one for port, one in found.items() if one is not None}
        # Kubeflow's database has UNIQUE(artifact, execution, type), and a nested pipeline is an execution too.
        for artifact, count in Counter(given.values()).items():
            if count > 1:
                ports = ", ".join(port for port, one in given.items() if one == artifact)
                self._report(path, f"is given {artifact} twice, at {ports}")
        component = self.spec["components"][name]
        for port, one in defined(component, "inputDefinitions", "artifacts").items():
            if port in found and found[port] is None and not one.get("isOptional"):
                self._report(path, f"the pipeline around it is not given what its input {port} takes")
        if "dag" in component:
            return self.level(path, component, values, given)
        self.uses.append(Use(path, name, values, given))
        return {port: Made(path, port) for port in defined(component, "outputDefinitions", "artifacts")}

    def _text(self, path: tuple[str, ...], source: Spec, parameters: Mapping[str, Any]) -> Any:
        """Return the value of a task's parameter."""
        if "runtimeValue" in source:
            return source["runtimeValue"]["constant"]
        if "taskOutputParameter" in source:
            output = source["taskOutputParameter"]
            return self.texts[output["outputParameterKey"]] if output["producerTask"] == CONFIGURE else None
        value, selector = parameters.get(source["componentInputParameter"]), source.get("parameterExpressionSelector")
        if selector is None or value is None:
            return value
        form = SELECTOR.fullmatch(selector)
        selected = _parsed(value).get(form[1]) if form else None
        if not isinstance(selected, str):
            self._report(path, f"{selector} selects no text")
            return None
        return selected

    def _report(self, path: tuple[str, ...], *wrong: str) -> None:
        self.found += [f"{'/'.join(path) or 'root'}: {one}" for one in wrong]


def _name_taken(source: Spec) -> str:
    """Return the name of the text that a parameter is: a selector's key, or an output's."""
    form = SELECTOR.fullmatch(source.get("parameterExpressionSelector", ""))
    return form[1] if form else source.get("taskOutputParameter", {}).get("outputParameterKey", "")


def _artifact(source: Spec, artifacts: Mapping[str, Made], made: Mapping[str, Mapping[str, Made]]) -> Made | None:
    if "componentInputArtifact" in source:
        return artifacts.get(source["componentInputArtifact"])
    output = source["taskOutputArtifact"]
    return made[output["producerTask"]][output["outputArtifactKey"]]


def _parsed(text: str | None) -> dict[str, Any]:
    """Return the JSON object of a text; empty where it is none."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
