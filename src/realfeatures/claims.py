"""The paper's claims as data: which measurements each compares and which rule decides, fixed before any run.

C1 to C4 follow the abstract of arXiv 2310.18936, C5 to C7 its later sections. The verdicts are drawn
from the rows of results.json by reporting/verdicts.py; nothing here is fitted to numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from realfeatures.errors import ConfigError
from realfeatures.vocabulary import Control, Features, Paradigm

FAR_ABOVE_CHANCE = 0.20
"""chosen: 20 points, more than test sets of some hundred images or other seeds move an accuracy."""

POOR = 0.50
"""chosen: "poor usefulness" keeps less than half of what natural images give above chance."""

KEPT = 0.75
"""chosen: "good transferability" keeps more than three quarters of it; standard training on D_R keeps 87 % on
CIFAR-10 (MadryLab/constructed-datasets: 84 of 95 %)."""

LARGELY = 0.50
"""chosen: "largely non-robust" loses more than half of the clean accuracy."""

WIDELY = 0.10
"""Too few seeds to show how much seeds differ decide only where their interval lies this far beyond the threshold,
over the root of their number; chosen: twice the standard deviation between seeds of training on non-robust features
(prototype: 2 to 5 points)."""

ADVERSARIAL = "adversarial"
"""The adversarially trained source of robust features: compared with no paradigm, and C4's positive control."""

SELF_SUPERVISED = (Paradigm.CONTRASTIVE, Paradigm.MASKED, Paradigm.DIFFUSION)


def _check_name(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"a claim names {kind} {name!r}; expected one of: {', '.join(known)}")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _points(fraction: float) -> str:
    return f"{100 * fraction:.0f} points"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measurement of the grid by name; attack `none` is clean accuracy.

    Raises:
        ConfigError: a paradigm or a feature set that no grid can have.
    """

    paradigm: str
    features: str
    probe_features: str
    attack: str = "none"
    norm: str = "none"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        _check_name("paradigm", self.paradigm, [*Paradigm, *Control, ADVERSARIAL])
        for name in (self.features, self.probe_features):
            _check_name("features", name, [*Features, "none"])

    def __str__(self) -> str:
        own = "" if self.features == "none" else f" on {self.features}"
        probe = "" if self.features == self.probe_features else f" with a probe on {self.probe_features}"
        attack = f" under {self.attack} {self.norm} {self.epsilon:.3g}" if self.attack != "none" else ""
        return f"{self.paradigm}{own}{probe}{attack}"


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

    measure: Measure
    reference: Measure | None = None
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
    def measures(self) -> tuple[Measure, ...]:
        """All that its quantity is computed from."""
        reference = () if self.reference is None else (self.reference,)
        return (self.measure, *reference, *(self.like or ()))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, the rule in words, and what decides it: every comparison must hold."""

    id: str
    text: str
    source: str
    rule: str
    comparisons: tuple[Comparison, ...] = ()
    needs: tuple[str, ...] = ()
    """Cells that no grid has yet; with any, the claim is not tested."""


def claims_for(rows: Iterable[Mapping[str, Any]]) -> tuple[Claim, ...]:
    """Return the seven claims; C4 asks at the largest epsilon that AutoAttack measured in each norm.

    Args:
        rows: those of results.json.
    """
    return (
        _useful_under_supervision(),
        _poor_elsewhere(),
        _kept_across_paradigms(),
        _non_robust(_largest_threats(rows)),
        *_NOT_YET,
    )


def matched(paradigm: str, features: str, *, attack: str = "none", norm: str = "none", epsilon: float = 0.0) -> Measure:
    """Return the measurement of a cell whose encoder and probe saw the same set."""
    return Measure(
        paradigm=paradigm,
        features=features,
        probe_features=features,
        attack=attack,
        norm=norm,
        epsilon=epsilon,
    )


UNLEARNED = tuple(
    Measure(paradigm=control, features="none", probe_features=Features.NATURAL)
    for control in (Control.PIXELS, Control.UNTRAINED)
)
"""What a linear classifier reaches on raw natural pixels, and on an encoder without pretraining."""

_NOT_JUDGED = (
    " A paradigm whose natural accuracy is not above that of raw pixels and of an untrained encoder is not judged."
)


def _learned(paradigm: Paradigm) -> Gate:
    return Gate(measure=matched(paradigm, Features.NATURAL), baselines=UNLEARNED)


def _useful(paradigm: Paradigm, features: Features) -> Comparison:
    return Comparison(measure=matched(paradigm, features), margin=FAR_ABOVE_CHANCE, gates=(_learned(paradigm),))


def _keeps(paradigm: Paradigm, features: Features, *, share: float, side: Literal["above", "below"]) -> Comparison:
    return Comparison(
        measure=matched(paradigm, features),
        reference=matched(paradigm, Features.NATURAL),
        share=share,
        side=side,
        gates=(_learned(paradigm),),
    )


def _keeps_less_than_supervised(paradigm: Paradigm, features: Features) -> Comparison:
    return Comparison(
        measure=matched(paradigm, features),
        reference=matched(paradigm, Features.NATURAL),
        like=(matched(Paradigm.SUPERVISED, features), matched(Paradigm.SUPERVISED, Features.NATURAL)),
        side="below",
        gates=(_learned(paradigm), _learned(Paradigm.SUPERVISED)),
    )


