"""The diagram of a run: which inputs of a cell it draws."""

import pytest

from realfeatures.experiment.grid import cells
from realfeatures.experiment.presets import load_preset
from realfeatures.report.sections.diagram import DRAWN_PORTS

GRID = cells(load_preset("digits"), [0])


@pytest.mark.parametrize("stage", DRAWN_PORTS)
def test_every_stage_has_an_input_that_is_drawn(stage: str) -> None:
    of_stage = [cell for cell in GRID if cell.stage == stage]
    assert of_stage
    assert all(cell.inputs.keys() & set(DRAWN_PORTS[stage]) for cell in of_stage)
