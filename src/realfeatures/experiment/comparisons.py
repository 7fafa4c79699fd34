"""What a claim is made of: inequalities between accuracies of the grid, and what must hold before they are judged.

A comparison is one of Above, Keeps, KeepsLike and Beats. Each says which accuracies it takes, what it computes of them
and how a person reads its numbers; results/ measures them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from realfeatures.errors import ConfigError
from realfeatures.experiment.measurement import Measurement
from realfeatures.experiment.vocabulary import Attack, Features
from realfeatures.experiment.wording import Bounds, accuracy_text, control_name, difference_text, percent, threat_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Accuracies = NDArray[np.float64]
    """(R,): of one term, in R resamples of the test images."""


@dataclass(frozen=True)
class Mean:
    """The mean accuracy of several measurements, each of which counts alike.

    Raises:
        ConfigError: of fewer than two, or of one twice.
    """

    measurements: tuple[Measurement, ...]

    def __post_init__(self) -> None:
        if len(self.measurements) < 2 or len(set(self.measurements)) < len(self.measurements):
            raise ConfigError(
                f"a claim names the mean of {', '.join(map(str, self.measurements)) or 'nothing'};"
                " expected two or more different measurements"
            )


Term = Measurement | Mean


def measurements_of(term: Term) -> tuple[Measurement, ...]:
    """Return the measurements that a term is the mean of; one is its own."""
    return term.measurements if isinstance(term, Mean) else (term,)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What must hold with its whole interval before a paradigm is judged: measured - baseline lies above margin.

    A gate asks of the very encoders that are judged, so that few seeds need no allowance here.
    """

    measured: Measurement
    baselines: tuple[Measurement, ...] = ()
    """The better of those that were measured counts; empty: chance."""
    margin: float = 0.0


@dataclass(frozen=True)
class Numbers:
    """What was measured of a comparison."""

    values: Sequence[Bounds]
    """Of each of its terms, in their order."""
    quantity: Bounds | None
    """None: a share of nothing."""
    chance: float
    """One over the number of classes."""
    paired: bool
    """Whether all terms were measured on the same test images, one by one."""


@dataclass(frozen=True, kw_only=True)
class Comparison(ABC):
    """An inequality: its quantity lies on `side` of margin."""

    measured: Term
    side: Literal["above", "below"] = "above"
    margin: float = 0.0
    gates: tuple[Gate, ...] = ()

    @property
    def terms(self) -> tuple[Term, ...]:
        """What its quantity is computed from, the measured term first."""
        return (self.measured,)

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All the measurements in its terms, each once."""
        return tuple(dict.fromkeys(one for term in self.terms for one in measurements_of(term)))

    @property
    def varying(self) -> float:
        """How much trainings move its quantity, as a multiple of one accuracy's variance between seeds.

        Natural accuracy varies little between seeds beside that on crafted sets, and a reference that was read from
        the measured set varies with it: neither counts. A mean counts as one accuracy, since the encoders in
        it were trained on the same crafted images.
        """
        return 1.0

    @abstractmethod
    def quantity(self, terms: "Sequence[Accuracies]", chance: float) -> "Accuracies":
        """Return the quantity (R,) of its terms' accuracies."""

    @abstractmethod
    def words(self, numbers: Numbers) -> str:
        """Return its numbers in words, as percent and points with one decimal."""


@dataclass(frozen=True, kw_only=True)
class Above(Comparison):
    """measured - chance."""

    def quantity(self, terms: "Sequence[Accuracies]", chance: float) -> "Accuracies":
        """Return what lies above chance."""
        return terms[0] - chance

    def words(self, numbers: Numbers) -> str:
        """Return the accuracy, and chance."""
        return f"{_text(self.measured, numbers.values[0])}, chance {percent(numbers.chance)} %"


@dataclass(frozen=True, kw_only=True)
class Referred(Comparison, ABC):
    """A comparison with a reference."""

    reference: Term

    @property
    def terms(self) -> tuple[Term, ...]:
        """The measured term and the reference."""
        return (self.measured, self.reference)

    @property
    def reference_is_crafted(self) -> bool:
        """Whether trainings of its own on a crafted set move the reference."""
        own = {one.features for one in measurements_of(self.measured)}
        return bool({one.features for one in measurements_of(self.reference)} - {Features.NATURAL} - own)


