"""Letting each task of a nested pipeline take its own cell's text out of the JSON object of all texts.

Kubeflow has selectors for this (`parameterExpressionSelector`), which its compiler writes for loops alone. While
kfp traces a pipeline such a parameter is a constant that names the text; afterwards `select_texts` turns it into the
selector. A task's cache key then holds its own cell and no other.
"""

from collections.abc import Mapping
from typing import Any

from realfeatures.kubeflow.spec import tasks
from realfeatures.pipelines.nesting import CELLS

TAKEN = ("cell", "version")
"""The parameters that take one text each."""

_MARK = "text:"


def text_named(slot: str) -> str:
    """Return the constant that stands for a text until `select_texts` has run."""
    return f"{_MARK}{slot}"


def select_texts(spec: Mapping[str, Any]) -> None:
    """Replace, in place, every constant of `text_named` by the selector of this text."""
    for task in tasks(spec):
        parameters = task["inputs"].get("parameters", {})
        for name in TAKEN:
            constant = parameters.get(name, {}).get("runtimeValue", {}).get("constant", "")
            if str(constant).startswith(_MARK):
                parameters[name] = selector(constant.removeprefix(_MARK))


def selector(slot: str) -> dict[str, str]:
    """Return the specification of a parameter that takes one text out of the pipeline's input."""
    return {"componentInputParameter": CELLS, "parameterExpressionSelector": f'parseJson(string_value)["{slot}"]'}
