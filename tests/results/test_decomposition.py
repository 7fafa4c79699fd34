"""What encoder and probe lose on a crafted set: paired where the verdicts on single images are kept, and in words."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import stats

from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import cell_addresses, cells
from realfeatures.experiment.presets import load_preset
from realfeatures.experiment.vocabulary import Readout, measurement_name
from realfeatures.experiment.wording import MINUS
from realfeatures.report.sections.decomposition import answers, culprit_of, losses
from realfeatures.results.build import measured as measured_by
from realfeatures.results.contrasts import contrasts
from realfeatures.results.flags import FLAGS, Flags
from realfeatures.results.records import Finished, Records
from realfeatures.results.rows import Accuracy, Rows
from realfeatures.results.statistics.intervals import Interval, over_seeds, weighted_difference, wilson_interval

IMAGES, SEEDS = 1000, (0, 1)
CLEAN = {"attack": "none", "norm": "none", "epsilon": 0.0}
ACCURACIES = {
    ("natural", "natural"): 0.95,
    ("non_robust", "natural"): 0.85,
    ("natural", "non_robust"): 0.80,
    ("non_robust", "non_robust"): 0.60,
}
"""Encoder's set and probe's set -> accuracy. The two losses are 10 and 15 points."""
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "results.schema.json").read_text())

Verdicts = Mapping[tuple[str, str, int], np.ndarray]
"""Encoder's set, probe's set and seed -> whether each image is classified right."""


def preset() -> Preset:
    return load_preset(
        "digits", ["experiments=decomposition", "paradigms=masked", "features=natural,non_robust", "attack.pgd=[]"]
    )


def agreeing(accuracies: Mapping[tuple[str, str], float]) -> Verdicts:
    """Return verdicts of classifiers that find the same images hard, of exactly the accuracies."""
    hardness = np.random.default_rng(0).normal(size=IMAGES)
    found = {}
    for place, ((encoder, probe), accuracy) in enumerate(accuracies.items()):
        for seed in SEEDS:
            noise = np.random.default_rng([1, place, seed]).normal(size=IMAGES)
            ranks = (math.sqrt(0.8) * hardness + math.sqrt(0.2) * noise).argsort().argsort()
            found[encoder, probe, seed] = ranks < round(accuracy * IMAGES)
    return found


def run_of(out: Path, verdicts: Verdicts) -> Records:
    """Return a run whose linear probes gave some verdicts; what has none was not measured."""
    chosen = preset()
    grid = cells(chosen, SEEDS)
    addresses = cell_addresses(grid, runtime=chosen.runtime, code="0" * 64, versions={})
    finished = {}
    for cell in grid:
        read = cell.measurement
        names = () if read is None else (read.features, read.probe_features, cell.run_seed)
        if read is not None and read.readout == Readout.LINEAR_PROBE and names in verdicts:
            right = verdicts[names]
            folder = out / addresses[cell.key]
            folder.mkdir(parents=True)
            save_file({measurement_name(CLEAN): right.astype(np.uint8)}, folder / FLAGS)
            counts = {"correct": int(right.sum()), "n": len(right)}
            measured = {**CLEAN, "protocol": "natural", "metric": "clean_accuracy", **counts}
            record = {"measurements": [measured]}
            finished[cell.key] = Finished(folder, {"address": folder.name}, record, {})
    return Records(chosen, SEEDS, tuple(grid), addresses, finished)


def measured(records: Records, *, flags: bool = True) -> dict[str, Any]:
    results = measured_by(records)
    results["decomposition"] = contrasts(Rows.of(results), Flags(records) if flags else None)
    return results


def by_change(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["changed"]: one for one in results["decomposition"]}


@pytest.fixture(scope="module")
def verdicts() -> Verdicts:
    return agreeing(ACCURACIES)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, verdicts: Verdicts) -> Records:
    return run_of(tmp_path_factory.mktemp("run"), verdicts)


PAIRS = {
    "encoder": (("natural", "natural"), ("non_robust", "natural")),
    "probe": (("natural", "natural"), ("natural", "non_robust")),
    "both": (("natural", "natural"), ("non_robust", "non_robust")),
    "encoder_minus_probe": (("natural", "non_robust"), ("non_robust", "natural")),
}


@pytest.mark.parametrize("changed", PAIRS)
def test_a_loss_has_the_interval_of_the_same_images_drawn_again(
    records: Records, verdicts: Verdicts, changed: str
) -> None:
    found = by_change(measured(records))[changed]
    first, second = PAIRS[changed]
    expected = []
    for seed in SEEDS:
        gained = verdicts[*first, seed].astype(float) - verdicts[*second, seed]  # an image's own share of the loss
        drawn = np.random.default_rng(seed).integers(IMAGES, size=(5000, IMAGES))
        expected.append(Interval(gained.mean(), *np.quantile(gained[drawn].mean(axis=1), (0.025, 0.975))))
        # McNemar's variance of a paired difference, which the bootstrap's interval must agree with.
        half = stats.norm.ppf(0.975) * gained.std() / math.sqrt(IMAGES)
        assert expected[-1].high - expected[-1].value == pytest.approx(half, abs=2 / IMAGES)
    whole = over_seeds(expected)
    assert found["value"] == pytest.approx(ACCURACIES[first] - ACCURACIES[second])
    assert (found["low"], found["high"]) == pytest.approx((whole.low, whole.high), abs=2 / IMAGES)
    assert (found["n"], found["seeds"], found["interval"]) == (IMAGES, list(SEEDS), "paired_bootstrap")


def test_the_difference_is_that_of_the_two_losses(records: Records) -> None:
    found = by_change(measured(records))
    difference = found["encoder"]["value"] - found["probe"]["value"]
    assert found["encoder_minus_probe"]["value"] == pytest.approx(difference)


def test_without_verdicts_on_images_the_interval_is_movers_and_wider(records: Records) -> None:
    paired, unpaired = by_change(measured(records)), by_change(measured(records, flags=False))
    first, second = (wilson_interval(round(ACCURACIES[one] * IMAGES), IMAGES) for one in PAIRS["encoder_minus_probe"])
    newcombe = weighted_difference(first, second, weight=1.0)
    one = unpaired["encoder_minus_probe"]
    assert one["interval"] == "mover"
    assert (one["low"], one["high"]) == pytest.approx((newcombe.low, newcombe.high))
    for changed, found in unpaired.items():
        assert found["value"] == pytest.approx(paired[changed]["value"])
        assert found["high"] - found["low"] > paired[changed]["high"] - paired[changed]["low"]


def test_losses_that_only_pairing_tells_apart_are_told_apart(tmp_path: Path) -> None:
    close = agreeing({**ACCURACIES, ("natural", "non_robust"): 0.82})
    records = run_of(tmp_path, close)
    [paired], [unpaired] = answers(measured(records)), answers(measured(records, flags=False))
    assert paired.summary == (
        "With non_robust: the labels that the probe is fitted to lose more accuracy than the encoder does, in masked."
    )
    assert unpaired.summary == "With non_robust: both lose, and cannot be told apart, in masked."
    assert "an encoder on non_robust loses 10.0 points [" in paired.sentences[0]
    assert "a probe on non_robust loses 13.0 points [" in paired.sentences[0]
    assert f"the first less the second is {MINUS}3.0 points [" in paired.sentences[0]


def test_equal_verdicts_are_no_proof_of_no_loss(tmp_path: Path, verdicts: Verdicts) -> None:
    same = {**verdicts, **{("non_robust", "natural", seed): verdicts["natural", "natural", seed] for seed in SEEDS}}
    found = by_change(measured(run_of(tmp_path, same)))["encoder"]
    assert (found["value"], found["interval"]) == (0.0, "mover")
    assert found["low"] < 0 < found["high"]


def test_a_seed_without_a_cell_is_left_out_and_a_mix_that_was_not_measured_has_no_answer(
    tmp_path: Path, verdicts: Verdicts
) -> None:
    some = {key: right for key, right in verdicts.items() if key != ("natural", "non_robust", 1)}
    found = by_change(measured(run_of(tmp_path / "some", some)))
    assert (found["probe"]["seeds"], found["encoder"]["seeds"]) == ([0], [0, 1])
    none = {key: right for key, right in verdicts.items() if key[:2] != ("natural", "non_robust")}
    results = measured(run_of(tmp_path / "none", none))
    assert set(by_change(results)) == {"encoder", "both"}
    assert answers(results)[0].sentences == ("masked: not all of its cells were measured",)
    [(_, _, encoder, probe, both, difference, intervals)] = losses(results).rows
    assert isinstance(encoder, Accuracy)
    assert isinstance(both, Accuracy)
    assert (probe, difference, intervals) == (None, None, "paired bootstrap")


def test_the_list_fits_its_schema(records: Records) -> None:
    found = measured(records)["decomposition"]
    schema = {**SCHEMA["properties"]["decomposition"], "$defs": SCHEMA["$defs"]}
    jsonschema.validate(found, schema)
    assert len(found) == 4
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{**found[0], "interval": "wilson"}], schema)


def test_the_table_names_the_cells_behind_each_number(records: Records) -> None:
    [row] = losses(measured(records)).rows
    counts = [len(entry.cells) for entry in row if isinstance(entry, Accuracy)]
    assert counts == [2, 2, 2, 4]  # one a seed, and of both mixes for the difference


LOST, MORE, GAINED, NOTHING = (0.10, 0.05, 0.15), (0.30, 0.25, 0.35), (-0.30, -0.35, -0.25), (0.0, -0.05, 0.05)


@pytest.mark.parametrize(
    ("encoder", "probe", "difference", "culprit"),
    [
        (MORE, LOST, (0.20, 0.15, 0.25), "encoder"),
        (LOST, MORE, (-0.20, -0.25, -0.15), "probe"),
        (LOST, (0.12, 0.07, 0.17), (-0.02, -0.03, -0.01), "probe"),
        (LOST, (0.12, 0.07, 0.17), (-0.02, -0.06, 0.02), "both"),
        (LOST, (0.04, -0.02, 0.10), (0.06, -0.01, 0.13), "open"),
        (GAINED, LOST, (-0.40, -0.45, -0.35), "probe"),
        (LOST, GAINED, (0.40, 0.35, 0.45), "encoder"),
        (GAINED, NOTHING, (-0.30, -0.35, -0.25), "neither"),
        (NOTHING, GAINED, (0.30, 0.25, 0.35), "neither"),
    ],
)
def test_the_difference_decides_which_loses_more_unless_its_own_loss_cannot_be_told_from_zero(
    encoder: tuple, probe: tuple, difference: tuple, culprit: str
) -> None:
    assert culprit_of(Interval(*encoder), Interval(*probe), Interval(*difference)) == culprit
