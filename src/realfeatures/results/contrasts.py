"""What an encoder, a probe, or both lose on a crafted set, and which of the two loses more, as results.json holds it.

Computed when results.json is made: pairing needs the verdict on every single test image, which is not in it.
"""

from collections.abc import Sequence
from typing import Any

from realfeatures.experiment.comparisons import Beats
from realfeatures.experiment.measurement import Measurement, probed
from realfeatures.experiment.vocabulary import Experiment, Features
from realfeatures.results.estimates import Estimates
from realfeatures.results.flags import Flags
from realfeatures.results.rows import Rows, paradigms_of, probe_sets

ENCODER, PROBE, BOTH, DIFFERENCE = "encoder", "probe", "both", "encoder_minus_probe"
"""What a contrast of results.json changes; the last: what an encoder loses more than a probe."""


def contrasts(rows: Rows, flags: Flags | None = None) -> list[dict[str, Any]]:
    """Return the list `decomposition` of results.json, as far as its cells were measured.

    Args:
        rows: of the run, with what it planned.
        flags: the verdicts on single images; without them the intervals are not paired.
    """
    planned, estimates = rows.planned(Experiment.DECOMPOSITION), Estimates(rows, flags)
    return [
        {"paradigm": paradigm, "features": features, "changed": changed, **_numbers(estimates, comparison)}
        for paradigm in paradigms_of(planned)
        for features in crafted_sets(planned)
        for changed, comparison in _comparisons(paradigm, features).items()
        if rows.seeds(comparison.measurements)
    ]


def crafted_sets(planned: Sequence[Measurement]) -> list[str]:
    """Return the sets of the decomposition but the natural one, in the usual order."""
    return [features for features in probe_sets(planned) if features != Features.NATURAL]


def _comparisons(paradigm: str, features: str) -> dict[str, Beats]:
    """Return what is compared, by what is changed.

    The difference of the two losses is (whole - encoder's) - (whole - probe's): the whole accuracy cancels.
    """
    natural = Features.NATURAL
    encoder, probe = probed(paradigm, features, natural), probed(paradigm, natural, features)
    whole, both = probed(paradigm, natural, natural), probed(paradigm, features, features)
    pairs = {ENCODER: (whole, encoder), PROBE: (whole, probe), BOTH: (whole, both), DIFFERENCE: (probe, encoder)}
    return {changed: Beats(measured=first, reference=second) for changed, (first, second) in pairs.items()}


def _numbers(estimates: Estimates, comparison: Beats) -> dict[str, Any]:
    estimate = estimates.estimate(comparison, chance=0.0)
    lost = estimate.at()
    counted = (n for sample in estimates.together(comparison.measurements).values() for _, n in sample.counts)
    return {
        "value": lost.value,
        "low": lost.low,
        "high": lost.high,
        "n": min(counted),
        "seeds": list(estimate.seeds),
        "interval": estimate.method,
    }
