"""Claims judged image by image: the paired bootstrap, the flags behind it, and every claim on a grid's own cells."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from realfeatures.errors import ArtifactError
from realfeatures.experiment.about import MEASURED_ROLES
from realfeatures.experiment.claims import claims_for
from realfeatures.experiment.comparisons import Beats, Keeps, Mean, Referred
from realfeatures.experiment.config import AttackConfig, ThreatModel
from realfeatures.experiment.grid import Cell, cell_addresses, cells
from realfeatures.experiment.measurement import Measurement, matched
from realfeatures.experiment.presets import load_preset
from realfeatures.experiment.vocabulary import (
    ADVERSARIAL,
    NON_ROBUST_OF,
    UNTRAINED,
    Control,
    Norm,
    Paradigm,
    Protocol,
    Readout,
    measurement_name,
)
from realfeatures.results.build import measured as measured_by
from realfeatures.results.estimates import Estimates
from realfeatures.results.flags import FLAGS, Flags
from realfeatures.results.judging import Judged, judge_comparison
from realfeatures.results.records import Finished, Records
from realfeatures.results.rows import Row, Rows
from realfeatures.results.statistics.bootstrap import paired_bootstrap
from realfeatures.results.statistics.intervals import weighted_difference, wilson_interval
from realfeatures.results.verdicts import Verdict, as_json, judge_all
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet
from realfeatures.science.evaluation import evaluate
from realfeatures.science.paradigms.base import ImageShape
from realfeatures.science.paradigms.control import Pixels

IMAGES = {"none": 1000, "pgd": 800, "pgd_representation": 800, "autoattack": 400}
"""The first n test images that an attack is measured on."""

World = Callable[[Measurement, str], float]
"""What a cell reads and an attack -> the probability that an image is classified right."""


def world_of_the_paper(read: Measurement, attack: str) -> float:
    """Return accuracies of which every claim of the paper is true."""
    paradigm, features, readout = read.paradigm, read.features, read.readout
    if attack != "none":
        augmented = readout in (Readout.CROP_FLIP, Readout.SIMCLR, Readout.NOISE)
        return 0.8 if paradigm == ADVERSARIAL else 0.3 if augmented else 0.05
    if paradigm == Control.PIXELS or features == UNTRAINED:
        return 0.7
    if features == "non_robust_contrastive":
        return 0.39
    if features in NON_ROBUST_OF.values():
        return 0.68 if paradigm == Paradigm.SUPERVISED and features == "non_robust" else 0.25
    return 0.92 if features == "robust" else 0.97


def correlated(probabilities: list[float], hardness: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return verdicts (K, n) of classifiers that agree, more than chance would, on which images are hard."""
    noise = generator.normal(size=(len(probabilities), len(hardness)))
    latent = math.sqrt(0.7) * hardness + math.sqrt(0.3) * noise
    return latent < stats.norm.ppf(np.array(probabilities))[:, None]


def measured(cell: Cell, folder: Path, world: World, *, seed: int) -> Finished:
    """Write the flags of an attack or a vote as the stage does, and return the cell with its record."""
    from safetensors.numpy import save_file

    config = cell.config
    threats = [("none", "none", 0.0)]
    if isinstance(config, AttackConfig):
        kinds = (("pgd", config.pgd), ("pgd_representation", config.representation), ("autoattack", config.autoattack))
        threats += [(name, one.norm.value, one.epsilon) for name, some in kinds for one in some]
    hardness = np.random.default_rng(0).normal(size=IMAGES["none"])  # the same test images for all
    generator = np.random.default_rng([seed, *cell.key.encode()])
    flags, measurements = {}, []
    assert cell.measurement is not None
    for attack, norm, epsilon in threats:
        [found] = correlated([world(cell.measurement, attack)], hardness[: IMAGES[attack]], generator)
        labels = {"attack": attack, "norm": norm, "epsilon": epsilon}
        flags[measurement_name(labels)] = found.astype(np.uint8)
        metric = "clean_accuracy" if attack == "none" else "robust_accuracy"
        counts = {"correct": int(found.sum()), "n": len(found)}
        protocol = str(cell.measurement.protocol)
        measurements.append({**labels, "protocol": protocol, "metric": metric, **counts, "details": {}})
    folder.mkdir(parents=True)
    save_file(flags, folder / FLAGS)
    return Finished(folder, {"address": folder.name}, {"measurements": measurements}, {})


