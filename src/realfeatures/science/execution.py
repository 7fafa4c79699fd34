"""Running one cell: call its stage, seal and commit its artifact.

Every way of starting a stage (one machine, a KFP task, a container) goes through `execute`.
"""

import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.config import DataConfig, RuntimeConfig
from realfeatures.experiment.grid import Cell, cell_address
from realfeatures.science.artifacts import (
    RUN,
    Artifact,
    OutputDir,
    commit,
    empty_folder,
    open_artifact,
    seal,
    write_json,
)
from realfeatures.science.checkpoint import Checkpoint, Mirror
from realfeatures.science.context import ProgressCallback, Run, no_progress
from realfeatures.science.stages import STAGES


class CellStore(Protocol):
    """What a stage's surroundings keep elsewhere; the science knows nothing of it."""

    def checkpoint(self, address: str) -> Mirror:
        """Return the twin of a running cell's checkpoint."""

    def provide(self, config: DataConfig) -> None:
        """Bring a data set into this machine's cache, where it is not there."""


def execute(
    cell: Cell,
    *,
    runtime: RuntimeConfig,
    inputs: Mapping[str, Artifact],
    destination: Path,
    work: Path,
    stop: Callable[[], bool] = lambda: False,
    progress: ProgressCallback = no_progress,
    store: CellStore | None = None,
) -> Artifact:
    """Run a cell's stage and leave its artifact at `destination`; return it, verified.

    Args:
        cell: what to run.
        runtime: on what.
        inputs: the parent's artifact for each of the cell's input ports.
        destination: appears whole, in one step, or not at all.
        work: a folder of the cell's own, on the same disk, for the checkpoint and the unfinished output;
            kept when the stage is interrupted, gone when it is done.
        stop: asked between steps; once true, the stage saves its checkpoint and raises Interrupted.
        progress: told how many of the stage's steps are done.
        store: keeps checkpoints and data sets beyond this machine. The checkpoint stays there until the caller has
            brought the artifact to a safe place.

    Raises:
        ArtifactError: an input is of the wrong kind, or does not fit another.
        StorageError: the output cannot be written.
        Interrupted: a stop was asked for.
    """
    started = time.monotonic()
    parents = {port: artifact.address for port, artifact in inputs.items()}
    origin = _origin(cell, parents=parents, runtime=runtime)
    if store is not None and isinstance(cell.config, DataConfig):
        store.provide(cell.config)
    mirror = store.checkpoint(origin["address"]) if store is not None else None
    checkpoint = Checkpoint(work / "checkpoint.safetensors", stop=stop, mirror=mirror)
    run = Run(seed=cell.seed, runtime=runtime, checkpoint=checkpoint, progress=progress)
    run.start()
    output = empty_folder(work / "output")
    outcome = STAGES[cell.stage](cell.config, run=run, **inputs, **{output_port(cell.stage): OutputDir(output)})
    seal(output, kind=outcome.kind, record=outcome.record, attributes=outcome.attributes, **origin)
    seconds = round(time.monotonic() - started, 3)
    told = {
        "seconds": seconds,
        "host": socket.gethostname(),
        "processor": run.processor(),
        "resumed": checkpoint.resumed,
    }
    write_json(output / RUN, told)
    commit(output, destination)
    shutil.rmtree(work, ignore_errors=True)
    return open_artifact(destination)


def output_port(stage: str) -> str:
    """Return the name of a stage's one output port."""
    hints = STAGES[stage].__annotations__
    return next(name for name, hint in hints.items() if hint is OutputDir)


def _origin(cell: Cell, *, parents: Mapping[str, str], runtime: RuntimeConfig) -> dict[str, Any]:
    """Return all that the cell's address is a digest of, and the address."""
    code, versions = code_digest(), library_versions()
    return {
        "stage": cell.stage,
        "config": cell.config.identity(),
        "seed": cell.seed,
        "inputs": parents,
        "runtime": runtime.identity(),
        "code": code,
        "versions": versions,
        "address": cell_address(cell, inputs=parents, runtime=runtime, code=code, versions=versions),
    }
