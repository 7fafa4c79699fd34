"""Does the encoder, or the label that the probe sees, lose the accuracy? An answer in words from the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realfeatures.reporting.statistics import Interval
from realfeatures.reporting.tables import MINUS, Accuracy, Lookup
from realfeatures.vocabulary import Features

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a mix of encoder and probe says for one crafted set."""

    features: str
    summary: str
    """One sentence over all paradigms."""
    sentences: tuple[str, ...]
    """One sentence for each paradigm."""


def answers(rows: Sequence[Row], config: Mapping[str, Any]) -> list[Answer]:
    """Return an answer for each crafted set of the experiment, as far as its mixed cells were measured."""
    lookup = Lookup(rows)
    crafted = [features for features in config["features"] if features != Features.NATURAL]
    return [_answer(lookup, features, config["paradigms"]) for features in crafted]


def _answer(lookup: Lookup, features: str, paradigms: Sequence[str]) -> Answer:
    blamed: dict[str, list[str]] = {}
    sentences = []
    for paradigm in paradigms:
        encoder = lookup.loss(paradigm, features, Features.NATURAL)
        probe = lookup.loss(paradigm, Features.NATURAL, features)
        if encoder is None or probe is None:
            sentences.append(f"{paradigm}: its mixed cells were not measured")
            continue
        culprit = _culprit(encoder.interval, probe.interval)
        blamed.setdefault(culprit, []).append(paradigm)
        sentences.append(
            f"{paradigm}: an encoder on {features} loses {_points(encoder)}, a probe on {features} loses"
            f" {_points(probe)}: {_VERDICTS[culprit]}"
        )
    return Answer(features, _summary(features, blamed), tuple(sentences))


def verdict_of(encoder: Interval, probe: Interval) -> str:
    """Return which of two losses of accuracy is to blame, in words; losses are differences, as fractions."""
    return _VERDICTS[_culprit(encoder, probe)]


_VERDICTS = {
    "probe": "the labels lose it",
    "encoder": "the encoder loses it",
    "both": "both lose it, and cannot be told apart",
    "neither": "neither loses what could be told from zero",
    "open": "the two cannot be told apart",
}

_SUMMARIES = {
    "probe": "the labels that the probe is fitted to lose the accuracy, more than the encoder does, in",
    "encoder": "the encoder loses it, more than the labels that the probe is fitted to, in",
    "both": "both lose it, and cannot be told apart, in",
    "neither": "nothing is lost that could be told from zero in",
    "open": "the two losses cannot be told apart in",
}


def _culprit(encoder: Interval, probe: Interval) -> str:
    """Return what loses more: the one whose interval lies wholly above zero and above the other's."""
    if probe.low > max(0.0, encoder.high):
        return "probe"
    if encoder.low > max(0.0, probe.high):
        return "encoder"
    if encoder.low > 0 and probe.low > 0:
        return "both"
    return "neither" if encoder.low <= 0 and probe.low <= 0 else "open"


def _summary(features: str, blamed: Mapping[str, Sequence[str]]) -> str:
    parts = [f"{text} {_list(blamed[name])}" for name, text in _SUMMARIES.items() if name in blamed]
    return f"With {features}: {'; '.join(parts)}." if parts else f"With {features}: not measured."


def _points(loss: Accuracy) -> str:
    low, high = 100 * loss.interval.low, 100 * loss.interval.high
    return f"{100 * loss.interval.value:.1f} points [{low:.1f}, {high:.1f}]".replace("-", MINUS)


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
