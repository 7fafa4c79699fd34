"""Does the encoder, or the label that the probe sees, lose the accuracy? A table, and an answer in words from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from realfeatures.reporting.experiment_tables import (
    FEATURES_ORDER,
    NATURAL,
    paradigms_of,
)
from realfeatures.reporting.lookup import Lookup, Results, Subject, in_order, subject
from realfeatures.reporting.results import NO_FEATURES
from realfeatures.reporting.statistics import Interval
from realfeatures.reporting.tables import Accuracy, Entry, Table, control_name, points
from realfeatures.vocabulary import UNTRAINED, Control, Experiment, Readout


@dataclass(frozen=True)
class Answer:
    """What a mix of encoder and probe says for one crafted set."""

    features: str
    summary: str
    """One sentence over all paradigms."""
    sentences: tuple[str, ...]
    """One sentence for each paradigm."""


def probed(paradigm: str, features: str, probe_features: str) -> Subject:
    """Return an encoder under a linear probe, supervised ones too: own heads would differ in more than the set."""
    return subject(paradigm, features, probe_features, readout=Readout.LINEAR_PROBE)


def decomposition(results: Results) -> Table:
    """Clean accuracy of a linear probe by what the encoder was trained on and what the probe was fitted to."""
    lookup = Lookup(results)
    planned = lookup.planned(Experiment.DECOMPOSITION)
    probes = _probe_sets(planned)
    body: list[tuple[Entry, ...]] = []
    for paradigm in paradigms_of(planned):
        encoders = in_order((one.features for one in planned if one.paradigm == paradigm), _ENCODERS)
        body += [
            (paradigm, _encoder_name(encoder), *(lookup.entry(probed(paradigm, encoder, probe)) for probe in probes))
            for encoder in encoders
        ]
    pixels = [lookup.entry(probed(Control.PIXELS, NO_FEATURES, probe)) for probe in probes]
    if any(one.paradigm == Control.PIXELS for one in planned):
        body.append((control_name(Control.PIXELS), "", *pixels))
    return Table(("paradigm", "encoder on", *(f"probe on {probe}" for probe in probes)), tuple(body), stubs=2)


def losses(results: Results) -> Table:
    """What a paradigm loses against natural images when one of encoder and probe sees a crafted set, or both."""
    lookup = Lookup(results)
    planned = lookup.planned(Experiment.DECOMPOSITION)
    body = []
    for paradigm in paradigms_of(planned):
        whole = probed(paradigm, NATURAL, NATURAL)
        for features in _crafted(planned):
            mixes = ((features, NATURAL), (NATURAL, features), (features, features))
            lost = (lookup.loss(whole, probed(paradigm, encoder, probe)) for encoder, probe in mixes)
            body.append((paradigm, features, *lost))
    columns = ("paradigm", "crafted set X", "lost with encoder on X", "lost with probe on X", "lost with both on X")
    return Table(columns, tuple(body), stubs=2)


def answers(results: Results) -> list[Answer]:
    """Return an answer for each crafted set of the experiment, as far as its mixed cells were measured."""
    lookup = Lookup(results)
    planned = lookup.planned(Experiment.DECOMPOSITION)
    return [_answer(lookup, features, paradigms_of(planned)) for features in _crafted(planned)]


def verdict_of(encoder: Interval, probe: Interval) -> str:
    """Return which of two losses of accuracy is to blame, in words; losses are differences, as fractions."""
    return _VERDICTS[_culprit(encoder, probe)]


_ENCODERS = (*FEATURES_ORDER, UNTRAINED)

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


def _answer(lookup: Lookup, features: str, paradigms: Sequence[str]) -> Answer:
    blamed: dict[str, list[str]] = {}
    sentences = []
    for paradigm in paradigms:
        whole = probed(paradigm, NATURAL, NATURAL)
        encoder = lookup.loss(whole, probed(paradigm, features, NATURAL))
        probe = lookup.loss(whole, probed(paradigm, NATURAL, features))
        if encoder is None or probe is None:
            sentences.append(f"{paradigm}: not all of its cells were measured")
            continue
        culprit = _culprit(encoder.interval, probe.interval)
        blamed.setdefault(culprit, []).append(paradigm)
        sentences.append(
            f"{paradigm}: an encoder on {features} loses {_lost(encoder)}, a probe on {features} loses"
            f" {_lost(probe)}: {_VERDICTS[culprit]}"
        )
    return Answer(features, _summary(features, blamed), tuple(sentences))


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


def _crafted(planned: Sequence[Subject]) -> list[str]:
    return [features for features in _probe_sets(planned) if features != NATURAL]


def _probe_sets(planned: Sequence[Subject]) -> list[str]:
    return in_order((one.probe_features for one in planned), FEATURES_ORDER)


def _encoder_name(features: str) -> str:
    return "nothing (untrained)" if features == UNTRAINED else features


def _lost(loss: Accuracy) -> str:
    value, low, high = (points(part) for part in (loss.interval.value, loss.interval.low, loss.interval.high))
    return f"{value} points [{low}, {high}]"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
