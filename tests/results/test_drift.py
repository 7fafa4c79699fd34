"""A run against earlier ones: what is news and what is chance, from made-up rows of which the truth is known."""

import random
from functools import cache

import numpy as np
import pytest
from made_up_rows import IMAGES, Correct, over, results, row, run

from realfeatures.results.drift import Drift, drift_of, setting_text
from realfeatures.results.earlier import NamedRun, parse_results
from realfeatures.results.statistics.intervals import Interval, wilson_interval
from realfeatures.results.statistics.significance import holm, p_of_test_images


def verdicts(drift: Drift) -> dict[str, str]:
    return {one.measurement.paradigm: one.verdict for one in drift.rows}


def test_identical_runs_have_no_news() -> None:
    correct = over(range(2), masked=400, diffusion=300)
    drift = drift_of(run(correct), [run(correct, "before")])
    assert drift.quiet
    assert set(verdicts(drift).values()) == {"same"}
    assert (drift.broken, drift.settings, drift.claims, drift.only_before, drift.only_after) == ((), (), (), (), ())
    assert drift.headline == "The same: all 2 numbers."
    assert all(one.difference.value == 0 and one.p is None for one in drift.rows)


def test_an_edit_that_changes_no_number_changes_no_verdict() -> None:
    correct = over(range(2), masked=400)
    drift = drift_of(run(correct, code="b"), [run(correct, "before", code="a")])
    assert verdicts(drift) == {"masked": "same"}
    assert [one.path for one in drift.settings] == ["code"]


def test_one_image_more_at_the_same_address_is_not_reproduced() -> None:
    before = over(range(1), masked=400, diffusion=300)
    drift = drift_of(run({**before, ("masked", 0): 401}), [run(before, "before")])
    assert not drift.quiet
    assert verdicts(drift) == {"masked": "not reproduced", "diffusion": "same"}
    (broken,) = drift.broken
    assert (broken.measurement.paradigm, broken.before, broken.after, broken.run) == ("masked", 0.8, 0.802, "before")
    assert drift.headline.startswith("Not reproduced at the same address: 1. ")


def test_any_earlier_run_may_contradict_and_the_newest_is_named() -> None:
    usual, other = {("masked", 0): 400}, {("masked", 0): 399}
    earlier = [run(other, "oldest"), run(other, "old"), run(usual, "last")]
    drift = drift_of(run(usual), earlier)
    assert [one.run for one in drift.broken] == ["old"]


def test_the_same_address_on_a_gpu_is_another_training() -> None:
    drift = drift_of(run({("masked", 0): 401}, device="cuda"), [run({("masked", 0): 400}, "before", device="cuda")])
    assert drift.broken == ()
    assert verdicts(drift) == {"masked": "within"}


# What left its interval


def test_a_planted_shift_is_named_and_nothing_else() -> None:
    before: Correct = {(index / 10, seed): 400 + seed for index in range(30) for seed in range(3)}
    after = {key: value + 1 for key, value in before.items()}
    after |= {(0.7, seed): 300 + seed for seed in range(3)}
    drift = drift_of(run(after, code="b"), [run(before, "before")])
    assert [one.measurement.epsilon for one in drift.with_verdict("left")] == [0.7]
    (left,) = drift.with_verdict("left")
    assert left.difference.high < -0.1 < left.difference.value + 0.11
    assert (left.trainings_before, left.trainings_after, left.allowance) == (3, 3, 0.0)
    assert left.p is not None
    assert left.p < 0.05
    assert not drift.quiet
    assert drift.headline.startswith("Left their interval: 1 of 30 numbers.")


@pytest.mark.parametrize(("correct", "verdict"), [(390, "within"), (310, "within"), (260, "left")])
def test_one_training_on_each_side_must_differ_by_more_than_trainings_do(correct: int, verdict: str) -> None:
    drift = drift_of(run({("masked", 0): correct}, code="b"), [run({("masked", 0): 400}, "before")])
    assert verdicts(drift) == {"masked": verdict}
    assert drift.rows[0].allowance == pytest.approx(0.1 * 2**0.5)


def test_trainings_that_always_differ_widely_are_no_news() -> None:
    before = {("masked", seed): value for seed, value in enumerate((250, 400, 320))}
    after = {("masked", seed): value for seed, value in enumerate((150, 310, 230))}
    drift = drift_of(run(after, code="b"), [run(before, "before")])
    counts = [[(one, IMAGES) for one in side.values()] for side in (before, after)]
    assert p_of_test_images(*counts) < 0.001, "the test images alone would tell them apart"
    assert verdicts(drift) == {"masked": "within"}


def test_many_earlier_trainings_make_a_small_shift_visible() -> None:
    earlier = [run({("masked", seed): 400 + seed % 3}, f"nightly-{seed}") for seed in range(8)]
    now = run({("masked", 9): 330})
    assert verdicts(drift_of(now, earlier)) == {"masked": "left"}
    assert verdicts(drift_of(now, earlier[-1:])) == {"masked": "within"}


def test_the_same_numbers_under_new_addresses_are_no_new_trainings() -> None:
    earlier = [run({("masked", 0): 400}, f"nightly-{code}", code=code) for code in "abcdefgh"]
    (moved,) = drift_of(run({("masked", 0): 330}, code="z"), earlier).rows
    assert (moved.trainings_before, moved.verdict) == (1, "within")


def test_a_seed_that_is_added_is_compared_alone() -> None:
    before = over(range(3), masked=400)
    (moved,) = drift_of(run({**before, ("masked", 3): 405}), [run(before, "before")]).rows
    assert (moved.trainings_before, moved.trainings_after, moved.verdict) == (3, 1, "within")
    assert moved.after.value == 405 / IMAGES


# Chance