def run_of(out: Path, world: World, *, seeds: int = 2, only: str = "") -> Records:
    """Return the digits preset's run as the report reads it, with the accuracies of a world in place of training."""
    preset = load_preset("digits", [f"experiments={only}"] if only else [])
    grid = cells(preset, range(seeds))
    addresses = cell_addresses(grid, runtime=preset.runtime, code="0" * 64, versions={})
    finished = {
        cell.key: measured(cell, out / addresses[cell.key], world, seed=cell.run_seed)
        for cell in grid
        if cell.role in MEASURED_ROLES
    }
    return Records(preset, tuple(range(seeds)), tuple(grid), addresses, finished)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return run_of(tmp_path_factory.mktemp("paper"), world_of_the_paper)


@pytest.fixture(scope="module")
def rows(paper: Records) -> list[dict[str, Any]]:
    return measured_by(paper)["rows"]


@pytest.fixture(scope="module")
def verdicts(paper: Records, rows: list[dict[str, Any]]) -> dict[str, Verdict]:
    return {one.claim.id: one for one in judge_all(Rows(rows), classes=10, flags=Flags(paper))}


def difference(accuracies: np.ndarray) -> np.ndarray:
    return accuracies[0] - accuracies[1]


def width(judged: Judged) -> float:
    assert judged.quantity is not None
    return judged.quantity.high - judged.quantity.low


def test_every_claim_finds_its_cells_in_the_grid_and_the_papers_world_supports_it(verdicts: dict[str, Verdict]) -> None:
    assert {name: (one.verdict, one.missing) for name, one in verdicts.items()} == {
        f"C{number}": ("supported", ()) for number in range(1, 8)
    }


@pytest.mark.parametrize(
    ("claim", "features", "readout", "attack", "value"),
    [
        ("C5", "non_robust_contrastive", "", "none", 0.12),
        ("C6", "non_robust_masked", "", "none", 0.9),
        ("C7", "", Readout.NOISE, "pgd", 0.9),
        ("C7", "", Readout.LINEAR_PROBE, "pgd", 0.6),
    ],
)
def test_a_world_in_which_a_claim_is_false_contradicts_it(
    tmp_path: Path, claim: str, features: str, readout: str, attack: str, value: float
) -> None:
    def world(read: Measurement, attacked: str) -> float:
        changed = read.features == features if features else read.readout == readout
        return value if changed and attacked == attack else world_of_the_paper(read, attacked)

    run = run_of(tmp_path, world, only="E1,E2,E3,E4")
    found = judge_all(Rows(measured_by(run)["rows"]), classes=10, flags=Flags(run))
    assert {one.claim.id: one.verdict for one in found}[claim] == "contradicted"


def test_augmentation_that_helps_is_no_support_where_the_attack_has_no_valid_control(
    rows: list[dict[str, Any]],
) -> None:
    without = [row for row in rows if (row["paradigm"], row["attack"]) != (ADVERSARIAL, "pgd")]
    [found] = [one for one in judge_all(Rows(without), classes=10) if one.claim.id == "C7"]
    assert {one.outcome for one in found.judged} == {"supports", "uncontrolled"}
    assert (found.verdict, found.p) == ("inconclusive", 1.0)


def test_a_difference_is_paired_where_flags_are_at_hand_and_then_narrower(
    verdicts: dict[str, Verdict], rows: list[dict[str, Any]]
) -> None:
    unpaired = {one.claim.id: one for one in judge_all(Rows(rows), classes=10)}
    for name in ("C2", "C3", "C5", "C6", "C7"):
        pairs = zip(verdicts[name].judged, unpaired[name].judged, strict=True)
        referred = [(paired, alone) for paired, alone in pairs if isinstance(paired.comparison, Referred)]
        assert {(paired.interval, alone.interval) for paired, alone in referred} == {("paired_bootstrap", "mover")}
        assert {(paired.images, alone.images) for paired, alone in referred} == {(800 if name == "C7" else 1000, None)}
        # A reference near 1 has little in common with anything; C7's are cut to the 800 images that were attacked.
        narrow, wide = (sum(width(pair[side]) for pair in referred) for side in (0, 1))
        assert narrow < {"C5": 0.9, "C7": 1.05}.get(name, 1.0) * wide
    [single] = verdicts["C1"].judged
    assert (single.interval, single.images) == ("wilson", None)


