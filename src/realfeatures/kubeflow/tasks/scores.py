"""What Kubeflow compares runs by: one scalar under a stable name for each clean accuracy, and each under AutoAttack."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from realfeatures.experiment.measurement import Measurement
from realfeatures.experiment.vocabulary import Attack, Protocol
from realfeatures.experiment.wording import threat_name
from realfeatures.results.reading import read_results
from realfeatures.results.rows import Rows

SHOWN = (Attack.NONE, Attack.AUTOATTACK)
"""chosen: what a person compares two runs by; the hundreds of others are in results.json."""


def scores_of(results: Path) -> dict[str, float]:
    """Return the mean over the seeds of accuracies of a results.json, by a name that is the same in every run."""
    return named_scores(read_results(results))


def named_scores(results: Mapping[str, Any]) -> dict[str, float]:
    """As `scores_of`, of what the file holds."""
    rows = Rows.of(results)
    return {
        score_name(one): fmean(row.value for row in rows.by_seed(one).values())
        for one in rows.measured
        if one.attack in SHOWN
    }


def score_name(measurement: Measurement) -> str:
    """Return a name such as `d_rand/contrastive/natural clean`: encoder's set, paradigm, the classifier's set."""
    usual = measurement.readout == measurement.usual_readout
    parts = (
        f"{measurement.features}/{measurement.paradigm}/{measurement.probe_features}",
        "" if usual else measurement.readout,
        "" if measurement.timestep is None else f"t{measurement.timestep}",
        "" if measurement.protocol == Protocol.NATURAL else measurement.protocol,
        threat_name(measurement.threat),
    )
    return " ".join(part for part in parts if part)
