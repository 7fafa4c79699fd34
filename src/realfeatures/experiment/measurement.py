"""What an accuracy is of: which encoder, read out how, attacked from where and with what; imports no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

from realfeatures.errors import ConfigError
from realfeatures.experiment.vocabulary import (
    ADVERSARIAL,
    CONSTRUCTED,
    NONE,
    UNTRAINED,
    Attack,
    Control,
    Features,
    Norm,
    Paradigm,
    Protocol,
    Readout,
)


class Threat(NamedTuple):
    """What a classifier is attacked with; no attack at all is one too, for clean accuracy."""

    attack: str = Attack.NONE
    norm: str = NONE
    epsilon: float = 0.0
    """Largest perturbation, pixels in [0, 1]."""


CLEAN = Threat()


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """An accuracy of the grid by name.

    Raises:
        ConfigError: an unknown name, or a cell that no grid can have.
    """

    paradigm: str
    """How the encoder learned; also `pixels`, and `adversarial` for the source of the robust set."""
    features: str
    """What the encoder was trained on; also `untrained`, and `none` for raw pixels."""
    probe_features: str
    """What the classifier was fitted to."""
    readout: str = ""
    """Empty: the usual one of such an encoder."""
    timestep: int | None = None
    """Of a diffusion encoder, where it is not the configured one."""
    protocol: str = Protocol.NATURAL
    """Where attacks start."""
    attack: str = Attack.NONE
    norm: str = NONE
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        if not self.readout:
            object.__setattr__(self, "readout", self.usual_readout)
        self._check_names()
        for reason in self._impossible():
            raise ConfigError(f"no grid has {self}: {reason}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the measurement that a row of results.json, or any other mapping with its fields, is of."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    @property
    def matched(self) -> bool:
        """Whether encoder and classifier saw the same set."""
        return self.features == self.probe_features

    @property
    def usual_readout(self) -> Readout:
        """How classes are read out where nothing else is said: a supervised model's by its own head."""
        own = self.matched and self.paradigm in (Paradigm.SUPERVISED, ADVERSARIAL)
        return Readout.OWN_HEAD if own else Readout.LINEAR_PROBE

    @property
    def threat(self) -> Threat:
        """What it is attacked with."""
        return Threat(self.attack, self.norm, self.epsilon)

    @property
    def clean(self) -> Self:
        """The accuracy of the same classifier on the same images without an attack."""
        return self.under(*CLEAN)

    def under(self, attack: str, norm: str, epsilon: float) -> Self:
        """Return the accuracy of the same classifier under an attack."""
        return replace(self, attack=attack, norm=norm, epsilon=epsilon)

    def __str__(self) -> str:
        """Return it in words, such as `masked on robust under pgd L2 0.5`; what is usual is left out."""
        own = "" if self.features == NONE else f" on {self.features}"
        at = "" if self.timestep is None else f" at timestep {self.timestep}"
        probe = "" if self.matched else f" with a probe on {self.probe_features}"
        read = "" if self.readout == self.usual_readout else f" read by {self.readout}"
        under = "" if self.attack == Attack.NONE else f" under {self.attack} {self.norm} {self.epsilon:.3g}"
        start = "" if self.protocol == Protocol.NATURAL else f" ({self.protocol})"
        return f"{self.paradigm}{own}{at}{probe}{read}{under}{start}"

    def _check_names(self) -> None:
        for name, known in _KNOWN.items():
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"{name} {value!r} is unknown; expected one of: {', '.join(known)}")

    def _impossible(self) -> Iterator[str]:
        """Yield why no grid has such a cell."""
        if (self.paradigm == Control.PIXELS) != (self.features == NONE):
            yield f"raw pixels, and nothing else, have features {NONE!r}"
        if self.paradigm == ADVERSARIAL and (self.features, self.readout) != (Features.NATURAL, Readout.OWN_HEAD):
            yield "the adversarial source is trained on natural and read by its own head"
        if self.readout == Readout.OWN_HEAD and self.usual_readout != Readout.OWN_HEAD:
            yield "only a supervised model, on the set that it was trained on, has an own head"
        if self.timestep is not None and self.paradigm != Paradigm.DIFFUSION:
            yield "only a diffusion encoder has timesteps"
        if self.features in CONSTRUCTED and self.paradigm != Paradigm.SUPERVISED:
            yield f"only supervised encoders are trained on {self.features}"
        clean = self.attack == Attack.NONE
        if clean != (self.norm == NONE) or self.epsilon < 0 or (clean and self.epsilon):
            yield "an attack has a norm and an epsilon of 0 or more, and a clean accuracy neither"


_KNOWN: Mapping[str, Sequence[str]] = {
    "paradigm": (*Paradigm, *Control, ADVERSARIAL),
    "features": (*Features, UNTRAINED, NONE),
    "probe_features": tuple(Features),
    "readout": tuple(Readout),
    "protocol": tuple(Protocol),
    "attack": tuple(Attack),
    "norm": (*Norm, NONE),
}


def matched(paradigm: str, features: str, **others: Any) -> Measurement:
    """Return the measurement of a cell whose encoder and classifier saw the same set.

    Args:
        others: further fields of the measurement.
    """
    return Measurement(paradigm=paradigm, features=features, probe_features=features, **others)


def probed(paradigm: str, features: str, probe_features: str) -> Measurement:
    """Return the clean accuracy of an encoder under a linear probe, of a supervised one too."""
    return Measurement(
        paradigm=paradigm, features=features, probe_features=probe_features, readout=Readout.LINEAR_PROBE
    )
