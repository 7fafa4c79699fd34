"""Two image sets in each other's place are found: in the grid, at a cell's inputs, and among an artifact's files."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from checks import check_artifact_has_its_parents, check_cells_read_what_their_names_say
from started_run import started_run

from realfeatures.errors import ArtifactError
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.codec import encode, name_of
from realfeatures.experiment.grid import Cell, cell_addresses, cells
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.kubeflow.batches import choose
from realfeatures.kubeflow.tasks.executor import ExecutorInput
from realfeatures.kubeflow.tasks.stage import run_cells
from realfeatures.running.folder import RunFolder
from realfeatures.science import probe
from realfeatures.science.artifacts import load_tensors, open_artifact, read_manifest, save_tensors, write_json
from realfeatures.science.execution import execute

ROBUST_IMAGES = "seed0/robust/images"
ROBUST_ENCODER = "seed0/robust/supervised/encoder"

EXPERIMENT = load_preset(
    "digits",
    [
        "data.train_size=40",
        "data.test_size=20",
        "adversarial.optimizer.epochs=1",
        "adversarial.attack.steps=1",
        "supervised.optimizer.epochs=1",
        "robust.steps=2",
    ],
)


def swapped(key: str, one: str, other: str) -> str:
    return {one: other, other: one}.get(key, key)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_presets_grid_passes_the_check_of_what_cells_read(preset: str) -> None:
    check_cells_read_what_their_names_say(cells(load_preset(preset), [0, 1]))


@pytest.mark.parametrize("other", ["data", "seed0/non_robust/images"])
def test_a_grid_that_swaps_two_image_sets_is_found(other: str) -> None:
    grid = [
        replace(cell, inputs={port: swapped(key, ROBUST_IMAGES, other) for port, key in cell.inputs.items()})
        for cell in cells(EXPERIMENT, [0])
    ]
    with pytest.raises(AssertionError, match=r"seed0/robust/.* read images of other features"):
        check_cells_read_what_their_names_say(grid)


@dataclass
class Executed:
    """A few cells of a tiny experiment, run where each belongs."""

    grid: Mapping[str, Cell]
    addresses: Mapping[str, str]
    folder: RunFolder
    work: Path
    done: set[str] = field(default_factory=set)

    def run(self, key: str, inputs: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run a cell after the cells that it reads from, or, to plant an error, from others."""
        cell = self.grid[key]
        read = cell.inputs if inputs is None else inputs
        for parent in read.values():
            if parent not in self.done:
                self.run(parent)
        self.done.add(key)
        made = execute(
            cell,
            runtime=EXPERIMENT.runtime,
            inputs={port: open_artifact(self.at(parent)) for port, parent in read.items()},
            destination=self.at(key),
            work=self.work / self.addresses[key],
        )
        return dict(made.manifest)

    def at(self, key: str) -> Path:
        return self.folder.cell(self.addresses[key])


@pytest.fixture
def executed(tmp_path: Path) -> Executed:
    grid = cells(EXPERIMENT, [0])
    addresses = cell_addresses(grid, runtime=EXPERIMENT.runtime, code=code_digest(), versions=library_versions())
    (tmp_path / "cells").mkdir()
    return Executed({cell.key: cell for cell in grid}, addresses, RunFolder(tmp_path), tmp_path / "work")


def test_an_artifact_made_of_its_planned_inputs_passes(executed: Executed) -> None:
    manifest = executed.run(ROBUST_ENCODER)
    check_artifact_has_its_parents(manifest, executed.grid[ROBUST_ENCODER], executed.addresses)
    assert ROBUST_ENCODER in executed.folder.finished(executed.addresses)


def test_a_cell_that_was_handed_another_image_set_is_found_by_its_address(executed: Executed) -> None:
    manifest = executed.run(ROBUST_ENCODER, {"train_set": "data"})
    with pytest.raises(AssertionError, match="was made of other inputs"):
        check_artifact_has_its_parents(manifest, executed.grid[ROBUST_ENCODER], executed.addresses)
    # The product's own: a run does not take such an artifact for the cell.
    with pytest.raises(ArtifactError, match="is the artifact"):
        executed.folder.finished(executed.addresses)


def test_a_kubeflow_task_that_is_handed_another_image_set_refuses_it(executed: Executed, tmp_path: Path) -> None:
    executed.run("data")
    bundle = tmp_path / "bundle"
    (bundle / "cells").mkdir(parents=True)
    address = executed.addresses["data"]
    executed.at("data").rename(bundle / "cells" / address)
    write_json(bundle / "cells.json", {ROBUST_IMAGES: address})
    name = f"cell:{name_of(executed.grid[ROBUST_ENCODER])}"
    order = encode(name, EXPERIMENT, seed=0, addresses=executed.addresses, choose=choose)
    outputs = {"encoder": tmp_path / "encoder"}
    told = ExecutorInput({"cells": order}, {"images": bundle}, outputs, {}, tmp_path / "metadata", {})
    with pytest.raises(ArtifactError, match=r"its inputs, .* expected"):
        run_cells(told)
    assert not (tmp_path / "encoder").exists()


def test_files_swapped_between_two_artifacts_are_found_by_their_digests(executed: Executed) -> None:
    executed.run(ROBUST_IMAGES)
    natural, robust = (executed.at(key) / "train.safetensors" for key in ("data", ROBUST_IMAGES))
    contents = natural.read_bytes(), robust.read_bytes()
    robust.write_bytes(contents[0])
    natural.write_bytes(contents[1])
    for key in ("data", ROBUST_IMAGES):
        with pytest.raises(ArtifactError, match="sha256 does not match its manifest"):
            read_manifest(executed.at(key))


def test_an_encoder_that_was_fine_tuned_in_its_place_is_found_by_its_digest(executed: Executed) -> None:
    executed.run(ROBUST_ENCODER)
    weights = executed.at(ROBUST_ENCODER) / "encoder.safetensors"
    save_tensors(weights, {name: value + 1e-6 for name, value in load_tensors(weights).items()})
    with pytest.raises(ArtifactError, match=r"encoder.safetensors: sha256 does not match its manifest"):
        probe.load_classifier(open_artifact(executed.at(ROBUST_ENCODER)), started_run())
