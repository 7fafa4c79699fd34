"""A measurement: what is usual of it, its words, and the cells that no grid can have."""

import pytest

from realfeatures.errors import ConfigError
from realfeatures.experiment.grid import cells
from realfeatures.experiment.measurement import CLEAN, Measurement, matched, probed
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.experiment.vocabulary import Attack


def test_matched_names_one_set_twice() -> None:
    assert matched("masked", "robust").probe_features == "robust"
    assert matched("masked", "robust").matched
    assert not probed("masked", "robust", "natural").matched


def test_a_supervised_model_is_read_by_its_own_head_where_it_saw_the_set() -> None:
    assert [matched(paradigm, "robust").readout for paradigm in ("masked", "supervised")] == [
        "linear_probe",
        "own_head",
    ]
    assert Measurement(paradigm="supervised", features="robust", probe_features="natural").readout == "linear_probe"
    assert probed("supervised", "robust", "robust").readout == "linear_probe"


def test_an_attack_is_put_on_and_taken_off() -> None:
    clean = matched("diffusion", "natural", timestep=5)
    attacked = clean.under(Attack.PGD, "L2", 0.5)
    assert tuple(attacked.threat) == ("pgd", "L2", 0.5)
    assert attacked.clean == clean
    assert clean.threat == CLEAN


def test_it_names_what_is_not_usual_of_it() -> None:
    assert str(matched("masked", "robust").under("pgd", "L2", 0.5)) == "masked on robust under pgd L2 0.5"
    assert str(probed("pixels", "none", "natural")) == "pixels with a probe on natural"
    assert str(matched("masked", "natural", protocol="robust_set")) == "masked on natural (robust_set)"
    odd = Measurement(paradigm="diffusion", features="untrained", probe_features="natural", timestep=5, readout="knn")
    assert str(odd) == "diffusion on untrained at timestep 5 with a probe on natural read by knn"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_measurement_of_a_grid_is_found_again_by_its_fields(preset: str) -> None:
    measured = [cell.measurement for cell in cells(load_preset(preset), [0]) if cell.measurement is not None]
    assert [Measurement.of(vars(one)) for one in measured] == measured


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ({"paradigm": "hypnosis"}, "paradigm 'hypnosis' is unknown; expected one of: supervised, contrastive"),
        ({"features": "imaginary"}, "features 'imaginary' is unknown; expected one of: natural, robust"),
        ({"features": "none"}, "raw pixels, and nothing else, have features 'none'"),
        ({"paradigm": "pixels"}, "raw pixels, and nothing else, have features 'none'"),
        ({"paradigm": "adversarial", "features": "robust"}, "the adversarial source is trained on natural"),
        ({"readout": "own_head"}, "only a supervised model, on the set that it was trained on, has an own head"),
        ({"paradigm": "supervised", "features": "robust", "readout": "own_head"}, "has an own head"),
        ({"timestep": 5}, "only a diffusion encoder has timesteps"),
        ({"features": "d_det"}, "only supervised encoders are trained on d_det"),
        ({"attack": "pgd"}, "an attack has a norm and an epsilon of 0 or more"),
        ({"attack": "pgd", "norm": "L2", "epsilon": -0.5}, "an attack has a norm and an epsilon of 0 or more"),
        ({"norm": "L2", "epsilon": 0.5}, "a clean accuracy neither"),
        ({"epsilon": 0.5}, "a clean accuracy neither"),
        ({"readout": "oracle"}, "readout 'oracle' is unknown; expected one of: own_head"),
        ({"attack": "magic", "norm": "L2", "epsilon": 0.5}, "attack 'magic' is unknown; expected one of: none, pgd"),
        ({"protocol": "moon"}, "protocol 'moon' is unknown; expected one of: natural, robust_set"),
    ],
)
def test_a_cell_that_no_grid_can_have_is_an_error_at_construction(cell: dict, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        Measurement(**{"paradigm": "masked", "features": "natural", "probe_features": "natural", **cell})
    assert "\n" not in str(caught.value)
