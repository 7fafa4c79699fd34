"""What a person calls the terms of the field, and how accuracies are written."""

from typing import Protocol as Interface

from realfeatures.experiment.measurement import Threat
from realfeatures.experiment.vocabulary import Attack, Norm

MINUS = "\N{MINUS SIGN}"

_ATTACKS = {"pgd": "PGD", "autoattack": "AutoAttack", "pgd_representation": "PGD on the representation"}

_NAMES = {
    "pixels": "raw pixels",
    "adversarial": "adversarially trained",
    "standard": "trained elsewhere",
    "own_head": "own head",
    "linear_probe": "linear probe",
    "linear_probe_crop_flip": "crop and flip",
    "linear_probe_simclr": "SimCLR's",
    "linear_probe_noise": "Gaussian noise",
    "knn": "nearest neighbours",
}


class Bounds(Interface):
    """A number with the bounds of its interval."""

    @property
    def value(self) -> float:
        """The estimate."""

    @property
    def low(self) -> float:
        """The lower bound."""

    @property
    def high(self) -> float:
        """The upper bound."""


def control_name(name: str) -> str:
    """Return what a person calls a control, a source or a readout."""
    return _NAMES.get(name, name)


def threat_name(threat: Threat) -> str:
    """Return an attack as a person writes it: clean, PGD L2 0.25, AutoAttack Linf 8/255."""
    if threat.attack == Attack.NONE:
        return "clean"
    return f"{_ATTACKS.get(threat.attack, threat.attack)} {ball_name(threat.norm, threat.epsilon)}"


def ball_name(norm: str, epsilon: float) -> str:
    """Return how far an attack may go: L2 0.25, Linf 8/255."""
    return f"{norm} {epsilon_name(norm, epsilon)}"


def epsilon_name(norm: str, epsilon: float) -> str:
    """Return epsilon as its field writes it: a multiple of 1/255 for Linf where it is one."""
    levels = epsilon * 255
    if norm == Norm.LINF and epsilon > 0 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{epsilon:g}"


def percent(fraction: float, decimals: int = 1) -> str:
    """Return a fraction as percent, or a difference of fractions as points, with a true minus sign."""
    return f"{100 * fraction:.{decimals}f}".replace("-", MINUS)


def interval_text(interval: Bounds, *, unit: str = "", bounds: int = 1) -> str:
    """Return an interval of fractions in percent, such as `68.6 [60.1, 75.3]`, with `bounds` decimals in brackets."""
    low, high = percent(interval.low, bounds), percent(interval.high, bounds)
    return f"{percent(interval.value)}{unit} [{low}, {high}]"


def accuracy_text(accuracy: Bounds) -> str:
    """Return an accuracy in a sentence, such as `68.6 % [60.1, 75.3]`."""
    return interval_text(accuracy, unit=" %")


def difference_text(difference: Bounds) -> str:
    """Return a difference of accuracies in a sentence, such as `5.4 points [2.1, 8.8]`."""
    return interval_text(difference, unit=" points")
