"""Changing a preset by `section.field` paths, as `--set` and a run form do; the result is validated whole."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from realfeatures.errors import ConfigError
from realfeatures.experiment.vocabulary import Config

AnyConfig = TypeVar("AnyConfig", bound=Config)

EXAMPLES = {"--set": "probe.epochs=5", "--profile-set": "image_pull_policy=Never"}
"""What an error shows as an assignment, by option."""

EXPECTATIONS = {
    "tuple_type": "expected a list, such as [a, b]",
    "model_type": "expected a mapping, such as {key: value}",
}
"""What pydantic says in terms of Python, said in terms of the command line."""

LAST = {"extra_forbidden": 1, "missing": 2}
"""Problems that every other kind of a union has with a value that is meant for one: told where there is no better."""


def override(config: AnyConfig, changes: dict[str, Any]) -> AnyConfig:
    """Return a preset or a profile with each `section.field` path set to its new value, validated again.

    Raises:
        ConfigError: an unknown path, or a value that is not usable.
    """
    values = config.model_dump()
    for path, value in changes.items():
        _set(values, path, value)
    try:
        return type(config).model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_problem(error, values)) from None


def differences(config: Config, base: Config) -> dict[str, Any]:
    """Return where a preset or a profile departs from another: its own JSON values, by the paths that `override` takes.

    The digest of the data set's content is left out: every run finds it again.
    """
    found = departures(config.model_dump(mode="json"), base.model_dump(mode="json"))
    return {path: value for path, _, value in found if path != "data.sha256"}


def departures(values: Any, base: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield path, old and new value of all that differs; a mapping is one value where its keys are others."""
    if isinstance(values, Mapping) and isinstance(base, Mapping) and values.keys() == base.keys():
        for name in values:
            yield from departures(values[name], base[name], f"{path}.{name}" if path else name)
    elif values != base:
        yield path, base, values


def assignment(text: str, *, option: str = "--set") -> tuple[str, Any]:
    """Return key path and value of `key.path=value`; the value is read as YAML.

    Args:
        text: what was given.
        option: by which option, for the error.

    Raises:
        ConfigError: not of that form.
    """
    path, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", path.strip()):
        raise ConfigError(f"{option} {text!r}: expected KEY=VALUE, such as {EXAMPLES[option]}")
    path = _key(path.strip(), where=option)
    try:
        return path, value if path == "data.source" else yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"{option} {text!r}: the value is not valid YAML; quote it") from None


def parse_overrides(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes of a JSON object of values by key, as the run form of a pipeline takes it.

    Args:
        given: the object, or the text of one.

    Raises:
        ConfigError: not a JSON object.
    """
    try:
        changes = json.loads(given or "{}") if isinstance(given, str) else dict(given)
    except (TypeError, ValueError):
        changes = None
    if not isinstance(changes, dict):
        raise ConfigError(f'overrides {given!r}: expected a JSON object, such as {{"probe.epochs": 5}}')
    return {_key(path, where="overrides"): value for path, value in changes.items()}


def _key(path: str, *, where: str) -> str:
    if path == "name":
        raise ConfigError(f"{where} name: the name is fixed; choose another preset or profile")
    # A data set is named by its source alone: `data=folder:PATH` keeps the preset's sizes.
    return "data.source" if path == "data" else path


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    target = values
    for depth, part in enumerate([*parents, last]):
        if not isinstance(target, dict) or part not in target:
            known = ", ".join(target) if isinstance(target, dict) else "nothing: it is a value"
            where = ".".join(path.split(".")[:depth]) or "the top level"
            raise ConfigError(f"{path}: unknown key {part!r}; {where} has: {known}")
        if depth < len(parents):
            target = target[part]
    target[last] = value


def _first_problem(error: ValidationError, values: Mapping[str, Any]) -> str:
    problem = min(error.errors(), key=lambda one: LAST.get(one["type"], 0))
    where = ".".join(_path(problem, values))
    given = problem["input"]
    shown = "" if isinstance(given, dict) else f" (given: {given!r})"
    text = EXPECTATIONS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    return f"{where}: {text}{shown}" if where else text


def _path(problem: ErrorDetails, values: Any) -> Iterator[str]:
    """Yield the keys of a problem's place as a person writes them: pydantic puts the tags of unions among them."""
    for part in problem["loc"]:
        if isinstance(part, int):  # a place in a list, or in a text that was split into one
            values = values[part] if isinstance(values, list | tuple) else None
            yield str(part)
        elif isinstance(values, Mapping) and part in values:
            values = values[part]
            yield part
    if problem["type"] == "missing":
        yield str(problem["loc"][-1])