def _useful_under_supervision() -> Claim:
    return Claim(
        id="C1",
        text="Non-robust features are useful under supervised learning.",
        source="abstract: “good usefulness under supervised learning”",
        rule=f"Supervised training on non_robust is more than {_points(FAR_ABOVE_CHANCE)} above chance.{_NOT_JUDGED}",
        comparisons=(_useful(Paradigm.SUPERVISED, Features.NON_ROBUST),),
    )


def _poor_elsewhere() -> Claim:
    return Claim(
        id="C2",
        text="The same non-robust features are poor under contrastive, masked and diffusion learning.",
        source="abstract: “poor usefulness when transferred to other self-supervised learning paradigms”",
        rule=f"In each of the three, non_robust keeps less than {_percent(POOR)} of natural's accuracy above"
        f" chance, and a smaller share of it than under supervised learning.{_NOT_JUDGED}",
        comparisons=(
            *(_keeps(paradigm, Features.NON_ROBUST, share=POOR, side="below") for paradigm in SELF_SUPERVISED),
            *(_keeps_less_than_supervised(paradigm, Features.NON_ROBUST) for paradigm in SELF_SUPERVISED),
        ),
    )


def _kept_across_paradigms() -> Claim:
    return Claim(
        id="C3",
        text="Natural and robust features keep their usefulness across the paradigms.",
        source="abstract: “robust or natural features that enjoy good transferability between these paradigms”",
        rule=f"In each paradigm, natural is more than {_points(FAR_ABOVE_CHANCE)} above chance and robust"
        f" keeps more than {_percent(KEPT)} of natural's accuracy above chance.{_NOT_JUDGED}",
        comparisons=(
            *(_useful(paradigm, Features.NATURAL) for paradigm in Paradigm),
            *(_keeps(paradigm, Features.ROBUST, share=KEPT, side="above") for paradigm in Paradigm),
        ),
    )


def _non_robust(threats: Mapping[str, float]) -> Claim:
    return Claim(
        id="C4",
        text="Encoders trained naturally on robust features are largely non-robust under AutoAttack.",
        source="abstract: “naturally trained encoders from robust features are largely non-robust under AutoAttack”",
        rule=f"In each paradigm, AutoAttack leaves less than {_percent(LARGELY)} of the clean accuracy, at the"
        " largest epsilon that it measured in each norm. A paradigm whose clean accuracy on robust is not more than"
        f" {_points(FAR_ABOVE_CHANCE)} above chance is not judged. An epsilon supports the claim only where the"
        f" adversarial source, a robust model, keeps more than {_percent(LARGELY)} under it.",
        comparisons=tuple(
            _falls(paradigm, norm=norm, epsilon=epsilon) for norm, epsilon in threats.items() for paradigm in Paradigm
        ),
        needs=() if threats else ("AutoAttack on each paradigm's encoder trained on robust",),
    )


def _falls(paradigm: Paradigm, *, norm: str, epsilon: float) -> Comparison:
    clean = matched(paradigm, Features.ROBUST)
    # A small robust accuracy tells a weak encoder from a strong attack only beside a model that withstands it: without
    # that control the claim is at most inconclusive. An encoder that survives needs none: it contradicts by itself.
    control = matched(ADVERSARIAL, Features.NATURAL, attack="autoattack", norm=norm, epsilon=epsilon)
    return Comparison(
        measure=matched(paradigm, Features.ROBUST, attack="autoattack", norm=norm, epsilon=epsilon),
        reference=clean,
        share=LARGELY,
        floor="zero",
        side="below",
        gates=(Gate(measure=clean, margin=FAR_ABOVE_CHANCE),),
        control=(control, matched(ADVERSARIAL, Features.NATURAL)),
    )


def _largest_threats(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    threats: dict[str, float] = {}
    for row in rows:
        if row["attack"] == "autoattack" and row["paradigm"] != ADVERSARIAL:
            threats[row["norm"]] = max(row["epsilon"], threats.get(row["norm"], 0.0))
    return threats


_NOT_YET: Sequence[Claim] = (
    Claim(
        id="C5",
        text="Non-robust features made from a contrastive encoder transfer better than those from a supervised one.",
        source="the cross-paradigm transfer matrix",
        rule="The mean accuracy over the paradigms other than the source is higher for the contrastive source.",
        needs=("non-robust images made from the contrastive encoder, and each paradigm trained on them",),
    ),
    Claim(
        id="C6",
        text="Non-robust features made from self-supervised encoders still do not transfer across paradigms.",
        source="the cross-paradigm transfer matrix",
        rule=f"In every other paradigm, each source's images keep less than {_percent(POOR)} of natural's accuracy"
        " above chance.",
        needs=(
            "non-robust images made from the contrastive, masked and diffusion encoders, and each paradigm"
            " trained on them",
        ),
    ),
    Claim(
        id="C7",
        text="Augmentation in the linear probe helps robustness and does not remove the non-robustness.",
        source="the augmented linear probe",
        rule=f"Robust accuracy rises with augmentation and stays below {_percent(LARGELY)} of the clean accuracy.",
        needs=("linear probes trained with crop and flip, with SimCLR's augmentation and with Gaussian noise",),
    ),
)
