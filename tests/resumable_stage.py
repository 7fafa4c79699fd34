"""A program that a test kills: it trains an encoder, its checkpoints in the store; called with DISK and SETTINGS."""

import json
import sys
from pathlib import Path

from realfeatures.experiment.grid import cells
from realfeatures.experiment.presets import load_preset
from realfeatures.kubeflow.tasks.stage import cell_store
from realfeatures.science import checkpoint
from realfeatures.science.artifacts import open_artifact
from realfeatures.science.execution import execute


def main(disk: Path, assignments: list[str]) -> None:
    # Checkpoints every 0.2 s in place of every 20, whatever they cost, so that a kill at any time finds one.
    checkpoint.Checkpoint.__init__.__kwdefaults__["interval_seconds"] = 0.2
    checkpoint.LARGEST_SHARE = 1.0
    preset = load_preset("digits", assignments)
    grid = {cell.key: cell for cell in cells(preset, [0])}
    for key, inputs in (("data", {}), ("seed0/natural/supervised/encoder", {"train_set": disk / "data"})):
        execute(
            grid[key],
            runtime=preset.runtime,
            inputs={port: open_artifact(folder) for port, folder in inputs.items()},
            destination=disk / key.split("/")[-1],
            work=disk / "work",
            store=cell_store(),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
