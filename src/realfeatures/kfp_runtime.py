"""How a Kubeflow task runs a cell, and how what the report needs travels from the tasks to the report.

A component's body is one call into this module. The cell comes as one string of canonical JSON. The
report cannot take a hundred artifacts as inputs, so each task returns a small text, its record, and each
nested pipeline gathers the records of its tasks into one artifact.
"""

import base64
import gzip
import json
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from realfeatures.artifacts import (
    MANIFEST,
    RECORD,
    RUN,
    empty_folder,
    read_manifest,
    read_record,
    storage_errors,
    write_bytes,
    write_json,
)
from realfeatures.config import Preset, RuntimeConfig
from realfeatures.errors import ConfigError, RealFeaturesError
from realfeatures.grid import Cell, cell_addresses, cells
from realfeatures.provenance import code_digest, library_versions
from realfeatures.vocabulary import canonical_json

logger = logging.getLogger(__name__)

LINE_SECONDS = 60.0
"""Time between two lines of progress in a pod's log."""

RECORD_BYTES = 2048
"""A task's inputs reach it as one argument, for which Linux has 128 KiB, and Kubeflow writes every element
of a list into it twice: 2 KiB leave room for the records of 30 cells."""


class Artifact(Protocol):
    """What is used of kfp's artifacts, so that this module needs no kfp."""

    path: str
    metadata: dict[str, Any]


def cell_text(cell: Cell, runtime: RuntimeConfig) -> str:
    """Return a cell as canonical JSON, with a folder's path, which its identity leaves out."""
    return canonical_json(
        {
            "key": cell.key,
            "stage": cell.stage,
            "config": cell.config.model_dump(mode="json"),
            "seed": cell.seed,
            "labels": dict(cell.labels),
            "runtime": runtime.model_dump(mode="json"),
        }
    )


def parse_cell(text: str) -> tuple[Cell, RuntimeConfig]:
    """Return the cell and the runtime that `cell_text` wrote; the stage's signature names the configuration.

    Raises:
        ConfigError: not JSON, or not a cell of this version of the package.
    """
    from realfeatures.stages import STAGES

    try:
        values = json.loads(text)
        runtime = RuntimeConfig.model_validate(values.pop("runtime"))
        annotation = STAGES[values["stage"]].__annotations__["config"]
        values["config"] = TypeAdapter(annotation).validate_python(values["config"])
        return Cell(**values), runtime
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        problem = str(error).replace("\n", " ")
        raise ConfigError(f"cell {text[:80]!r}: not a cell of this version ({problem}); compile again") from None


def run_stage(
    cell: str,
    code: str,
    *,
    inputs: Mapping[str, Artifact],
    output: Artifact,
    record: str,
    metrics: Artifact | None = None,
) -> None:
    """Run a cell as a Kubeflow task.

    Args:
        cell: what `cell_text` wrote.
        code: the code digest that the pipeline was compiled with.
        inputs: the artifact of each of the stage's input ports.
        output: the stage's output port.
        record: the file of the output parameter that the report is made of.
        metrics: receives an attack's accuracies under names that are the same in every run.

    Raises:
        SystemExit: with one line that says what is wrong.
    """
    with _one_line_errors():
        require_code(code)
        parsed, runtime = parse_cell(cell)
        _execute(parsed, runtime, inputs=inputs, output=output)
        folder = Path(output.path)
        if metrics is not None:
            log_metrics(metrics, read_record(folder)["measurements"])
        write_bytes(Path(record), pack_record(folder).encode())


def collect_records(code: str, *, records: Sequence[str], parts: Sequence[Artifact | None], output: Artifact) -> None:
    """Gather the records of a pipeline's tasks and of the pipelines nested in it into one artifact.

    Raises:
        SystemExit: with one line that says what is wrong.
    """
    with _one_line_errors():
        require_code(code)
        gather(records, parts, empty_folder(Path(output.path)))


def publish_report(
    preset: str,
    seeds: str,
    code: str,
    *,
    records: Sequence[str],
    parts: Sequence[Artifact | None],
    images: Sequence[Artifact | None],
    outputs: Mapping[str, Artifact],
) -> None:
    """Write the report of all cells to the artifacts that Kubeflow shows.

    Args:
        preset: the preset as JSON.
        seeds: the seeds as a JSON list.
        code: the code digest that the pipeline was compiled with.
        records: of the tasks beside this one.
        parts: the gathered records of nested pipelines.
        images: image sets of which the report shows a few.
        outputs: the artifact that takes each of the report's files.

    Raises:
        SystemExit: with one line that says what is wrong.
    """
    from realfeatures.reporting import write_report

    with _one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        require_code(code)
        experiment, numbers = Preset.model_validate_json(preset), json.loads(seeds)
        out = Path(temporary)
        gather(records, parts, out / "cells")
        for image_set in images:
            if image_set is not None:
                _link_image_set(Path(image_set.path), out / "cells")
        grid = cells(experiment, numbers)
        addresses = cell_addresses(grid, runtime=experiment.runtime, code=code_digest(), versions=library_versions())
        write_report(out, preset=experiment, seeds=numbers, grid=grid, addresses=addresses)
        for name, artifact in outputs.items():
            write_bytes(Path(artifact.path), (out / name).read_bytes())


