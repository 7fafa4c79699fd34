"""JSON as the programs of Kubeflow and Argo write it, since a workflow's size is counted in its bytes."""

import json
from typing import Any

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def go_json(value: Any, *, in_order: bool = False) -> str:
    """Return JSON as Go's encoding/json writes it: without spaces, and six bytes for each of `<`, `>` and `&`.

    Args:
        value: of JSON's types; numbers as `whole_numbers` leaves them.
        in_order: keep the order of the fields, as of a Go struct; otherwise they are sorted, as of a Go map.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=not in_order)
    for character, escaped in _ESCAPED.items():
        text = text.replace(character, escaped)
    return text


def proto_json(value: Any) -> str:
    """Return JSON as the protojson of Kubeflow 2.17's driver writes it, with a space after each comma.

    protojson puts such a space, or none, by a digest of the program: another build may save a byte a field.
    """
    return json.dumps(value, separators=(", ", ":"), ensure_ascii=False)


def whole_numbers(value: Any) -> Any:
    """Return a value of JSON's types in which 2.0 is 2, as Go writes it."""
    if isinstance(value, dict):
        return {name: whole_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [whole_numbers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def utf8_bytes(text: str) -> int:
    """Return the length of a text in bytes of UTF-8."""
    return len(text.encode())
