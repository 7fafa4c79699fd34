"""Does the encoder, or the label that the probe sees, lose the accuracy? Tables, and an answer in words from them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from realfeatures.experiment.measurement import probed
from realfeatures.experiment.vocabulary import NONE, UNTRAINED, Control, Experiment, Features
from realfeatures.experiment.wording import control_name, interval_text
from realfeatures.report.section import Part, Section
from realfeatures.report.tables import Entry, Table
from realfeatures.results.contrasts import BOTH, DIFFERENCE, ENCODER, PROBE, crafted_sets
from realfeatures.results.rows import (
    FEATURES_ORDER,
    Accuracy,
    Content,
    Rows,
    chosen,
    in_order,
    paradigms_of,
    probe_sets,
)
from realfeatures.results.statistics.intervals import Interval

Contrast = Mapping[str, Any]


class Answer(NamedTuple):
    """What a mix of encoder and probe says for one crafted set."""

    summary: str
    """One sentence over all paradigms."""
    sentences: tuple[str, ...]
    """One sentence for each paradigm."""


_ENCODERS = (*FEATURES_ORDER, UNTRAINED)

_MIXED = {ENCODER: ((1, 0),), PROBE: ((0, 1),), BOTH: ((1, 1),), DIFFERENCE: ((1, 0), (0, 1))}
"""What is changed -> for each cell that is compared with the whole, whether its encoder and its probe are."""

_METHODS = {"paired_bootstrap": "paired bootstrap", "mover": "MOVER, unpaired"}

_VERDICTS = {
    "probe": "the labels lose more",
    "encoder": "the encoder loses more",
    "both": "both lose, and cannot be told apart",
    "neither": "neither loses what could be told from zero",
    "open": "the two cannot be told apart",
}

_SUMMARIES = {
    "probe": "the labels that the probe is fitted to lose more accuracy than the encoder does, in",
    "encoder": "the encoder loses more than the labels that the probe is fitted to, in",
    "both": "both lose, and cannot be told apart, in",
    "neither": "nothing is lost that could be told from zero in",
    "open": "the two losses cannot be told apart in",
}

_WORDS = (
    "A matched cell changes two things at once: the images that the encoder was pretrained on, and the images and"
    " labels that the probe was fitted to. The mixed cells change one at a time. Clean accuracy on natural test images,"
    " in percent; every encoder is read by a linear probe, supervised ones too."
)
_NOTE = (
    "Points of accuracy against encoder and probe on natural images, on the same test images. The supervised natural"
    " encoder is the very one that non_robust and d_rand were made with, unless the preset names another source."
)


def section(results: Content) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.DECOMPOSITION):
        return None
    parts = (
        Part(words=(_WORDS,), findings=tuple(answers(results)), table=table(results)),
        Part(title="What is lost", table=losses(results), note=_NOTE),
    )
    return Section("decomposition", "Encoder or labels?", "Encoder or labels: what loses the accuracy?", parts)


def table(results: Content) -> Table:
    """Clean accuracy of a linear probe by what the encoder was trained on and what the probe was fitted to."""
    rows = Rows.of(results)
    planned = rows.planned(Experiment.DECOMPOSITION)
    probes = probe_sets(planned)
    body: list[tuple[Entry, ...]] = []
    for paradigm in paradigms_of(planned):
        encoders = in_order((one.features for one in planned if one.paradigm == paradigm), _ENCODERS)
        body += [
            (paradigm, _encoder_name(encoder), *(rows.entry(probed(paradigm, encoder, probe)) for probe in probes))
            for encoder in encoders
        ]
    pixels = [rows.entry(probed(Control.PIXELS, NONE, probe)) for probe in probes]
    if any(one.paradigm == Control.PIXELS for one in planned):
        body.append((control_name(Control.PIXELS), "", *pixels))
    return Table(("paradigm", "encoder on", *(f"probe on {probe}" for probe in probes)), tuple(body), stubs=2)


def losses(results: Content) -> Table:
    """What a paradigm loses against natural images with encoder, probe or both on a crafted set; which loses more."""
    rows, found = Rows.of(results), _contrasts(results)
    planned = rows.planned(Experiment.DECOMPOSITION)
    body: list[tuple[Entry, ...]] = []
    for paradigm in paradigms_of(planned):
        for features in crafted_sets(planned):
            ones = [found.get((paradigm, features, changed)) for changed in _MIXED]
            lost = [None if one is None else _accuracy(rows, one) for one in ones]
            methods = dict.fromkeys(_METHODS[one["interval"]] for one in ones if one)
            body.append((paradigm, features, *lost, " and ".join(methods)))
    lost_with = (f"lost with {changed} on X" for changed in (ENCODER, PROBE, BOTH))
    columns = ("paradigm", "crafted set X", *lost_with, "the first less the second", "intervals")
    return Table(columns, tuple(body), stubs=2, words=1)


def answers(results: Content) -> list[Answer]:
    """Return an answer for each crafted set of the experiment, as far as its mixed cells were measured."""
    planned = Rows.of(results).planned(Experiment.DECOMPOSITION)
    found = _contrasts(results)
    return [_answer(found, features, paradigms_of(planned)) for features in crafted_sets(planned)]


def _answer(found: Mapping[tuple[str, str, str], Contrast], features: str, paradigms: Sequence[str]) -> Answer:
    blamed: dict[str, list[str]] = {}
    sentences = []
    for paradigm in paradigms:
        ones = [found.get((paradigm, features, changed)) for changed in (ENCODER, PROBE, DIFFERENCE)]
        measured = [_interval(one) for one in ones if one]
        if len(measured) < len(ones):
            sentences.append(f"{paradigm}: not all of its cells were measured")
            continue
        culprit = culprit_of(*measured)
        blamed.setdefault(culprit, []).append(paradigm)
        lost = [interval_text(one, unit=" points") for one in measured]
        sentences.append(
            f"{paradigm}: an encoder on {features} loses {lost[0]}, a probe on {features} loses {lost[1]};"
            f" the first less the second is {lost[2]}: {_VERDICTS[culprit]}"
        )
    return Answer(_summary(features, blamed), tuple(sentences))


def culprit_of(encoder: Interval, probe: Interval, difference: Interval) -> str:
    """Return what loses more, as their difference says, if its own loss is above zero: a gain blames nobody."""
    if difference.low > 0 and encoder.low > 0:
        return "encoder"
    if difference.high < 0 and probe.low > 0:
        return "probe"
    if encoder.low > 0 and probe.low > 0:
        return "both"
    return "neither" if encoder.low <= 0 and probe.low <= 0 else "open"


def _summary(features: str, blamed: Mapping[str, Sequence[str]]) -> str:
    parts = [f"{text} {_list(blamed[name])}" for name, text in _SUMMARIES.items() if name in blamed]
    return f"With {features}: {'; '.join(parts)}." if parts else f"With {features}: not measured."


def _encoder_name(features: str) -> str:
    return "nothing (untrained)" if features == UNTRAINED else features


def _contrasts(results: Content) -> dict[tuple[str, str, str], Contrast]:
    return {(one["paradigm"], one["features"], one["changed"]): one for one in results["decomposition"]}


def _accuracy(rows: Rows, one: Contrast) -> Accuracy:
    """Return a contrast for a table, with the cells of what was changed."""
    sets = Features.NATURAL, one["features"]
    changed = [probed(one["paradigm"], sets[encoder], sets[probe]) for encoder, probe in _MIXED[one["changed"]]]
    measured = filter(None, map(rows.accuracy, changed))
    cells = tuple(cell for accuracy in measured for cell in accuracy.cells)
    return Accuracy(_interval(one), one["n"], len(one["seeds"]), cells)


def _interval(one: Contrast) -> Interval:
    return Interval(one["value"], one["low"], one["high"])


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
