"""Do an attack's numbers look like hidden gradients? The checks that found something, beside the numbers they touch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from realfeatures.report.tables import control_name
from realfeatures.results.rows import Results, Subject, subject_of

CHECKS = {
    "zero_gradient": "the loss of a correctly classified image has a gradient of exactly zero",
    "flat_loss": "the gradient leads nowhere that random steps do not lead",
    "not_monotone_in_steps": "an attack with more steps fools fewer images",
    "not_monotone_in_epsilon": "an attack with a larger epsilon fools fewer images",
    "unbounded_fails": "images survive an attack that may turn them into plain grey",
    "square_below_apgd": "Square, which uses no gradient, finds what APGD does not",
}
"""Check, after its norm -> what it found (Athalye et al. 2018, Carlini et al. 2019)."""


@dataclass(frozen=True)
class Suspicion:
    """A check that found something."""

    subject: Subject
    seed: int
    cell: str
    check: str
    details: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The classifier, the check and its meaning in one sentence."""
        one = self.subject
        fitted = "" if one.matched else f" → {one.probe_features}"
        how = f"{control_name(one.readout)}, started at {one.protocol}, seed {self.seed}"
        meaning = CHECKS.get(self.check.split()[-1], "a check that this version does not know")
        return f"{one.paradigm} on {one.features}{fitted} ({how}): {self.check}: {meaning}"

    @property
    def numbers(self) -> str:
        """What the checks of its cell measured."""
        return ", ".join(f"{name} {value:.4g}" for name, value in self.details.items())


def suspicions(results: Results) -> list[Suspicion]:
    """Return every gradient-masking check that found something."""
    return [
        Suspicion(subject_of(one), one["seed"], one["cell"], check, one["details"])
        for one in results["masking"]
        for check, raised in one["checks"].items()
        if raised
    ]


def warnings(results: Results, subjects: Collection[Subject]) -> tuple[str, ...]:
    """Return what to say beside a table of some subjects: one sentence for each that a check suspects."""
    chosen = set(subjects)
    return tuple(one.text for one in suspicions(results) if one.subject in chosen)
