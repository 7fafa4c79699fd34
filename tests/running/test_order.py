"""The order of a run's cells: the head of the longest chain first."""

from dataclasses import replace

from realfeatures.experiment.grid import Cell, cells
from realfeatures.experiment.presets import load_preset
from realfeatures.running.cost import Cost
from realfeatures.running.order import Schedule, critical_paths
from realfeatures.running.plan import Plan, make_plan


def chain(*lengths: int) -> list[Cell]:
    """A root and chains of cells that hang on it."""
    root = replace(cells(load_preset("digits"), [0])[0], key="root", inputs={})
    grid = [root]
    for number, length in enumerate(lengths):
        before = "root"
        for position in range(length):
            key = f"chain{number}/{position}"
            grid.append(replace(root, key=key, inputs={"input": before}))
            before = key
    return grid


def test_the_critical_path_is_the_heaviest_chain_behind_a_cell():
    grid = chain(1, 3)
    paths = critical_paths(grid, {cell.key: 1.0 for cell in grid} | {"chain0/0": 2.5})
    assert paths == {"root": 4, "chain0/0": 2.5, "chain1/0": 3, "chain1/1": 2, "chain1/2": 1}


def scheduled(grid: list[Cell], done: set[str]) -> Schedule:
    plan = make_plan(load_preset("digits", ["experiments=E6"]), seeds=[0])
    costs = {cell.key: Cost(weight=1.0) for cell in grid}
    values = {"grid": tuple(grid), "costs": costs, "addresses": {cell.key: cell.key for cell in grid}}
    return Schedule(Plan(preset=plan.preset, seeds=(0,), info=plan.info, **values), done)


def taken(schedule: Schedule) -> list[str]:
    """All that can run now, in order."""
    return [cell.key for cell in iter(schedule.take, None)]


def test_the_head_of_the_longest_chain_runs_first_and_only_when_its_inputs_are_done():
    schedule = scheduled(chain(1, 3), set())
    assert taken(schedule) == ["root"]
    schedule.finish("root")
    assert taken(schedule) == ["chain1/0", "chain0/0"]
    schedule.finish("chain1/0")
    assert taken(schedule) == ["chain1/1"]
    assert not schedule.complete


def test_cells_that_are_done_are_not_scheduled():
    schedule = scheduled(chain(1, 2), {"root", "chain1/0"})
    assert sorted(taken(schedule)) == ["chain0/0", "chain1/1"]
    schedule.finish("chain0/0")
    schedule.finish("chain1/1")
    assert schedule.complete
