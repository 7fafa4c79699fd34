"""Cells as text: short, there and back, and refused where they are not what was planned."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realfeatures.errors import ArtifactError, ConfigError
from realfeatures.experiment.address import code_digest, library_versions
from realfeatures.experiment.codec import decode, encode, name_of, one_cell
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell, cell_addresses, cells
from realfeatures.experiment.overrides import override
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.experiment.vocabulary import Experiment, Features, Paradigm

SHORT_BYTES = 200
"""Kubeflow's state repeats a task's parameters up to six times and may not pass 1 MiB."""

SHA256 = "a" * 64
OUTSIDE = {"paradigm": "outside", "architecture": "robustbench:resnet18", "weights": "my 'robust'.pt", "sha256": SHA256}


def addresses_of(preset: Preset, seed: int = 0) -> dict[str, str]:
    grid = cells(preset, [seed])
    return cell_addresses(grid, runtime=preset.runtime, code=code_digest(), versions=library_versions())


def text_of(preset: Preset, name: str) -> str:
    return encode(name, preset, seed=0, addresses=addresses_of(preset))


def listed(name: str, grid: Mapping[str, Cell]) -> list[Cell]:
    """Cells by a list of their keys below the seed."""
    return [one for key in name.split(",") for one in one_cell(key, grid)]


def work(cell: Cell) -> tuple:
    """All of a cell that decides what it computes; equal numbers of another type make another text."""
    return cell.key, cell.stage, type(cell.config), cell.config.model_dump_json(), dict(cell.inputs), cell.seed


def subsets(names, *, always=()):
    return st.sets(st.sampled_from([*names]), min_size=1).map(lambda chosen: sorted({*chosen, *always}))


VALUES = {
    "probe.epochs": st.integers(1, 99),
    "probe.learning_rate": st.floats(1e-6, 1.0),
    "probe.augmentation": st.sampled_from([None, {"padding": 1, "flip": False}]),
    "supervised.optimizer.epochs": st.sampled_from([3, 3.0, "3"]),
    "masked.mask_ratio": st.floats(0.1, 0.9),
    "diffusion.timestep": st.integers(0, 999),
    "timesteps": st.sets(st.integers(0, 999), max_size=3).map(sorted),
    "attack.pgd": st.lists(st.fixed_dictionaries({"norm": st.just("L2"), "epsilon": st.floats(0.1, 9.0)}), max_size=3),
    "runtime.threads": st.integers(1, 64),
    "runtime.device": st.sampled_from(["cpu", "cuda"]),
    "paradigms": subsets(Paradigm),
    "features": subsets([Features.ROBUST, Features.D_RAND], always=[Features.NATURAL]),
    "experiments": subsets(Experiment),
    "data.source": st.text(min_size=1).map(lambda path: f"folder:{path}"),
    "data.train_size": st.integers(1, 1000),
    "data.sha256": st.sampled_from([None, SHA256]),
    "adversarial": st.just(OUTSIDE),
    "standard": st.just(OUTSIDE),
}


@st.composite
def experiments(draw) -> Preset:
    paths = draw(st.sets(st.sampled_from(sorted(VALUES)), max_size=6))
    preset = PRESETS[draw(st.sampled_from(sorted(PRESETS)))]()
    return override(preset, {path: draw(VALUES[path]) for path in sorted(paths)})


@pytest.mark.parametrize("name", PRESETS)
def test_every_cell_of_a_shipped_preset_is_a_short_text_that_means_the_same_cell(name):
    preset = load_preset(name)
    addresses = addresses_of(preset, seed=7)
    for cell in cells(preset, [7]):
        text = encode(name_of(cell), preset, seed=7, addresses=addresses)
        assert len(text.encode()) < SHORT_BYTES
        assert "\n" not in text
        assert decode(text).cells == (cell,)
        assert decode(text).preset.runtime == preset.runtime


@settings(deadline=None, max_examples=60)
@given(experiments(), st.integers(0, 2**40), st.data())
def test_any_cells_of_any_experiment_come_back_in_their_order(preset, seed, data):
    grid = cells(preset, [seed])
    addresses = addresses_of(preset, seed)
    chosen = data.draw(st.lists(st.sampled_from(grid), min_size=1, max_size=5, unique_by=lambda cell: cell.key))
    name = ",".join(map(name_of, chosen))
    order = decode(encode(name, preset, seed=seed, addresses=addresses, choose=listed), listed)
    assert (order.name, order.seed) == (name, seed)
    assert [work(cell) for cell in order.cells] == [work(cell) for cell in chosen]
    assert order.preset.runtime == preset.runtime
    inputs = [{port: addresses[key] for port, key in cell.inputs.items()} for cell in order.cells]
    computed = [order.address(cell, parents) for cell, parents in zip(order.cells, inputs, strict=True)]
    assert computed == [addresses[cell.key] for cell in chosen]
    order.require(computed)
    with pytest.raises(ArtifactError, match=r"expected [0-9a-f]{12}; .*cache$"):
        order.require([*computed[:-1], "0" * 32])


def test_a_text_says_the_values_that_its_cells_depend_on_and_no_others():
    preset = load_preset("digits", ["probe.epochs=5", "masked.mask_ratio=0.5", "runtime.threads=3"])
    assert text_of(preset, "data").endswith(' data {"runtime.threads":3}')
    probe = text_of(preset, "robust/masked/probe/robust")
    assert probe.endswith('masked/probe/robust {"probe.epochs":5,"runtime.threads":3}')


def test_a_text_for_who_reads_the_preset_says_every_value():
    preset = load_preset("digits", ["probe.epochs=5", "experiments=E1", "masked.mask_ratio=0.5"])
    text = encode("data", preset, seed=0, addresses=addresses_of(preset), everything=True)
    assert decode(text).preset == preset


def test_a_change_upstream_changes_the_digest_alone():
    before = text_of(load_preset("digits"), "robust/masked/probe/robust").split()
    after = text_of(load_preset("digits", ["masked.mask_ratio=0.5"]), "robust/masked/probe/robust").split()
    assert [first == second for first, second in zip(before, after, strict=True)] == [True, True, False, True]


def test_a_value_counts_as_it_was_validated():
    shipped = load_preset("digits")
    key = "natural/supervised/probe/natural"
    assert text_of(override(shipped, {"probe.epochs": float(shipped.probe.epochs)}), key) == text_of(shipped, key)
    assert text_of(override(shipped, {"probe.epochs": 5.0}), key).endswith('{"probe.epochs":5}')


def test_a_preset_of_another_name_travels_by_its_values():
    preset = load_preset("digits").model_copy(update={"name": "mine"})
    grid, addresses = cells(preset, [0]), addresses_of(preset)
    for cell in grid[::20]:
        order = decode(encode(name_of(cell), preset, seed=0, addresses=addresses))
        assert [work(cell) for cell in order.cells] == [work(cell)]
        assert order.preset.runtime == preset.runtime


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected PRESET SEED"),
        ('{"stage": "train"}', "expected PRESET SEED"),
        ("digits 0 0123456789ab data {}\n", "expected PRESET SEED"),
        ("mine 0 0123456789ab data", "preset 'mine' is unknown"),
        ("digits 0 0123456789ab natural/rotation/encoder", "no cell 'natural/rotation/encoder'"),
        ('digits 0 0123456789ab data {"data.colour":1}', "unknown key 'colour'"),
        ("digits 0 0123456789ab data {data}", "property name"),
    ],
)
def test_a_text_of_another_form_is_a_one_line_error(text, problem):
    with pytest.raises(ConfigError, match=problem) as raised:
        decode(text)
    assert str(raised.value).endswith("compile again")
    assert "\n" not in str(raised.value)


@given(st.text())
def test_no_text_is_taken_for_cells_by_chance(text):
    with pytest.raises(ConfigError, match="compile again") as raised:
        decode(text)
    assert "\n" not in str(raised.value)
