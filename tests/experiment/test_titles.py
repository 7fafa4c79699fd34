"""What a person calls the cells: titles that tell them apart, also in a box that shows little."""

import pytest

from realfeatures.experiment.about import SHOWN, Role
from realfeatures.experiment.grid import Cell, cells
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.experiment.vocabulary import UNTRAINED, Control, Experiment

SELECTIONS = [(), *((f"experiments={experiment}",) for experiment in Experiment), ("experiments=E1,E2",)]


def grid(preset: str, selection: tuple[str, ...] = ()) -> list[Cell]:
    return cells(load_preset(preset, selection), [0])


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("preset", PRESETS)
def test_no_two_cells_of_a_group_read_alike(preset: str, selection: tuple[str, ...]) -> None:
    found = grid(preset, selection)
    assert max(len(cell.short) for cell in found) <= SHOWN == 18
    assert len({(cell.group, cell.short) for cell in found}) == len(found)
    assert len({cell.title for cell in found}) == len(found)
    groups = {cell.group for cell in found}
    assert len({group[:SHOWN] for group in groups}) == len(groups)


def test_a_title_says_what_is_measured() -> None:
    hard, easy = ({cell.key: cell.title for cell in grid("digits", (f"experiments={e}",))} for e in ("E1,E2", "E1"))
    own, probe = "seed0/robust/supervised/attack/robust", "seed0/robust/masked/attack/natural"
    assert (hard[own], easy[own]) == (
        "supervised on robust: AutoAttack, own head",
        "supervised on robust: accuracy, own head",
    )
    assert hard[probe] == easy[probe] == "masked on robust: accuracy, probe on natural"


def test_what_is_not_pretrained_is_not_called_so() -> None:
    for cell in grid("digits"):
        if cell.role is Role.ENCODER and (cell.features == UNTRAINED or cell.paradigm == Control.PIXELS):
            assert "train" not in cell.title.replace(UNTRAINED, "")
            assert "train" not in cell.short


def test_a_title_names_the_timestep_and_the_start_of_an_attack() -> None:
    titles = {cell.key: cell.title for cell in grid("digits")}
    assert titles["seed0/natural/diffusion/timestep100/probe/natural"] == (
        "diffusion on natural at 100: probe on natural"
    )
    assert titles["seed0/d_rand/masked/attack_from_robust_set/d_rand"].endswith("probe on d-rand from robust images")