def binomial(generator: random.Random, p: float, n: int) -> int:
    return sum(generator.random() < p for _ in range(n))


@cache
def _p(before: int, after: int, n: int) -> float:
    return p_of_test_images([(before, n)], [(after, n)])


def test_noise_of_the_test_images_alone_rarely_raises_an_alarm_among_200_rows() -> None:
    generator = np.random.default_rng(0)
    rows, families = 200, 400
    accuracies = np.resize([0.0, 0.02, 0.1, 0.3, 0.5, 0.8, 0.95, 0.99], rows)
    n = np.resize([64, 200, 500], rows)
    alarms = uncorrected = 0
    for _ in range(families):
        before, after = generator.binomial(n, accuracies), generator.binomial(n, accuracies)
        found = [_p(*map(int, one)) for one in zip(before, after, n, strict=True)]
        uncorrected += min(found) < 0.05
        alarms += min(holm(found)) < 0.05
    assert wilson_interval(alarms, families).low <= 0.05, alarms
    assert uncorrected > 0.9 * families, "the test would show a rule that forgets how many rows there are"


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.05), (2, 0.05), (3, 0.0), (3, 0.10), (5, 0.05)])
def test_retraining_with_other_seeds_rarely_raises_an_alarm(seeds: int, spread: float) -> None:
    generator = random.Random(f"{seeds} {spread}")

    def trained(first: int) -> Correct:
        return {
            (index / 10, seed): binomial(generator, min(1, max(0, generator.gauss(0.2 + index / 60, spread))), 200)
            for index in range(40)
            for seed in range(first, first + seeds)
        }

    def one() -> NamedRun:
        content = results(found := trained(next(firsts)))
        content["rows"] = [row(*key, value, cell=f"{key}", n=200) for key, value in found.items()]
        return parse_results(content, name="made up")

    firsts = iter(range(0, 10**6, 100))
    families = 25
    alarms = sum(not drift_of(one(), [one()]).quiet for _ in range(families))
    assert wilson_interval(alarms, families).low <= 0.05, alarms


# What else changed


def test_changed_code_versions_settings_seeds_and_claims_are_named() -> None:
    before = results(over(range(2), masked=400))
    after = results(over(range(1, 3), masked=400), code="b")
    after["versions"] = {"torch": "2.14.0", "pillow": "13"}
    after["preset"]["config"]["probe"]["epochs"] = 60
    after["device"]["processor"] = "Xeon"
    after["claims"][0]["verdict"] = "contradicted"
    after["claims"].append({"id": "C2", "text": "Another.", "verdict": "supported"})
    drift = drift_of(parse_results(after, name="now"), [parse_results(before, name="before")])
    assert {one.path: (one.before, one.after) for one in drift.settings} == {
        "code": ("a" * 64, "b" * 64),
        "versions.torch": ("2.13.0", "2.14.0"),
        "versions.numpy": ("2.4.6", None),
        "versions.pillow": (None, "13"),
        "device.processor": ("EPYC", "Xeon"),
        "seeds": ([0, 1], [1, 2]),
        "probe.epochs": (50, 60),
    }
    assert [(one.id, one.before, one.after) for one in drift.claims] == [
        ("C1", "supported", "contradicted"),
        ("C2", None, "supported"),
    ]


def test_what_only_one_run_measured_is_named() -> None:
    drift = drift_of(
        run(over(range(1), masked=400, pixels=1)), [run(over(range(1), masked=400, diffusion=1), "before")]
    )
    assert [one.paradigm for one in drift.only_before] == ["diffusion"]
    assert [one.paradigm for one in drift.only_after] == ["pixels"]
    assert verdicts(drift) == {"masked": "same"}


def test_earlier_runs_of_another_preset_give_no_interval() -> None:
    other = results(over(range(10, 18), masked=100))
    other["preset"]["config"]["probe"]["epochs"] = 1
    moved_folder = results(over(range(18, 20), masked=400), code="c")
    moved_folder["data"]["title"] = "moved"
    earlier = [parse_results(other, name="nightly-1"), parse_results(moved_folder, name="nightly-2")]
    earlier.append(run(over(range(3), masked=400), "nightly-3"))
    drift = drift_of(run(over(range(3), masked=401), code="b"), earlier)
    assert (drift.against, drift.left_out) == (("nightly-2", "nightly-3"), ("nightly-1",))
    assert drift.rows[0].trainings_before == 5


def test_a_comparison_with_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no earlier run"):
        drift_of(run({("masked", 0): 1}), [])


def test_digests_and_long_values_are_cut_for_people() -> None:
    assert setting_text("code", "ab" * 32) == "ab" * 8 + "…"
    assert setting_text("probe.epochs", 5) == "5"
    assert setting_text("data.classes", [f"class {i}" for i in range(100)]).endswith("…")
    assert setting_text("versions.numpy", None) == "none"


def test_the_rule_that_a_person_reads_has_the_numbers_that_are_computed_with() -> None:
    one = drift_of(run({("masked", 0): 260}, code="b"), [run({("masked", 0): 400}, "before")])
    assert f"which is {100 * one.rows[0].allowance:.0f} points for one training each" in " ".join(one.rule.split())
    three = drift_of(run(over(range(3), masked=260), code="b"), [run(over(range(3), masked=400), "before")])
    assert three.rows[0].allowance == 0
    assert "3 trainings on each side" in three.rule


def test_intervals_in_a_comparison_stay_accuracies() -> None:
    (moved,) = drift_of(run({("masked", 0): 500}, code="b"), [run({("masked", 0): 0}, "before")]).rows
    assert moved.verdict == "left"
    assert moved.before == Interval(0.0, 0.0, pytest.approx(0.0076, abs=1e-4))
    assert moved.after.high == 1.0
