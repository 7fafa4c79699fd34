"""What an encoder, a probe, or both lose on a crafted set, and which of the two loses more, as results.json holds it.

Computed when results.json is made: pairing needs the verdict on every single test image, which is not in it.
"""

from collections.abc import Mapping
from typing import Any

from realfeatures.experiment.measures import Comparison, Measure
from realfeatures.experiment.vocabulary import Experiment, Readout
from realfeatures.report.sections.decomposition import (
    BOTH,
    DIFFERENCE,
    ENCODER,
    PROBE,
    crafted_sets,
)
from realfeatures.report.subjects import NATURAL, paradigms_of
from realfeatures.results.estimates import Measurements
from realfeatures.results.flags import Flags
from realfeatures.results.rows import Lookup, Results


def contrasts(results: Results, flags: Flags | None = None) -> list[dict[str, Any]]:
    """Return the list `decomposition` of results.json, as far as its cells were measured.

    Args:
        results: all of results.json that this needs: rows and cells.
        flags: the verdicts on single images; without them the intervals are not paired.
    """
    planned = Lookup(results).planned(Experiment.DECOMPOSITION)
    measurements = Measurements(results["rows"], flags)
    return [
        _contrast(measurements, comparison, {"paradigm": paradigm, "features": features, "changed": changed})
        for paradigm in paradigms_of(planned)
        for features in crafted_sets(planned)
        for changed, comparison in _comparisons(paradigm, features).items()
        if measurements.seeds(comparison.measures)
    ]


def _comparisons(paradigm: str, features: str) -> dict[str, Comparison]:
    """Return what is compared, by what is changed.

    The difference of the two losses is (whole - encoder's) - (whole - probe's): the whole accuracy cancels.
    """
    encoder, probe = _clean(paradigm, features, NATURAL), _clean(paradigm, NATURAL, features)
    whole, both = _clean(paradigm, NATURAL, NATURAL), _clean(paradigm, features, features)
    pairs = {ENCODER: (whole, encoder), PROBE: (whole, probe), BOTH: (whole, both), DIFFERENCE: (probe, encoder)}
    return {
        changed: Comparison(measure=first, reference=second, share=1.0, floor="zero")
        for changed, (first, second) in pairs.items()
    }


def _clean(paradigm: str, features: str, probe_features: str) -> Measure:
    readout = Readout.LINEAR_PROBE
    return Measure(paradigm=paradigm, features=features, probe_features=probe_features, readout=readout)


def _contrast(measurements: Measurements, comparison: Comparison, names: Mapping[str, str]) -> dict[str, Any]:
    estimate = measurements.estimate(comparison, chance=0.0)
    found = estimate.at()
    counted = (n for sample in measurements.together(comparison.measures).values() for _, n in sample.counts)
    return {
        **names,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": min(counted),
        "seeds": list(estimate.seeds),
        "interval": estimate.method,
    }
