"""Rows like those of the digits preset, with accuracies that a test sets, and the verdicts on them."""

from collections.abc import Mapping

from realfeatures.experiment.measurement import Measurement
from realfeatures.experiment.vocabulary import ADVERSARIAL, Paradigm
from realfeatures.results.rows import Rows
from realfeatures.results.statistics.intervals import wilson_interval
from realfeatures.results.verdicts import Verdict, judge_all

USUAL = {
    ("natural", "natural"): {
        "supervised": 0.99,
        "contrastive": 0.98,
        "masked": 0.97,
        "diffusion": 0.97,
        ADVERSARIAL: 0.98,
    },
    ("robust", "robust"): {"supervised": 0.97, "contrastive": 0.97, "masked": 0.93, "diffusion": 0.95},
    ("non_robust", "non_robust"): {"supervised": 0.68, "contrastive": 0.30, "masked": 0.24, "diffusion": 0.32},
    ("none", "natural"): {"pixels": 0.90},
    ("untrained", "natural"): dict.fromkeys(map(str, Paradigm), 0.88),
}


UNDER_ATTACK = {"supervised": 0.15, "contrastive": 0.2, "masked": 0.04, "diffusion": 0.2, ADVERSARIAL: 0.8}


def row(paradigm: str, features: str, probe: str, value: float, *, seed: int, n: int, **attack: object) -> dict:
    interval = wilson_interval(round(value * n), n)
    measurement = Measurement(paradigm=paradigm, features=features, probe_features=probe)
    return {
        **vars(measurement),
        "seed": seed,
        "cell": f"{seed}/{paradigm}/{features}/{probe}",
        "n": n,
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
            features = "natural" if paradigm == ADVERSARIAL else "robust"
            found.append(row(paradigm, features, features, value, seed=seed, n=100, **attack))
    return found


def verdicts(found: list[dict], classes: int = 10) -> dict[str, Verdict]:
    return {one.claim.id: one for one in judge_all(Rows(found), classes=classes)}
