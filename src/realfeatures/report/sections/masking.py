"""Do the attacks' gradients tell the truth? The checks that found something, beside the numbers they touch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from realfeatures.experiment.about import Role
from realfeatures.experiment.address import SHOWN_DIGITS
from realfeatures.experiment.measurement import Measurement, Threat
from realfeatures.experiment.wording import control_name, threat_name
from realfeatures.report.section import Part, Section
from realfeatures.results.records import Records
from realfeatures.results.rows import Content

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

    read: Measurement
    seed: int
    cell: str
    check: str
    details: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The classifier, the check and its meaning in one sentence."""
        one = self.read
        fitted = "" if one.matched else f" → {one.probe_features}"
        how = f"{control_name(one.readout)}, started at {one.protocol}, seed {self.seed}"
        meaning = CHECKS.get(self.check.split()[-1], "a check that this version does not know")
        return f"{one.paradigm} on {one.features}{fitted} ({how}): {self.check}: {meaning}"

    @property
    def numbers(self) -> str:
        """What the checks of its cell measured."""
        return ", ".join(f"{name} {value:.4g}" for name, value in self.details.items())


def section(results: Content) -> Section | None:
    """Return the section, where gradients were checked."""
    if not results["masking"]:
        return None
    found = suspicions(results)
    cells = f"{len(results['masking'])} attacked classifiers"
    meanings = "; ".join(f"{name}: {meaning}" for name, meaning in CHECKS.items())
    words = f"Signs that an attack failed for lack of a gradient, and not for the model's robustness. {meanings}."
    part = Part(words=(words, f"None of them was found in {cells}."))
    if found:
        text = f"Signs were found in {len({one.cell for one in found})} of {cells}; such an accuracy may be too high."
        listed = tuple((one.text, (f"realfeatures show {one.cell[:SHOWN_DIGITS]}: {one.numbers}",)) for one in found)
        part = Part(words=(words,), warnings=(text,), findings=listed)
    return Section("masking", "Gradient masking", "Do the attacks' gradients tell the truth?", (part,))


def autoattack(records: Records) -> Section | None:
    """Return AutoAttack's own sanity checks, where it ran."""
    measured = [
        (cell.key, one)
        for cell, found in records.with_role(Role.ATTACK)
        for one in found.record["measurements"]
        if one["attack"] == "autoattack"
    ]
    if not measured:
        return None
    flags = tuple(
        f"{key}, {threat_name(Threat(one['attack'], one['norm'], one['epsilon']))}: {check}"
        for key, one in measured
        for check, raised in one.get("details", {}).get("checks", {}).items()
        if raised
    )
    part = Part(words=(f"None of its checks raised a flag in {len(measured)} evaluations.",))
    if flags:
        text = f"Flags raised in {len(measured)} evaluations; a flagged accuracy may be too high."
        part = Part(findings=((text, flags),))
    return Section("autoattack", "AutoAttack", "AutoAttack's sanity checks", (part,))


def suspicions(results: Content) -> list[Suspicion]:
    """Return every gradient-masking check that found something."""
    return [
        Suspicion(Measurement.of(one["measurement"]), one["seed"], one["cell"], check, one["details"])
        for one in results["masking"]
        for check, raised in one["checks"].items()
        if raised
    ]


def warnings(results: Content, classifiers: Collection[Measurement]) -> tuple[str, ...]:
    """Return what to say beside a table of some classifiers: one sentence for each that a check suspects."""
    chosen = set(classifiers)
    return tuple(one.text for one in suspicions(results) if one.read in chosen)
