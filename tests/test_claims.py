"""The claims' verdicts on rows that support, contradict or leave them open."""

from collections.abc import Mapping

import pytest

from realfeatures.claims import FAR_ABOVE_CHANCE, WIDELY, Comparison, Measure, claims_for, matched
from realfeatures.errors import ConfigError
from realfeatures.reporting.statistics import wilson_interval
from realfeatures.reporting.verdicts import Verdict, as_json, judge_all
from realfeatures.vocabulary import Features, Paradigm

USUAL = {
    ("natural", "natural"): {"supervised": 0.99, "contrastive": 0.98, "masked": 0.97, "diffusion": 0.97},
    ("robust", "robust"): {"supervised": 0.97, "contrastive": 0.97, "masked": 0.93, "diffusion": 0.95},
    ("non_robust", "non_robust"): {"supervised": 0.68, "contrastive": 0.30, "masked": 0.24, "diffusion": 0.32},
    ("none", "natural"): {"pixels": 0.90},
}
UNDER_ATTACK = {"supervised": 0.15, "contrastive": 0.2, "masked": 0.04, "diffusion": 0.2}


def row(paradigm: str, features: str, probe: str, value: float, *, seed: int, n: int, **attack: object) -> dict:
    interval = wilson_interval(round(value * n), n)
    return {
        "paradigm": paradigm,
        "features": features,
        "probe_features": probe,
        "attack": "none",
        "norm": "none",
        "epsilon": 0.0,
        "protocol": "natural",
        "seed": seed,
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        **attack,
    }


def rows(
    *, seeds: int = 2, n: int = 500, changes: Mapping[tuple[str, str], float] | None = None, epsilon: float = 0.5
) -> list[dict]:
    """Return rows like those of the digits preset, with the matched cells in `changes` at other accuracies."""
    found = []
    for seed in range(seeds):
        for (features, probe), values in USUAL.items():
            for paradigm, value in values.items():
                value = (changes or {}).get((paradigm, features), value)
                found.append(row(paradigm, features, probe, value, seed=seed, n=n))
        for paradigm, value in UNDER_ATTACK.items():
            value = (changes or {}).get((paradigm, "autoattack"), value)
            attack = {"attack": "autoattack", "norm": "L2", "epsilon": epsilon}
            found.append(row(paradigm, "robust", "robust", value, seed=seed, n=100, **attack))
    return found


def verdicts(found: list[dict], classes: int = 10) -> dict[str, Verdict]:
    return {one.claim.id: one for one in judge_all(found, classes=classes)}


def test_numbers_like_the_papers_support_its_first_four_claims() -> None:
    assert [verdicts(rows())[name].verdict for name in ("C1", "C2", "C3", "C4")] == ["supported"] * 4


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("C1", {("supervised", "non_robust"): 0.12}),
        ("C2", {("masked", "non_robust"): 0.80}),
        ("C3", {("diffusion", "robust"): 0.60}),
        ("C4", {("contrastive", "autoattack"): 0.90}),
    ],
)
def test_one_comparison_that_fails_contradicts_the_claim(claim: str, changes: dict) -> None:
    found = verdicts(rows(changes=changes))
    assert found[claim].verdict == "contradicted"
    paradigm = next(iter(changes))[0]
    assert [reason.startswith(paradigm) for reason in found[claim].reasons] == [True]
    others = {name for name in ("C1", "C2", "C3", "C4") if name != claim}
    assert {found[name].verdict for name in others} == {"supported"}


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("C1", {("supervised", "non_robust"): 0.30}),
        ("C2", {("masked", "non_robust"): 0.1 + 0.5 * 0.87}),
        ("C3", {("diffusion", "robust"): 0.1 + 0.75 * 0.87}),
        ("C4", {("contrastive", "autoattack"): 0.5 * 0.97}),
    ],
)
def test_numbers_at_the_threshold_are_inconclusive(claim: str, changes: dict) -> None:
    assert verdicts(rows(changes=changes))[claim].verdict == "inconclusive"


def test_one_seed_decides_only_where_its_interval_is_wide_of_the_threshold() -> None:
    n, threshold = 500, 0.1 + FAR_ABOVE_CHANCE
    near = {("supervised", "non_robust"): threshold + WIDELY}  # its interval begins below threshold + WIDELY
    far = {("supervised", "non_robust"): threshold + WIDELY + 0.06}
    assert verdicts(rows(seeds=1, n=n, changes=near))["C1"].verdict == "inconclusive (one seed)"
    assert verdicts(rows(seeds=2, n=n, changes=near))["C1"].verdict == "supported"
    assert verdicts(rows(seeds=1, n=n, changes=far))["C1"].verdict == "supported"
    assert verdicts(rows(seeds=1, n=n, changes={("supervised", "non_robust"): 0.1}))["C1"].verdict == "contradicted"


