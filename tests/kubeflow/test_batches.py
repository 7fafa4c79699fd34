"""Cells in tasks: each cell in one of them, each task after those that it reads from, whatever the granularity."""

import pytest

from realfeatures.components import COMPONENTS
from realfeatures.errors import ConfigError
from realfeatures.experiment.about import SHOWN, Role
from realfeatures.experiment.codec import encode
from realfeatures.experiment.grid import DATA, cells
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.kubeflow.batches import CONFIGURE, NAMES, RESULTS, Granularity, Source, batches, choose, sources
from realfeatures.running.plan import make_plan

EVERY = pytest.mark.parametrize("granularity", Granularity)


@EVERY
@pytest.mark.parametrize("name", PRESETS)
def test_every_cell_is_in_one_task_that_comes_after_those_it_reads_from(name, granularity):
    grid = cells(load_preset(name), [4])
    found = batches(grid, granularity)
    assert sorted(cell.key for batch in found.values() for cell in batch.cells) == sorted(cell.key for cell in grid)
    done: set[str] = set()
    for batch in found.values():
        for cell in batch.cells:
            assert {*cell.inputs.values()} <= done
            done.add(cell.key)
        assert {source.batch for source in sources(batch, found)} <= found.keys()
        assert max(len(batch.title), len(batch.step)) <= SHOWN or granularity is Granularity.SET


def test_coarser_tasks_are_fewer():
    grid = cells(load_preset("digits"), [0])
    counts = [len(batches(grid, granularity)) for granularity in Granularity]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == len(grid)


def test_whoever_makes_a_set_is_pretrained_apart():
    found = batches(cells(load_preset("digits"), [0]), Granularity.SET)
    apart = {key for key, batch in found.items() if batch.component == "pretrain"}
    paradigms = ("supervised", "contrastive", "masked", "diffusion")
    assert apart == {"sources/adversarial/pretrain", *(f"natural/{one}/pretrain" for one in paradigms)}


def test_a_set_that_one_task_alone_reads_is_made_in_it():
    grid = cells(load_preset("digits"), [0])
    by_encoder, by_set = (batches(grid, one) for one in (Granularity.ENCODER, Granularity.SET))
    for found, joined in ((by_encoder, "d_det/supervised/all"), (by_set, "non_robust_masked/all")):
        assert found[joined].component == "set"
        assert Role.IMAGES in {cell.role for cell in found[joined].cells}
    assert "robust/images" in by_set
    assert "non_robust_masked/images" in by_encoder


def test_a_task_reads_an_artifact_once_however_many_of_its_cells_do():
    found = batches(cells(load_preset("digits"), [0]), Granularity.STAGE)
    read = sources(found["natural/contrastive/attack"], found)
    assert [*read].count(Source(DATA, "images")) == 1
    assert len(read[Source("natural/contrastive/probe", "probes")]) > 1


def test_a_set_of_one_encoder_with_its_transfer_has_a_component_and_a_name():
    preset = load_preset("digits", ["experiments=E5", "paradigms=supervised", "features=natural"])
    found = batches(cells(preset, [0]), Granularity.SET)["natural/all"]
    assert (found.component, found.title) == ("set", "natural supervised")


def test_the_pipelines_have_a_component_of_every_name():
    assert COMPONENTS.keys() | {CONFIGURE} == NAMES


def test_a_name_means_the_cells_of_its_task():
    grid = {cell.key.removeprefix("seed0/"): cell for cell in cells(load_preset("digits"), [0])}
    assert [cell.key for cell in choose("stage:robust/masked/pretrain", grid)] == ["seed0/robust/masked/encoder"]
    assert choose(RESULTS, grid) == tuple(grid.values())
    for name in ("stage:robust/masked", "robust/masked/pretrain", "pod:data", ""):
        with pytest.raises(ConfigError, match="there is no task"):
            choose(name, grid)


def test_of_a_part_of_the_experiments_a_text_says_no_value_that_its_cells_do_not_depend_on():
    preset = load_preset("digits", ["experiments=E1", "probe.epochs=5", "attack.pgd_steps=3", "masked.mask_ratio=0.5"])
    plan = make_plan(preset, seeds=[0])
    text = encode("stage:robust/contrastive/probe", preset, seed=0, addresses=plan.addresses, choose=choose)
    assert text.endswith('/probe {"experiments":["E1"],"probe.epochs":5}')
