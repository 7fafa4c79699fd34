"""Changing a preset by `section.field` paths, as `--set` and the derived presets do; the result is validated whole."""

import re
from typing import Any

import yaml
from pydantic import ValidationError

from realfeatures.config import Preset
from realfeatures.errors import ConfigError

EXPECTATIONS = {
    "tuple_type": "expected a list, such as [a, b]",
    "model_type": "expected a mapping, such as {key: value}",
}
"""What pydantic says in terms of Python, said in terms of the command line."""


def override(preset: Preset, changes: dict[str, Any]) -> Preset:
    """Return the preset with each `section.field` path set to its new value, validated again."""
    values = preset.model_dump()
    for path, value in changes.items():
        _set(values, path, value)
    try:
        return Preset.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_problem(error)) from None


def assignment(text: str) -> tuple[str, Any]:
    """Return key path and value of `key.path=value`; the value is read as YAML.

    Raises:
        ConfigError: not of that form.
    """
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", path):
        raise ConfigError(f"--set {text!r}: expected KEY=VALUE, such as probe.epochs=5")
    # A data set is named by its source alone: `data=folder:PATH` keeps the preset's sizes.
    if path == "data":
        path = "data.source"
    if path == "name":
        raise ConfigError("--set name: a preset's name is fixed; choose it with --preset")
    try:
        return path, value if path == "data.source" else yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {text!r}: the value is not valid YAML; quote it") from None


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    target = values
    for depth, part in enumerate([*parents, last]):
        if not isinstance(target, dict) or part not in target:
            known = ", ".join(target) if isinstance(target, dict) else "nothing: it is a value"
            where = ".".join(path.split(".")[:depth]) or "the preset"
            raise ConfigError(f"{path}: unknown key {part!r}; {where} has: {known}")
        if depth < len(parents):
            target = target[part]
    target[last] = value


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    # A discriminated union adds its tag to the location; the person wrote no such key.
    where = ".".join(str(part) for part in problem["loc"])
    given = problem["input"]
    shown = "" if isinstance(given, dict) else f" (given: {given!r})"
    text = EXPECTATIONS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    return f"{where}: {text}{shown}" if where else text