def test_an_attack_is_compared_with_clean_accuracy_on_the_images_that_it_attacked(
    paper: Records, rows: list[dict[str, Any]], verdicts: dict[str, Verdict]
) -> None:
    judged = verdicts["C4"].judged[0]
    clean = [
        row
        for row in rows
        if (row["paradigm"], row["features"], row["probe_features"], row["readout"], row["attack"], row["protocol"])
        == ("supervised", "robust", "robust", "own_head", "none", "natural")
    ]
    flags = [Flags(paper).of(Row.model_validate(row)) for row in clean]
    on_the_attacked = np.mean([found[: IMAGES["autoattack"]].mean() for found in flags if found is not None])
    assert judged.images == IMAGES["autoattack"]
    assert judged.values[1].value == pytest.approx(on_the_attacked)
    assert judged.values[1].value != pytest.approx(np.mean([row["value"] for row in clean]))
    assert "clean on the same images" in verdicts["C4"].reasons[0]


def test_images_of_two_protocols_are_not_paired(paper: Records, rows: list[dict[str, Any]]) -> None:
    estimates = Estimates(Rows(rows), Flags(paper))
    elsewhere = matched("masked", "robust", protocol=Protocol.ROBUST_SET).under("pgd", "L2", 0.5)
    compared = Keeps(measured=matched("masked", "robust"), reference=elsewhere, share=1.0)
    estimate = estimates.estimate(compared, chance=0.1)
    assert (estimate.method, estimate.images) == ("mover", None)


def test_flags_that_do_not_count_what_the_record_says_are_an_error(tmp_path: Path) -> None:
    run = run_of(tmp_path, world_of_the_paper, seeds=1, only="E6")
    rows = measured_by(run)["rows"]
    changed = Row.model_validate({**rows[0], "value": rows[0]["value"] - 0.001})
    last = Row.model_validate(rows[-1])
    with pytest.raises(ArtifactError, match=r"clean has \d+ of 1000 right, its record \d+ of 1000"):
        Flags(run).of(changed)
    damaged = run.finished[run.grid[-1].key].folder / FLAGS
    damaged.write_bytes(b"no tensors")
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        Flags(run).of(last)
    damaged.unlink()
    assert Flags(run).of(last) is None


