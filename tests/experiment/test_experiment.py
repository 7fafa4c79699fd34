"""The experiment as data: presets, overrides, the grid of cells, addresses and what code they cover."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realfeatures.errors import ConfigError
from realfeatures.experiment import address
from realfeatures.experiment.config import DataConfig
from realfeatures.experiment.grid import Cell, cell_addresses, cells
from realfeatures.experiment.overrides import differences, override
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.experiment.vocabulary import canonical_json, digest_of


def addresses(*assignments: str, preset: str = "digits", seeds=(0,), code: str = "c") -> dict[str, str]:
    loaded = load_preset(preset, assignments)
    return cell_addresses(cells(loaded, seeds), runtime=loaded.runtime, code=code, versions={"torch": "2"})


def changed(*assignments: str) -> set[str]:
    before, after = addresses(), addresses(*assignments)
    assert before.keys() == after.keys()
    return {key for key in before if before[key] != after[key]}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_cells_in_an_order_that_can_run(name: str) -> None:
    seen: set[str] = set()
    for cell in cells(load_preset(name), [0, 1]):
        assert cell.key not in seen
        assert set(cell.inputs.values()) <= seen
        assert 0 <= cell.seed < 2**63
        seen.add(cell.key)
    assert len(set(addresses(preset=name, seeds=(0, 1)).values())) == len(seen)


@pytest.mark.parametrize(
    "selection",
    [
        ["paradigms=masked"],
        ["paradigms=masked", "features=natural"],
        ["paradigms=diffusion,contrastive", "features=natural,d_rand"],
        ["features=natural,robust", "experiments=E2,E6"],
        ["paradigms=masked", "experiments=E3"],
        ["experiments=E5"],
        ["features=[natural, non_robust]"],
    ],
)
def test_any_selection_keeps_the_sources_that_it_needs(selection: list[str]) -> None:
    seen: set[str] = set()
    for cell in cells(load_preset("digits", selection), [0]):
        assert set(cell.inputs.values()) <= seen
        seen.add(cell.key)


def test_the_matched_and_both_mixed_cells_are_there_for_every_paradigm() -> None:
    keys = set(addresses())
    for paradigm in ("supervised", "contrastive", "masked", "diffusion"):
        assert f"seed0/natural/{paradigm}/attack/natural" in keys
        for features in ("robust", "non_robust", "d_rand"):
            assert f"seed0/{features}/{paradigm}/attack/{features}" in keys
            assert f"seed0/{features}/{paradigm}/attack/natural" in keys
            assert f"seed0/natural/{paradigm}/attack/{features}" in keys
            assert f"seed0/untrained/{paradigm}/attack/{features}" in keys
    assert "seed0/controls/pixels/attack/non_robust" in keys


def test_supervised_models_are_attacked_through_their_own_head() -> None:
    grid = {cell.key: cell for cell in cells(load_preset("digits"), [0])}
    attack = grid["seed0/robust/supervised/attack/robust"]
    assert attack.inputs["probe"] == attack.inputs["encoder"] == "seed0/robust/supervised/encoder"
    beside = grid["seed0/robust/supervised/probe/attack/robust"]
    assert beside.inputs["probe"] == "seed0/robust/supervised/probe/robust"


def downstream(chosen: Callable[[Cell], bool]) -> set[str]:
    """Return the keys of the chosen cells and of all that read from them."""
    found: set[str] = set()
    for cell in cells(load_preset("digits"), [0]):
        if chosen(cell) or found & set(cell.inputs.values()):
            found.add(cell.key)
    return found


def test_a_change_touches_the_cells_downstream_of_it_and_no_other() -> None:
    assert changed("probe.epochs=5") == downstream(lambda cell: cell.stage == "linear_probe")
    assert changed("masked.width=24") == downstream(lambda cell: cell.stage == "pretrain" and cell.paradigm == "masked")
    assert changed("adversarial.attack.steps=3") == downstream(
        lambda cell: cell.key == "seed0/sources/adversarial/encoder"
    )
    assert len(changed("data.train_size=100")) == len(addresses())


def test_code_seed_runtime_and_versions_are_part_of_an_address() -> None:
    preset = load_preset("digits")
    grid = cells(preset, [0])
    base = cell_addresses(grid, runtime=preset.runtime, code="a", versions={})
    assert set(base.values()).isdisjoint(addresses(code="b").values())
    threads = preset.runtime.model_copy(update={"threads": 2})
    assert set(base.values()).isdisjoint(cell_addresses(grid, runtime=threads, code="a", versions={}).values())
    other_seed = set(addresses(seeds=(1,)).values())
    assert set(addresses(seeds=(0,)).values()) & other_seed == {addresses()["data"]}


def test_a_folders_place_is_no_part_of_its_address_but_its_content_is() -> None:
    first = DataConfig(source="folder:/one", sha256="a")
    assert first.identity() == DataConfig(source="folder:/two", sha256="a").identity()
    assert first.identity() != DataConfig(source="folder:/one", sha256="b").identity()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("probe.epoch=5", "probe.epoch: unknown key 'epoch'; probe has: epochs"),
        ("prob.epochs=5", "unknown key 'prob'; the top level has: supervised, .*, name, runtime"),
        ("probe.epochs.x=5", "unknown key 'x'; probe.epochs has: nothing"),
        ("probe.epochs=five", "probe.epochs: .*valid integer.*'five'"),
        ("probe.epochs=0", r"probe.epochs: .*greater than 0 \(given: 0\)"),
        ("probe.learning_rate=.nan", "probe.learning_rate: .*finite"),
        ("adversarial.attack.epsilon=-0.5", r"attack.epsilon: .*greater than or equal to 0 \(given: -0.5\)"),
        ("attack.pgd=[{norm: L3, epsilon: 1}]", "attack.pgd.0.norm: .*'L2' or 'Linf'"),
        ("paradigms=supervised,telepathy", "paradigms.1: .*'supervised', 'contrastive', 'masked' or 'diffusion'"),
        ("paradigms=[]", "paradigms: .*at least 1"),
        ("paradigms=3", r"paradigms: expected a list, such as \[a, b\] \(given: 3\)"),
        ("probe=2", r"probe: expected a mapping, such as \{key: value\} \(given: 2\)"),
        ("features=robust", "features must contain natural"),
        ("features=natural,natural", "names one twice"),
        ("masked.heads=7", r"width 48 must be a multiple of heads \(7\)"),
        ("diffusion.timestep=1000", r"timestep 1000 must be below timesteps \(1000\)"),
        ("supervised.optimizer.milestones=[3]", "milestones belong to the step schedule"),
        ("adversarial.optimizer.epochs=-1", "^adversarial.optimizer.epochs: .*greater than 0"),
        ("probe.augmentation={padding: -1}", r"^probe.augmentation.padding: .* \(given: -1\)"),
        ("probe.augmentation={min_scale: 5}", "^probe.augmentation.min_scale: .*less than or equal to 1"),
        ("probe.augmentation={crop: 5}", "^probe.augmentation.crop: Extra inputs are not permitted"),
        ("probe.augmentation=crop", "^probe.augmentation: expected a mapping"),
        ("adversarial={paradigm: outside}", "^adversarial.architecture: Field required"),
        (
            "adversarial={paradigm: outside, architecture: timm:resnet18, weights: a, std: [1]}",
            "^adversarial: mean and std belong together",
        ),
        ("name=mine", "the name is fixed"),
        ("probe.epochs", "expected KEY=VALUE"),
        ("probe.epochs=[1", "not valid YAML"),
    ],
)
def test_a_bad_assignment_is_one_line_that_names_value_and_expectation(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_preset("digits", [assignment])
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_as_an_assignment_is_refused_in_one_line_or_accepted(text: str) -> None:
    try:
        load_preset("digits", [text])
    except ConfigError as error:
        message = str(error)
    else:
        message = "accepted"
    assert len(message.splitlines()) == 1


def test_assignments_take_effect_in_order_and_a_data_set_keeps_the_sizes() -> None:
    preset = load_preset("cifar10-small", ["probe.epochs=3", "probe.epochs=4", "data=folder:/a=b", "robust.delta=1e0"])
    assert preset.probe.epochs == 4
    assert preset.data.source == "folder:/a=b"
    assert preset.data.train_size == 2000
    assert preset.robust.delta == 1.0


@pytest.mark.parametrize(
    "assignments",
    [
        [],
        ["probe.epochs=3", "attack.pgd=[{norm: L2, epsilon: 1}]", "paradigms=masked"],
        ["standard={paradigm: outside, architecture: timm:resnet18, weights: a}"],
        ["adversarial={paradigm: outside, architecture: timm:resnet18, weights: a}", "probe.augmentation={padding: 1}"],
        ["data=folder:pets", "data.train_size=30"],
    ],
)
def test_the_differences_from_a_preset_give_the_same_preset_again(assignments: list[str]) -> None:
    preset = load_preset("digits", assignments)
    found = differences(preset, load_preset("digits"))
    assert override(load_preset("digits"), found) == preset
    assert len(found) == len(assignments)


def test_a_data_sets_digest_is_no_difference_but_all_else_is() -> None:
    base, small = load_preset("digits"), load_preset("cifar10-small", [f"data.sha256={'a' * 64}"])
    found = differences(small, base)
    assert "data.sha256" not in found
    assert override(base, found) == load_preset("cifar10-small")


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'imagenet' is unknown; expected one of: digits, cifar10-small"):
        load_preset("imagenet")


def test_the_paper_has_the_published_hyperparameters(expected_paper) -> None:
    preset = load_preset("paper").model_dump(mode="json")
    for path, value in expected_paper.items():
        found = preset
        for part in path.split("."):
            found = found[part]
        assert found == pytest.approx(value) if isinstance(value, float) else found == value, path


@pytest.fixture
def expected_paper(request) -> dict[str, object]:
    return json.loads((request.path.parents[1] / "expected" / "paper_hyperparameters.json").read_text())["values"]


def test_canonical_json_and_digest_do_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [1.0, None]}) == '{"a":[1.0,null],"b":1}'
    assert digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})


def test_planning_imports_no_torch_and_no_kfp() -> None:
    program = (
        "import sys; from realfeatures.experiment.presets import load_preset;"
        "from realfeatures.experiment.grid import cells, cell_addresses;"
        "from realfeatures.experiment.address import code_digest, library_versions; p = load_preset('paper');"
        "cell_addresses(cells(p, [0]), runtime=p.runtime, code=code_digest(), versions=library_versions());"
        "print({'torch', 'kfp', 'kubernetes', 'minio', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_the_code_digest_covers_the_science_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "science"
    shutil.copytree(address.SCIENCE, copy)

    def digest() -> str:
        with monkeypatch.context() as patch:
            patch.setattr(address, "SCIENCE", copy)
            return address.code_digest.__wrapped__()

    assert digest() == address.code_digest()
    with (copy / "attacks" / "pgd.py").open("a") as module:
        module.write("# edited\n")
    assert digest() != address.code_digest()