@dataclass(frozen=True, kw_only=True)
class Beats(Referred):
    """measured - reference."""

    @property
    def varying(self) -> float:
        """As in every comparison; a reference on a crafted set varies as much as what is measured."""
        return 2.0 if self.reference_is_crafted else 1.0

    def quantity(self, terms: "Sequence[Accuracies]", chance: float) -> "Accuracies":  # noqa: ARG002 - nothing to do with it
        """Return the difference."""
        return terms[0] - terms[1]

    def words(self, numbers: Numbers) -> str:
        """Return both accuracies and their difference."""
        both = f"{_text(self.measured, numbers.values[0])}, {_text(self.reference, numbers.values[1])}"
        return f"{both}: {difference_text(numbers.quantity)} between them" if numbers.quantity else both


@dataclass(frozen=True, kw_only=True)
class Keeps(Referred):
    """(measured - floor) - share * (reference - floor)."""

    share: float
    floor: Literal["chance", "zero"] = "chance"
    control: tuple[Measurement, Measurement] | None = None
    """A robust model under attack, and clean. Unless it keeps more than share, this comparison supports nothing."""

    @property
    def varying(self) -> float:
        """As in every comparison; of a reference on a crafted set, its share."""
        return 1.0 + (self.share**2 if self.reference_is_crafted else 0.0)

    def quantity(self, terms: "Sequence[Accuracies]", chance: float) -> "Accuracies":
        """Return what is kept beyond the share."""
        floor = self.floor_at(chance)
        return (terms[0] - floor) - self.share * (terms[1] - floor)

    def floor_at(self, chance: float) -> float:
        """Return what is subtracted of both accuracies."""
        return chance if self.floor == "chance" else 0.0

    def words(self, numbers: Numbers) -> str:
        """Return both accuracies, and the share that is kept."""
        above = self.floor == "chance"
        whole = f"{accuracy_text(numbers.values[1])} {'on natural' if above else 'clean'}"
        same = " on the same images" if numbers.paired and not above else ""
        text = f"{_text(self.measured, numbers.values[0])}, {whole}{same}"
        kept = share_kept(*numbers.values, floor=self.floor_at(numbers.chance))
        return text if kept is None else f"{text}, {percent(kept, 0)} % of it kept{' above chance' if above else ''}"


@dataclass(frozen=True, kw_only=True)
class KeepsLike(Referred):
    """(measured - chance) - (a - chance) / (b - chance) * (reference - chance), for like = (a, b)."""

    like: tuple[Measurement, Measurement]

    @property
    def terms(self) -> tuple[Term, ...]:
        """The measured term, the reference, and the two of `like`."""
        return (self.measured, self.reference, *self.like)

    @property
    def varying(self) -> float:
        """As in every comparison; the other paradigm's trainings vary as well."""
        return 2.0

    def quantity(self, terms: "Sequence[Accuracies]", chance: float) -> "Accuracies":
        """Return what is kept beyond the share that the other paradigm keeps."""
        above = [term - chance for term in terms]
        return above[0] - above[2] / above[3] * above[1]

    def words(self, numbers: Numbers) -> str:
        """Return both shares, and the difference."""
        measured, other = measurements_of(self.measured)[0], self.like[0]
        if numbers.quantity is None:
            return f"{measured.paradigm}: natural is not above chance in every seed, so that no share of it can be kept"
        pairs = (numbers.values[:2], numbers.values[2:])
        kept = [share_kept(part, whole, floor=numbers.chance) for part, whole in pairs]
        shares = ["none" if share is None else f"{percent(share, 0)} %" for share in kept]
        return (
            f"{measured.paradigm} keeps {shares[0]} of natural's accuracy above chance on {measured.features},"
            f" {other.paradigm} {shares[1]}: {difference_text(numbers.quantity)} against that share"
        )


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, the rule in words, and what decides it: every comparison must hold."""

    id: str
    text: str
    source: str
    rule: str
    comparisons: tuple[Comparison, ...] = ()
    needs: tuple[str, ...] = ()
    """What must be measured before it is known which cells to compare; with any, the claim is not tested."""


def share_kept(part: Bounds, whole: Bounds, *, floor: float) -> float | None:
    """Return (part - floor) / (whole - floor), or None where the whole is not above the floor."""
    above = whole.value - floor
    return (part.value - floor) / above if above > 0 else None


def _text(term: Term, value: Bounds) -> str:
    """Return a term with its accuracy, and the attack, or else the set, that all of its measurements share."""
    first = measurements_of(term)[0]
    condition = f"on {first.features}" if first.attack == Attack.NONE else f"under {threat_name(first.threat)}"
    readers = ", ".join(dict.fromkeys(map(_reader, measurements_of(term))))
    return f"{'mean of ' if isinstance(term, Mean) else ''}{readers}: {accuracy_text(value)} {condition}"


def _reader(read: Measurement) -> str:
    """Return the paradigm, with a readout that is not the usual one."""
    usual = read.readout == read.usual_readout
    return read.paradigm if usual else f"{read.paradigm} with {control_name(read.readout)}"
