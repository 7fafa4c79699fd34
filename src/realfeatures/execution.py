"""Running one cell: verify its inputs, call its stage, seal and commit its artifact.

Every way of starting a stage (one machine, a KFP task, a container) goes through `execute`.
"""

import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from realfeatures.artifacts import (
    RUN,
    InputDir,
    OutputDir,
    commit,
    empty_folder,
    read_manifest,
    seal,
    write_json,
)
from realfeatures.checkpoint import Checkpoint
from realfeatures.config import RuntimeConfig
from realfeatures.grid import Cell, cell_address
from realfeatures.provenance import code_digest, library_versions
from realfeatures.run import ProgressCallback, Run, no_progress
from realfeatures.stages import STAGES, Outcome


def execute(
    cell: Cell,
    *,
    runtime: RuntimeConfig,
    inputs: Mapping[str, Path],
    destination: Path,
    work: Path,
    stop: Callable[[], bool] = lambda: False,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Run a cell's stage and leave its artifact at `destination`; return its manifest.

    Args:
        cell: what to run.
        runtime: on what.
        inputs: the folder of the parent's artifact for each of the cell's input ports.
        destination: appears whole, in one step, or not at all.
        work: a folder of the cell's own, on the same disk, for the checkpoint and the unfinished output;
            kept when the stage is interrupted, gone when it is done.
        stop: asked between steps; once true, the stage saves its checkpoint and raises Interrupted.
        progress: told how many of the stage's steps are done.

    Raises:
        ArtifactError: an input is missing, of the wrong kind, or was changed.
        StorageError: the output cannot be written.
        Interrupted: a stop was asked for.
    """
    started = time.monotonic()
    parents = {port: read_manifest(folder)["address"] for port, folder in inputs.items()}
    checkpoint = work / "checkpoint.safetensors"
    resumed = checkpoint.exists()
    run = Run(seed=cell.seed, runtime=runtime, checkpoint=Checkpoint(checkpoint, stop=stop), progress=progress)
    run.start()
    output = empty_folder(work / "output")
    ports = {port: InputDir(folder) for port, folder in inputs.items()}
    outcome = STAGES[cell.stage](cell.config, run=run, **ports, **{output_port(cell.stage): OutputDir(output)})
    _seal(output, cell, outcome, parents=parents, runtime=runtime)
    seconds = round(time.monotonic() - started, 3)
    told = {"seconds": seconds, "host": socket.gethostname(), "processor": run.processor(), "resumed": resumed}
    write_json(output / RUN, told)
    commit(output, destination)
    shutil.rmtree(work, ignore_errors=True)
    return read_manifest(destination)


def output_port(stage: str) -> str:
    """Return the name of a stage's one output port."""
    hints = STAGES[stage].__annotations__
    return next(name for name, hint in hints.items() if hint is OutputDir)


def _seal(output: Path, cell: Cell, outcome: Outcome, *, parents: Mapping[str, str], runtime: RuntimeConfig) -> None:
    """Write the manifest: what the stage says of its artifact, and all that the address is a digest of."""
    code, versions = code_digest(), library_versions()
    seal(
        output,
        kind=outcome.kind,
        record=outcome.record,
        attributes=outcome.attributes,
        stage=cell.stage,
        config=cell.config.identity(),
        seed=cell.seed,
        inputs=parents,
        runtime=runtime.identity(),
        code=code,
        versions=versions,
        address=cell_address(cell, inputs=parents, runtime=runtime, code=code, versions=versions),
    )
