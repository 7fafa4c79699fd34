"""Which cells each experiment asks for, and that experiments share them."""

import pytest

from realfeatures.errors import ConfigError
from realfeatures.experiment.experiments import wants
from realfeatures.experiment.grid import Cell, cells
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.experiment.vocabulary import MAIN_FEATURES, NON_ROBUST_OF, Experiment, Paradigm

SELF_SUPERVISED = ("contrastive", "masked", "diffusion")


def grid(*assignments: str, preset: str = "digits") -> dict[str, Cell]:
    return {cell.key.removeprefix("seed0/"): cell for cell in cells(load_preset(preset, assignments), [0])}


def of_experiment(experiment: Experiment) -> dict[str, Cell]:
    return grid(f"experiments={experiment}")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("experiment", Experiment)
def test_every_preset_has_every_experiment(preset: str, experiment: Experiment) -> None:
    found = [cell for cell in grid(preset=preset).values() if experiment in cell.experiments]
    assert found


@pytest.mark.parametrize("experiment", Experiment)
def test_the_cells_of_one_experiment_are_part_of_the_whole(experiment: Experiment) -> None:
    alone, whole = of_experiment(experiment), grid()
    assert alone.keys() <= whole.keys()
    trained = [key for key, cell in alone.items() if cell.stage not in ("attack", "nearest_neighbours")]
    assert all(alone[key].config == whole[key].config for key in trained)


def test_a_cell_that_several_experiments_want_is_one_cell() -> None:
    parts = [of_experiment(experiment) for experiment in Experiment]
    whole = grid()
    assert whole.keys() == set().union(*parts)
    assert len(whole) < sum(map(len, parts))
    shared = whole["natural/contrastive/attack/natural"].experiments
    assert shared == ("E1", "E2", "E3", "E4", "decomposition", "controls")


def test_a_cell_is_attacked_as_hard_as_its_most_demanding_experiment_asks() -> None:
    key = "natural/contrastive/attack/natural"
    usefulness, augmentation, robustness = (grid(f"experiments={names}")[key].config for names in ("E1", "E4", "E1,E2"))
    assert not usefulness.pgd
    assert not usefulness.autoattack
    assert augmentation.pgd
    assert not augmentation.autoattack
    assert robustness.pgd
    assert robustness.autoattack


def test_e2_attacks_every_matched_cell_from_natural_and_from_robust_images() -> None:
    found = of_experiment(Experiment.E2)
    for features in MAIN_FEATURES:
        for paradigm in Paradigm:
            natural = found[f"{features}/{paradigm}/attack/{features}"]
            robust = found[f"{features}/{paradigm}/attack_from_robust_set/{features}"]
            assert natural.inputs["test_set"] == "data"
            assert robust.inputs == {**natural.inputs, "test_set": "seed0/robust/images"}
            assert natural.config.autoattack
            assert robust.config.model_copy(update={"protocol": "natural"}) == natural.config


def test_e3_trains_every_paradigm_on_the_features_of_every_paradigm() -> None:
    found = of_experiment(Experiment.E3)
    for source, features in NON_ROBUST_OF.items():
        assert found[f"{features}/images"].inputs["source"] == f"seed0/natural/{source}/encoder"
        for target in Paradigm:
            assert found[f"{features}/{target}/encoder"].inputs["train_set"] == f"seed0/{features}/images"
            assert f"{features}/{target}/attack/{features}" in found


def test_e4_fits_each_probe_to_the_views_of_one_augmentation() -> None:
    found, preset = of_experiment(Experiment.E4), load_preset("digits")
    augmentations = {
        "probe_crop_flip": preset.supervised.augmentation,
        "probe_simclr": preset.contrastive.augmentation,
        "probe_noise": preset.probe_noise,
    }
    for paradigm in SELF_SUPERVISED:
        assert found[f"natural/{paradigm}/probe/natural"].config.views == 1
        for name, augmentation in augmentations.items():
            probe = found[f"natural/{paradigm}/{name}/natural"].config
            assert (probe.augmentation, probe.views) == (augmentation, preset.probe_views)
            assert found[f"natural/{paradigm}/{name}/attack/natural"].config.pgd


def test_e5_gives_every_paradigms_classifier_to_the_transfer_matrix() -> None:
    found = of_experiment(Experiment.E5)
    for features in MAIN_FEATURES:
        inputs = found[f"{features}/transfer"].inputs
        assert inputs["test_set"] == "data"
        for number, paradigm in enumerate(["supervised", *SELF_SUPERVISED], start=1):
            assert inputs[f"encoder_{number}"] == f"seed0/{features}/{paradigm}/encoder"
            if number > 1:
                assert inputs[f"probe_{number}"] == f"seed0/{features}/{paradigm}/probe/{features}"
        assert len(inputs) == 1 + 4 + 3
    assert not grid("experiments=E5", "paradigms=masked").keys() & {"natural/contrastive/loss_curves"}


def test_e6_breaks_labels_and_start_images_each_in_one_set() -> None:
    found = of_experiment(Experiment.E6)
    assert found["shuffled/images"].inputs == {"natural": "data", "labelled": "data"}
    assert found["d_rand_labels/images"].inputs == {"natural": "data", "labelled": "seed0/d_rand/images"}
    assert found["non_robust_noise/images"].config.start == "noise"
    assert found["d_det/images"].config.targets == "next"
    assert {c.paradigm for c in found.values() if c.stage == "attack"} == {"supervised", "pixels"}


def test_the_decomposition_reads_everything_out_by_a_linear_probe() -> None:
    found = of_experiment(Experiment.DECOMPOSITION)
    read = [cell.measurement for cell in found.values() if cell.stage == "attack" and cell.measurement is not None]
    assert {one.readout for one in read} == {"linear_probe"}
    for paradigm in Paradigm:
        for crafted in ("robust", "non_robust", "d_rand"):
            for encoder in (crafted, "natural", "untrained"):
                mixed = [one for one in read if (one.paradigm, one.features) == (paradigm, encoder)]
                assert {"natural", crafted} <= {one.probe_features for one in mixed}


def test_an_outside_classifier_takes_the_place_of_its_source() -> None:
    outside = "{paradigm: outside, architecture: 'robustbench:resnet18', weights: model.pt}"
    found = grid(f"adversarial={outside}", f"standard={outside}")
    assert found["robust/images"].inputs["source"] == "seed0/sources/adversarial/encoder"
    assert found["sources/adversarial/encoder"].config.paradigm == "outside"
    for features in ("non_robust", "d_rand", "d_det", "non_robust_noise"):
        assert found[f"{features}/images"].inputs["source"] == "seed0/sources/standard/encoder"
    assert found["non_robust_masked/images"].inputs["source"] == "seed0/natural/masked/encoder"


def test_what_is_wanted_is_wanted_once() -> None:
    found = [want.measurement for want in wants(load_preset("digits"))]
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("experiments=E1,E9", "experiments.1: .*'E1', 'E2'"),
        ("experiments=[]", "experiments: .*at least 1"),
        ("experiments=E1,E1", "experiments: E1, E1 names one twice"),
        ("features=natural,d_det", "d_det comes with an experiment"),
        ("timesteps=[1000]", "timesteps: 1000 must be below diffusion.timesteps"),
        ("loss_curves.images=1", "loss_curves.images: .*greater than or equal to 2"),
        ("probe.views=3", "views 3: without augmentation they are all the same; use 1"),
    ],
)
def test_a_selection_that_means_nothing_is_a_one_line_error(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_preset("digits", [assignment])
    assert "\n" not in str(caught.value)
