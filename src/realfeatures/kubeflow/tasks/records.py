"""How what the report needs travels from the tasks to the report.

The report cannot take a hundred artifacts as inputs, so each task returns a small text, its record, and each
nested pipeline gathers the records of its tasks into one artifact.
"""

import base64
import gzip
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from realfeatures.experiment.vocabulary import canonical_json
from realfeatures.science.artifacts import MANIFEST, RECORD, RUN, read_record, storage_errors, write_json

RECORD_BYTES = 2048
"""A task's inputs reach it as one argument, for which Linux has 128 KiB, and Kubeflow writes every element
of a list into it twice: 2 KiB leave room for the records of 30 cells."""


class KFPArtifact(Protocol):
    """What is used of kfp's artifacts, so that nothing here needs kfp."""

    path: str
    metadata: dict[str, Any]


def pack_record(folder: Path) -> str:
    """Return an artifact's manifest, record and run as text; curves are thinned until it fits RECORD_BYTES.

    base64url, since Kubeflow's local runner breaks on JSON text inside a list.
    """
    manifest = {**_read_json(folder / MANIFEST), "files": {}}  # the files themselves do not come along
    content = {"manifest": manifest, "record": read_record(folder), "run": _read_json(folder / RUN)}
    text = _pack(content)
    while len(text) > RECORD_BYTES and (thinner := _thinned(content["record"])) != content["record"]:
        content["record"] = thinner
        text = _pack(content)
    return text


def _thinned(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with every other point of its curves, counted from the end: the last one is the result."""

    def half(points: list[Any]) -> list[Any]:
        return points[::-2][::-1]

    thinner = dict(record)
    if "history" in record:
        thinner["history"] = half(record["history"])
    if "loss_curves" in record:
        thinner["loss_curves"] = [
            {name: half(value) if isinstance(value, list) else value for name, value in row.items()}
            for row in record["loss_curves"]
        ]
    return thinner


def unpack_record(text: str) -> dict[str, dict[str, Any]]:
    """Return `manifest`, `record` and `run` of a record that `pack_record` wrote."""
    return dict(json.loads(gzip.decompress(base64.urlsafe_b64decode(text))))


def gather(records: Sequence[str], parts: Sequence[KFPArtifact | None], folder: Path) -> None:
    """Write records, and copy gathered ones, as `<address>/{manifest,record,run}.json` into a folder."""
    with storage_errors(folder):
        for part in parts:
            if part is not None:
                shutil.copytree(part.path, folder, dirs_exist_ok=True)
    for text in records:
        content = unpack_record(text)
        cell = folder / content["manifest"]["address"]
        for name, key in ((MANIFEST, "manifest"), (RECORD, "record"), (RUN, "run")):
            write_json(cell / name, content[key])


def _pack(content: Mapping[str, Any]) -> str:
    # mtime: the same record must be the same text, or every later task would miss the cache.
    return base64.urlsafe_b64encode(gzip.compress(canonical_json(content).encode(), mtime=0)).decode()


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))