class Linear(nn.Module):
    """A linear classifier of 8x8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Pixels(ImageShape(1, 8, 8))
        self.linear = nn.Linear(64, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.encoder(images))


def test_the_names_of_flags_are_those_that_an_evaluation_writes() -> None:
    threats = tuple(ThreatModel(norm=norm, epsilon=eps) for norm, eps in ((Norm.L2, 0.125), (Norm.LINF, 8 / 255)))
    config = AttackConfig(
        images=4,
        pgd=threats,
        pgd_steps=1,
        pgd_relative_step_size=0.5,
        representation=threats,
        autoattack=(ThreatModel(norm=Norm.LINF, epsilon=0),),  # of which nothing has to run
        autoattack_images=2,
    )
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    test_set = ImageSet(images, torch.arange(6) % 4, tuple("0123"))
    found = evaluate(config, Linear().eval().requires_grad_(False), test_set, Run(seed=0))
    assert [measurement_name(one) for one in found.measurements] == list(found.flags)


def test_a_mean_is_the_mean_of_its_measurements(paper: Records, rows: list[dict[str, Any]]) -> None:
    terms = [matched(paradigm, "non_robust_contrastive") for paradigm in ("masked", "diffusion")]
    comparison = Beats(measured=Mean(tuple(terms)), reference=matched("masked", "non_robust"))
    for flags in (None, Flags(paper)):
        estimates = Estimates(Rows(rows), flags)
        judged = judge_comparison(comparison, estimates, classes=10)
        found = estimates.together(comparison.measurements).values()
        expected = np.mean([(s.counts[0][0] + s.counts[1][0]) / 2000 - s.counts[2][0] / 1000 for s in found])
        assert judged.quantity is not None
        assert judged.quantity.value == pytest.approx(expected)


def test_p_values_stand_beside_the_verdict_and_the_kind_of_interval(verdicts: dict[str, Verdict]) -> None:
    described = as_json(verdicts["C6"])
    compared = described["comparisons"]
    assert described["p"] == max(one["p_supports"] for one in compared)
    assert described["p"] < described["adjusted_p"] <= 7 * described["p"]
    assert {one["interval"] for one in compared} == {"paired_bootstrap"}
    assert {gate["interval"] for one in compared for gate in one["gates"]} == {"paired_bootstrap"}
    assert [len(one["terms"][0]) for one in as_json(verdicts["C5"])["comparisons"]] == [3, 2]


def test_the_bootstrap_draws_as_an_index_of_images_would() -> None:
    generator = np.random.default_rng(1)
    flags = correlated([0.6, 0.5], generator.normal(size=300), generator)
    found = paired_bootstrap(flags, difference)
    indices = generator.integers(300, size=(10_000, 300))
    slow = flags[0][indices].mean(axis=1) - flags[1][indices].mean(axis=1)
    assert found is not None
    assert found.value == pytest.approx(flags[0].mean() - flags[1].mean())
    # Quantiles of 10,000 draws: their standard error is about 3 % of the half-width, and the steps are 1/300.
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, (0.025, 0.975))), abs=2 / 300)
    assert paired_bootstrap(flags, difference) == found  # seeded


def test_the_paired_interval_covers_the_truth_about_95_times_in_100_and_newcombes_too_often() -> None:
    generator = np.random.default_rng(0)
    accuracies, share, n = [0.30, 0.90], 0.5, 400
    truth = accuracies[0] - share * accuracies[1]
    paired, independent = 0, 0
    for _ in range(600):
        flags = correlated(accuracies, generator.normal(size=n), generator)
        found = paired_bootstrap(flags, lambda a: a[0] - share * a[1], resamples=1000)
        first, second = (wilson_interval(int(one.sum()), n) for one in flags)
        newcombe = weighted_difference(first, second, weight=share)
        assert found is not None
        paired += found.low <= truth <= found.high
        independent += newcombe.low <= truth <= newcombe.high
    assert 0.925 < paired / 600 < 0.975  # standard error 0.9 points
    assert independent > paired


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (np.array([[1, 0, 1, 0], [1, 0, 1, 0]], dtype=bool), "equal flags have no difference in any resample"),
        (np.array([[0, 0, 0, 0], [1, 0, 1, 1]], dtype=bool), "0 of 4 is no proof of 0"),
        (np.array([[1, 1, 1, 1], [1, 0, 1, 1]], dtype=bool), "4 of 4 is no proof of 1"),
        (np.zeros((2, 0), dtype=bool), "no images"),
    ],
)
def test_flags_that_tell_of_no_error_are_left_to_another_interval(flags: np.ndarray, why: str) -> None:
    assert paired_bootstrap(flags, difference) is None, why


def test_a_share_of_nothing_in_a_resample_is_left_to_another_interval() -> None:
    flags = np.array([[1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]], dtype=bool)
    assert paired_bootstrap(flags, lambda a: a[1] / a[0]) is None


def test_a_claim_that_one_more_test_would_not_bear_is_inconclusive_after_holms_correction(tmp_path: Path) -> None:
    run = run_of(tmp_path, world_of_the_paper, seeds=1, only="E1,E2")
    rows = [row for row in measured_by(run)["rows"] if row["protocol"] == "natural"]
    n, wanted = 2000, 0.1 + 0.2 + 0.1
    correct = next(k for k in range(n) if wilson_interval(k, n).low > wanted + 0.001)
    for row in rows:
        if (row["paradigm"], row["features"], row["probe_features"]) == ("supervised", "non_robust", "non_robust"):
            row |= {"value": correct / n, "n": n}
    found = {one.claim.id: one for one in judge_all(Rows(rows), classes=10)}
    tested = [one for one in found.values() if one.p is not None]
    assert 1 < len(tested) < len(claims_for(Rows(rows).measured))
    first = found["C1"]
    assert first.p is not None
    assert 0.02 < first.p < 0.05 < (first.adjusted_p or 0)
    assert first.verdict == "inconclusive"
    assert first.reasons[0].startswith("supported by itself, but not after Holm's correction")
    assert all(one.adjusted_p is None for one in found.values() if one.verdict == "not tested")
