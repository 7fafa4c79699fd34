"""The demo, whole: what `make demo` computes."""

import json
import subprocess
import sys
from itertools import pairwise, product
from pathlib import Path

import jsonschema
import pytest

from realfeatures.results.statistics.intervals import wilson_interval

pytestmark = pytest.mark.slow

PARADIGMS = ("supervised", "contrastive", "masked", "diffusion")
FEATURES = ("natural", "robust", "non_robust", "d_rand")
SEEDS = (0,)


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "run"
    subprocess.run([*command(), "--out", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())


def command() -> list[str]:
    seeds = [part for seed in SEEDS for part in ("--seed", str(seed))]
    return [sys.executable, "-m", "realfeatures.cli.main", "run", "--preset", "digits", *seeds]


def value(
    results: dict,
    paradigm: str,
    features: str,
    seed: int,
    attack: str,
    epsilon: float,
    probe: str = "",
    readout: str = "",
    protocol: str = "natural",
) -> dict:
    usual = "own_head" if paradigm == "supervised" and probe in ("", features) else "linear_probe"
    [row] = [
        row
        for row in results["rows"]
        if (row["paradigm"], row["features"], row["probe_features"]) == (paradigm, features, probe or features)
        and (row["seed"], row["attack"], row["epsilon"]) == (seed, attack, epsilon)
        and (row["readout"], row["timestep"], row["protocol"]) == (readout or usual, None, protocol)
    ]
    return row


def test_the_tables_are_filled_with_clean_pgd_and_autoattack_for_every_pair_and_seed(results) -> None:
    for paradigm, features, seed in product(PARADIGMS, FEATURES, SEEDS):
        measured = [("none", 0.0), ("pgd", 0.25), ("pgd", 0.5), ("pgd", 0.75), ("autoattack", 0.75)]
        for attack, epsilon in measured:
            row = value(results, paradigm, features, seed, attack, epsilon)
            assert row["n"] >= 64
            assert row["low"] <= row["value"] <= row["high"]


def test_autoattack_leaves_no_more_than_pgd_does_by_more_than_its_interval(results) -> None:
    for paradigm, features, seed in product(PARADIGMS, FEATURES, SEEDS):
        pgd = value(results, paradigm, features, seed, "pgd", 0.75)
        autoattack = value(results, paradigm, features, seed, "autoattack", 0.75)
        assert autoattack["value"] <= pgd["high"]


def test_a_larger_epsilon_breaks_no_fewer_images_beyond_the_interval(results) -> None:
    for paradigm, features, seed in product(PARADIGMS, FEATURES, SEEDS):
        rows = [
            value(results, paradigm, features, seed, attack, epsilon)
            for attack, epsilon in (("none", 0.0), ("pgd", 0.25), ("pgd", 0.5), ("pgd", 0.75))
        ]
        # Within the interval: each attack starts at its own random point.
        assert all(larger["value"] <= smaller["high"] for smaller, larger in pairwise(rows))


def test_natural_training_works_in_every_paradigm(results) -> None:
    """A sanity check of the demo's sizes; no claim of the paper is asserted anywhere."""
    for paradigm, seed in product(PARADIGMS, SEEDS):
        assert value(results, paradigm, "natural", seed, "none", 0.0)["value"] > 0.8


def test_the_mixed_cells_and_what_learned_nothing_stand_beside_them(results) -> None:
    for seed, features in product(SEEDS, FEATURES):
        wanted = [("pixels", "none", features)]
        for paradigm in PARADIGMS:
            wanted += [(paradigm, encoder, features) for encoder in (features, "natural", "untrained")]
            wanted.append((paradigm, features, "natural"))
        for paradigm, encoder, probe in wanted:
            row = value(results, paradigm, encoder, seed, "none", 0.0, probe, "linear_probe")
            assert "decomposition" in row["experiments"]


def test_every_experiment_has_numbers(results) -> None:
    found = {experiment for row in results["rows"] for experiment in row["experiments"]}
    assert found == {"E1", "E2", "E3", "E4", "E6", "decomposition", "controls"}
    pairs = {(row["source"], row["target"], row["features"]) for row in results["transfer"]}
    assert pairs == set(product(PARADIGMS, PARADIGMS, FEATURES))
    assert {row["attacked"] for row in results["loss_curves"]} == {"info_nce", "cross_entropy"}
    assert len(results["masking"]) >= len(PARADIGMS) * len(FEATURES)


def test_an_attack_on_a_loss_raises_it(results) -> None:
    for row in results["loss_curves"]:
        attacked = row[row["attacked"]]
        assert attacked[-1] > attacked[0]


def test_attacks_start_from_robust_images_too(results) -> None:
    for paradigm, features, seed in product(PARADIGMS, FEATURES, SEEDS):
        for attack, epsilon in (("none", 0.0), ("pgd", 0.5), ("autoattack", 0.75)):
            assert value(results, paradigm, features, seed, attack, epsilon, protocol="robust_set")["n"] >= 64


def test_every_interval_is_wilsons(results) -> None:
    for row in results["rows"]:
        expected = wilson_interval(round(row["value"] * row["n"]), row["n"])
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))


def test_the_results_fit_their_schema_and_every_claim_has_a_verdict(results) -> None:
    schema = Path(__file__).parents[2] / "docs" / "results.schema.json"
    jsonschema.validate(results, json.loads(schema.read_text()))
    assert [claim["id"] for claim in results["claims"]] == [f"C{number}" for number in range(1, 8)]


def test_the_report_is_whole_and_small(out: Path) -> None:
    html = (out / "report.html").read_text()
    assert html.rstrip().endswith("</html>")
    assert len(html) < 2_000_000
    assert html.count("<script") == 1  # the page's own: its links work in Kubeflow's frame


def test_a_rerun_computes_nothing_and_gives_the_same_results(out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*")}
    results = (out / "results.json").read_bytes()
    subprocess.run([*command(), "--out", out], check=True)
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*")} == before
    assert (out / "results.json").read_bytes() == results