def require_code(expected: str) -> None:
    """Refuse to run with another version of the science than the pipeline was compiled with.

    Raises:
        ConfigError: the digests differ.
    """
    if code_digest() != expected:
        raise ConfigError(
            f"code {code_digest()[:12]}... in this image, {expected[:12]}... in the pipeline: the image is older"
            " (or newer) than the pipeline; rebuild it and compile again"
        )


def pack_record(folder: Path) -> str:
    """Return an artifact's manifest, record and run as text; curves are thinned until it fits RECORD_BYTES.

    base64url, since Kubeflow's local runner breaks on JSON text inside a list.
    """
    manifest = {**_read_json(folder / MANIFEST), "files": {}}  # the files themselves do not come along
    content = {"manifest": manifest, "record": read_record(folder), "run": _read_json(folder / RUN)}
    text = _pack(content)
    while len(text) > RECORD_BYTES and len(history := content["record"].get("history", ())) > 1:
        # Every other point, counted from the end: the last one is the result.
        content["record"] = {**content["record"], "history": history[::-2][::-1]}
        text = _pack(content)
    return text


def unpack_record(text: str) -> dict[str, dict[str, Any]]:
    """Return `manifest`, `record` and `run` of a record that `pack_record` wrote."""
    return dict(json.loads(gzip.decompress(base64.urlsafe_b64decode(text))))


def gather(records: Sequence[str], parts: Sequence[Artifact | None], folder: Path) -> None:
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


def log_metrics(metrics: Artifact, measurements: Sequence[Mapping[str, Any]]) -> None:
    """Set one scalar for each measurement; Kubeflow compares runs by these names."""
    for row in measurements:
        metrics.metadata[metric_name(row)] = row["correct"] / row["n"]
    # Without a file Kubeflow's local cache takes the task for not done.
    write_json(Path(metrics.path), metrics.metadata)


def metric_name(row: Mapping[str, Any]) -> str:
    """Return a name such as `clean_accuracy` or `robust_accuracy_pgd_L2_0.5`, the same in every run."""
    if row["attack"] == "none":
        return str(row["metric"])
    return f"{row['metric']}_{row['attack']}_{row['norm']}_{row['epsilon']:g}"


def _execute(cell: Cell, runtime: RuntimeConfig, *, inputs: Mapping[str, Artifact], output: Artifact) -> None:
    from realfeatures.execution import execute

    destination = Path(output.path)
    manifest = execute(
        cell,
        runtime=runtime,
        inputs={port: Path(artifact.path) for port, artifact in inputs.items()},
        destination=destination,
        # Beside the destination: it may be a mount of its own, and a retry finds its checkpoint there.
        work=destination.with_name(f".{destination.name}.partial"),
        stop=_stop_on_sigterm(),
        progress=_log_progress(cell.key),
    )
    output.metadata.update({**cell.labels, "address": manifest["address"], "kind": manifest["kind"]})


def _log_progress(key: str) -> Callable[[int, int], None]:
    """Return a callback that logs a line now and then, since a pod's log has no terminal."""
    logged_at = time.monotonic()

    def log(done: int, total: int) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= LINE_SECONDS:
            logged_at = time.monotonic()
            logger.info("%s: %d of %d steps", key, done, total)

    return log


def _stop_on_sigterm() -> Callable[[], bool]:
    """Return a function that tells whether the pod was asked to go; the stage then saves its checkpoint."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    return lambda: bool(asked)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except RealFeaturesError as error:
        raise SystemExit(f"error: {error}") from None


def _link_image_set(image_set: Path, folder: Path) -> None:
    """Put a whole image set in the place of its record; a link, since it may hold many megabytes."""
    place = folder / read_manifest(image_set, kind="image_set")["address"]
    empty_folder(place).rmdir()
    place.symlink_to(image_set.resolve(), target_is_directory=True)


def _pack(content: Mapping[str, Any]) -> str:
    # mtime: the same record must be the same text, or every later task would miss the cache.
    return base64.urlsafe_b64encode(gzip.compress(canonical_json(content).encode(), mtime=0)).decode()


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))
