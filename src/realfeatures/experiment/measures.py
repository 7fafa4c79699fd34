"""What a claim is made of: measurements of the grid by name, and inequalities between them; data, without numbers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from realfeatures.errors import ConfigError
from realfeatures.experiment.experiments import CONSTRUCTED, NONE, standard_readout
from realfeatures.experiment.vocabulary import (
    ADVERSARIAL,
    UNTRAINED,
    Control,
    Features,
    Norm,
    Paradigm,
    Protocol,
    Readout,
)

ATTACKS = ("none", "pgd", "autoattack", "pgd_representation")

_TIMESTEP = re.compile(rf"{Readout.LINEAR_PROBE}_t\d+")
"""A linear probe on a diffusion encoder that is read at another timestep."""


def measurement_text(
    *,
    paradigm: str,
    features: str,
    probe_features: str,
    attack: str,
    norm: str,
    epsilon: float,
    readout: str,
    protocol: str,
) -> str:
    """Return a measurement in words, such as `masked on robust under pgd L2 0.5`; what is usual is left out."""
    own = "" if features == NONE else f" on {features}"
    probe = "" if features == probe_features else f" with a probe on {probe_features}"
    usual = readout == standard_readout(paradigm, features, probe_features)
    read = "" if usual else f" read by {readout}"
    under = f" under {attack} {norm} {epsilon:.3g}" if attack != "none" else ""
    start = "" if protocol == Protocol.NATURAL else f" ({protocol})"
    return f"{paradigm}{own}{probe}{read}{under}{start}"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measurement of the grid by name; attack `none` is clean accuracy.

    Raises:
        ConfigError: a cell that no grid can have.
    """

    paradigm: str
    features: str
    """What the encoder was trained on; also `untrained`, and `none` for raw pixels."""
    probe_features: str
    attack: str = "none"
    norm: str = "none"
    epsilon: float = 0.0
    readout: str = ""
    """Empty: the usual one of such a cell."""
    protocol: str = Protocol.NATURAL

    def __post_init__(self) -> None:
        if not self.readout:
            usual = standard_readout(self.paradigm, self.features, self.probe_features)
            object.__setattr__(self, "readout", str(usual))
        self._check_names()
        for reason in self._impossible():
            raise ConfigError(f"a claim names {self}: {reason}")

    def __str__(self) -> str:
        return measurement_text(**vars(self))

    def _check_names(self) -> None:
        _check_name("paradigm", self.paradigm, [*Paradigm, *Control, ADVERSARIAL])
        _check_name("features", self.features, [*Features, UNTRAINED, NONE])
        _check_name("probe_features", self.probe_features, list(Features))
        _check_name("attack", self.attack, ATTACKS)
        _check_name("norm", self.norm, [*Norm, "none"])
        _check_name("protocol", self.protocol, list(Protocol))
        if not _TIMESTEP.fullmatch(self.readout):
            _check_name("readout", self.readout, list(Readout))

    def _impossible(self) -> Iterator[str]:
        """Yield why no grid has such a cell."""
        matched = self.features == self.probe_features
        if (self.paradigm == Control.PIXELS) != (self.features == NONE):
            yield f"raw pixels, and nothing else, have features {NONE!r}"
        if self.paradigm == ADVERSARIAL and (self.features, self.readout) != (Features.NATURAL, Readout.OWN_HEAD):
            yield "the adversarial source is trained on natural and read by its own head"
        if self.readout == Readout.OWN_HEAD and not (matched and self.paradigm in (Paradigm.SUPERVISED, ADVERSARIAL)):
            yield "only a supervised model, on the set that it was trained on, has an own head"
        if _TIMESTEP.fullmatch(self.readout) and self.paradigm != Paradigm.DIFFUSION:
            yield "only a diffusion encoder has timesteps"
        if self.features in CONSTRUCTED and self.paradigm != Paradigm.SUPERVISED:
            yield f"only supervised encoders are trained on {self.features}"
        if (self.attack == "none", self.attack == "none") != (self.norm == "none", self.epsilon == 0):
            yield "an attack has a norm and an epsilon above 0, and a clean accuracy neither"


def _check_name(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"a claim names {kind} {name!r}; expected one of: {', '.join(known)}")


def matched(
    paradigm: str, features: str, *, attack: str = "none", norm: str = "none", epsilon: float = 0.0, readout: str = ""
) -> Measure:
    """Return the measurement of a cell whose encoder and probe saw the same set."""
    return Measure(
        paradigm=paradigm,
        features=features,
        probe_features=features,
        attack=attack,
        norm=norm,
        epsilon=epsilon,
        readout=readout,
    )


@dataclass(frozen=True)
class Mean:
    """The mean accuracy of several measurements, each of which counts alike.

    Raises:
        ConfigError: of fewer than two, or of one twice.
    """

    measures: tuple[Measure, ...]

    def __post_init__(self) -> None:
        if len(self.measures) < 2 or len(set(self.measures)) < len(self.measures):
            raise ConfigError(
                f"a claim names the mean of {', '.join(map(str, self.measures)) or 'nothing'};"
                " expected two or more different measurements"
            )

    def __str__(self) -> str:
        return f"the mean of {', '.join(map(str, self.measures))}"


Term = Measure | Mean


def measures_of(term: Term) -> tuple[Measure, ...]:
    """Return the measurements that a term is the mean of; one is its own."""
    return term.measures if isinstance(term, Mean) else (term,)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What must hold with its whole interval before a paradigm is judged: measure - baseline lies above margin.

    A gate asks of the very encoders that are judged, so that few seeds need no allowance here.
    """

    measure: Measure
    baselines: tuple[Measure, ...] = ()
    """The better of those that were measured counts; empty: chance."""
    margin: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One inequality: (measure - floor) - share * (reference - floor) lies above or below margin."""

    measure: Term
    reference: Term | None = None
    """None: the measure alone against floor and margin."""
    share: float = 0.0
    like: tuple[Measure, Measure] | None = None
    """Two measures whose ratio above floor is the share, in place of a number."""
    floor: Literal["chance", "zero"] = "chance"
    """chance: one over the number of classes."""
    margin: float = 0.0
    side: Literal["above", "below"] = "above"
    gates: tuple[Gate, ...] = ()
    control: tuple[Measure, Measure] | None = None
    """A robust model under attack, and clean. Unless it keeps more than share, this comparison supports nothing."""

    @property
    def terms(self) -> tuple[Term, ...]:
        """What its quantity is computed from: the measure, the reference, and the two of `like`."""
        reference = () if self.reference is None else (self.reference,)
        return (self.measure, *reference, *(self.like or ()))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All the measurements in its terms, each once."""
        return tuple(dict.fromkeys(one for term in self.terms for one in measures_of(term)))

    @property
    def varying(self) -> float:
        """How much trainings move its quantity, as a multiple of one accuracy's variance between seeds.

        Natural accuracy varies little between seeds beside that on crafted sets, and a reference that was read from
        the measure's own set varies with it: neither counts. A mean counts as one accuracy, since the encoders in
        it were trained on the same crafted images.
        """
        own = {one.features for one in measures_of(self.measure)}
        references = () if self.reference is None else measures_of(self.reference)
        crafted = {one.features for one in references} - {Features.NATURAL} - own
        return 1.0 + (self.share**2 if crafted else 0.0) + (1.0 if self.like else 0.0)


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
