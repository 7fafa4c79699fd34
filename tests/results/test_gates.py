"""What must hold before a claim is judged: a paradigm that learned, and a control that survives."""

import pytest
from made_up_accuracies import rows, verdicts

from realfeatures.experiment.claims import LARGELY
from realfeatures.experiment.vocabulary import ADVERSARIAL


@pytest.mark.parametrize("natural", [0.85, 0.89, 0.91])
def test_a_paradigm_that_is_not_clearly_better_than_raw_pixels_is_not_judged(natural: float) -> None:
    found = verdicts(rows(changes={("masked", "natural"): natural, ("masked", "non_robust"): 0.80}))
    assert found["C2"].verdict == "inconclusive"
    reason = found["C2"].reasons[0]
    assert reason.startswith(f"masked cannot be judged: {100 * natural:.1f} % [")
    assert "on natural, raw pixels 90.0 % [87.1, 92.3]: the difference, " in reason
    assert reason.endswith("is not wholly above zero")


def test_an_untrained_encoder_that_is_better_than_raw_pixels_is_the_bar() -> None:
    found = verdicts(rows(changes={("masked", "untrained"): 0.965}))["C3"]
    assert found.verdict == "inconclusive"
    assert any(reason.startswith("masked cannot be judged") for reason in found.reasons)
    [reason] = [reason for reason in found.reasons if reason.startswith("masked cannot be judged")]
    assert "untrained masked encoder 96.4 % [" in reason or "untrained masked encoder 96.6 % [" in reason


def test_the_lead_over_the_better_control_stands_in_what_decided() -> None:
    reasons = verdicts(rows())["C1"].reasons
    assert reasons[-1].startswith("above the better control on natural: supervised by 9.0 points [")
    assert reasons[-1].endswith("(raw pixels)")


def test_without_any_control_usefulness_is_not_tested() -> None:
    found = verdicts([one for one in rows() if one["features"] not in ("none", "untrained")])
    assert [found[claim].verdict for claim in ("C1", "C2", "C3")] == ["not tested"] * 3
    assert (
        "a control without pretraining (pixels with a probe on natural or supervised on untrained with a probe"
        in found["C1"].reasons[0]
    )


@pytest.mark.parametrize("control", ["none", "untrained"])
def test_one_of_the_two_controls_is_enough(control: str) -> None:
    found = verdicts([one for one in rows() if one["features"] != control])
    assert found["C1"].verdict == "supported"


def test_an_encoder_that_learned_nothing_from_robust_says_nothing_of_robustness() -> None:
    found = verdicts(rows(changes={("masked", "robust"): 0.3, ("masked", "autoattack"): 0.0}))["C4"]
    assert found.verdict == "inconclusive"
    assert found.reasons[0].startswith("masked cannot be judged: 30.0 % [26.1, 34.2] on robust, chance 10.0 %:")
    assert found.reasons[0].endswith("is not wholly above 20 points")


def test_the_robust_source_stands_beside_the_encoders_that_fail() -> None:
    found = verdicts(rows())["C4"]
    assert found.verdict == "supported"
    assert found.reasons[-1] == (
        "control, the adversarial source: 80.0 % [71.1, 86.7] of 98.0 % [96.4, 98.9] clean,"
        " 82 % of it kept under AutoAttack L2 0.5"
    )


@pytest.mark.parametrize("kept", [0.1, LARGELY * 0.98])
def test_an_epsilon_that_breaks_the_robust_source_too_supports_nothing(kept: float) -> None:
    found = verdicts(rows(changes={(ADVERSARIAL, "autoattack"): kept}))["C4"]
    assert found.verdict == "inconclusive"
    assert found.reasons[-1].endswith("not surely more than 50 %: it may break robust models too, and supports nothing")


def test_a_control_that_was_not_measured_supports_nothing() -> None:
    found = verdicts([one for one in rows() if one["paradigm"] != ADVERSARIAL])["C4"]
    assert found.verdict == "inconclusive"
    assert found.reasons[-1].startswith("control, the adversarial source: not measured under AutoAttack L2 0.5")


def test_encoders_that_survive_contradict_without_a_control() -> None:
    survivors = rows(changes={("contrastive", "autoattack"): 0.9, (ADVERSARIAL, "autoattack"): 0.1})
    found = verdicts(survivors)["C4"]
    assert found.verdict == "contradicted"
    assert [reason.split(":")[0] for reason in found.reasons] == ["contrastive"]


def test_an_attack_without_a_valid_control_leaves_the_decision_to_the_others() -> None:
    broken = rows(changes={(ADVERSARIAL, "autoattack"): 0.1})
    linf = [{**one, "norm": "Linf", "epsilon": 8 / 255} for one in broken if one["attack"] == "autoattack"]
    found = verdicts([*rows(), *linf])["C4"]
    assert found.verdict == "supported"
    assert {(one.comparison.measured.norm, one.outcome) for one in found.judged} == {
        ("L2", "supports"),
        ("Linf", "uncontrolled"),
    }
    assert [reason for reason in found.reasons if reason.startswith("control") and "supports nothing" in reason]