def test_seeds_that_disagree_decide_nothing() -> None:
    found = rows(seeds=1) + [{**one, "seed": 1} for one in rows(seeds=1, changes={("supervised", "non_robust"): 0.12})]
    assert verdicts(found)["C1"].verdict == "inconclusive"


def test_more_images_decide_what_fewer_leave_open() -> None:
    changes = {("masked", "non_robust"): 0.50}
    assert verdicts(rows(changes=changes, n=100))["C2"].verdict == "inconclusive"
    assert verdicts(rows(changes=changes, n=10000))["C2"].verdict == "supported"


def test_a_paradigm_that_is_no_better_than_raw_pixels_is_not_judged() -> None:
    found = verdicts(rows(changes={("masked", "natural"): 0.85, ("masked", "non_robust"): 0.80}))
    assert found["C2"].verdict == "inconclusive"
    assert found["C2"].reasons == (
        "masked cannot be judged: 85.0 % on natural images is no more than raw pixels reach (90.0 %)",
    )


def test_without_the_pixels_every_paradigm_is_judged() -> None:
    found = [one for one in rows(changes={("masked", "natural"): 0.85}) if one["paradigm"] != "pixels"]
    assert verdicts(found)["C2"].verdict == "supported"


@pytest.mark.parametrize("claim", ["C5", "C6", "C7"])
def test_claims_without_cells_are_not_tested_and_say_what_is_missing(claim: str) -> None:
    found = verdicts(rows())[claim]
    assert found.verdict == "not tested"
    assert found.missing
    assert found.reasons[0].startswith("not measured: ")


def test_a_paradigm_that_was_not_run_leaves_its_claims_untested() -> None:
    found = verdicts([one for one in rows() if one["paradigm"] != "masked"])
    assert [one.claim.id for one in found.values() if one.verdict != "not tested"] == ["C1"]
    assert found["C2"].missing == ("masked on non_robust", "masked on natural")


def test_without_autoattack_its_claim_is_not_tested() -> None:
    found = verdicts([one for one in rows() if one["attack"] != "autoattack"])["C4"]
    assert (found.verdict, len(found.missing)) == ("not tested", 1)


def test_autoattack_is_judged_at_the_largest_epsilon_of_each_norm() -> None:
    weak = rows(epsilon=0.25, changes=dict.fromkeys(((p, "autoattack") for p in Paradigm), 0.9))
    linf = [{**one, "norm": "Linf", "epsilon": 8 / 255} for one in rows() if one["attack"] == "autoattack"]
    found = verdicts([*weak, *rows(), *linf])["C4"]
    measured = {(one.comparison.measure.norm, one.comparison.measure.epsilon) for one in found.judged}
    assert measured == {("L2", 0.5), ("Linf", 8 / 255)}
    assert found.verdict == "supported"


def test_a_seed_that_lacks_one_of_the_cells_is_left_out() -> None:
    found = rows()
    found.remove(next(one for one in found if one["features"] == "natural" and one["paradigm"] == "masked"))
    judged = {one.comparison.measure.paradigm: one.seeds for one in verdicts(found)["C2"].judged}
    assert judged == {"contrastive": (0, 1), "masked": (1,), "diffusion": (0, 1)}


def test_an_unknown_data_set_has_no_chance_to_compare_with() -> None:
    found = verdicts(rows(), classes=0)["C1"]
    assert (found.verdict, found.missing) == ("not tested", ("the number of classes",))


def test_a_quantity_is_what_its_comparison_says() -> None:
    judged = next(one for one in verdicts(rows())["C2"].judged if one.comparison.measure.paradigm == "masked")
    assert judged.quantity is not None
    assert judged.quantity.value == pytest.approx((0.24 - 0.1) - 0.5 * (0.97 - 0.1))


@pytest.mark.parametrize(
    ("paradigm", "features", "message"),
    [
        ("hypnosis", "natural", "paradigm 'hypnosis'; expected one of: supervised, contrastive"),
        ("supervised", "imaginary", "features 'imaginary'; expected one of: natural, robust"),
    ],
)
def test_a_claim_with_an_unknown_name_is_an_error(paradigm: str, features: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Comparison(measure=Measure(paradigm=paradigm, features=features, probe_features="natural"))


def test_every_claim_prints_its_rule_and_its_numbers() -> None:
    claims = claims_for(rows())
    assert [claim.id for claim in claims] == ["C1", "C2", "C3", "C4", "C5", "C6", "C7"]
    assert all(claim.rule and claim.source for claim in claims)
    described = as_json(verdicts(rows())["C1"])
    assert described["decided"] == "supervised: 68.0 % [63.8, 71.9] on non_robust, chance 10.0 %."
    assert described["comparisons"][0]["margin"] == FAR_ABOVE_CHANCE


def test_matched_names_one_set_twice() -> None:
    assert matched("masked", Features.ROBUST).probe_features == "robust"
