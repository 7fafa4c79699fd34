"""The numbers that decided a claim, in words."""

from collections.abc import Iterable, Sequence

from realfeatures.experiment.experiments import standard_readout
from realfeatures.experiment.measures import (
    Mean,
    Measure,
    Term,
    measures_of,
)
from realfeatures.experiment.vocabulary import UNTRAINED
from realfeatures.report.tables import MINUS, control_name, threat_name
from realfeatures.results.judging import (
    Controlled,
    Gated,
    Judged,
    Outcome,
)
from realfeatures.results.statistics.intervals import Interval


def describe(judged: Judged, *, classes: int) -> str:
    """Return a comparison's numbers in words, as percent and points with one decimal."""
    comparison = judged.comparison
    if comparison.like:
        return _describe_contrast(judged, classes)
    text = f"{_subject(comparison.measure)} {percent(judged.values[0])}{_condition(comparison.measure)}"
    if comparison.reference is None:
        return f"{text}, chance {_share(1 / classes, decimals=1)}"
    if comparison.share == 1:
        return f"{text}, {_other(judged)}: {points(judged.quantity)} between them" if judged.quantity else text
    above = comparison.floor == "chance"
    kept = _kept(judged.values[0], judged.values[1], floor=1 / classes if above else 0.0)
    text += f", {percent(judged.values[1])} {'on natural' if above else 'clean'}"
    if judged.images and not above:
        text += " on the same images"
    return text if kept is None else f"{text}, {_share(kept)} of it kept{' above chance' if above else ''}"


def _subject(term: Term) -> str:
    """Return the paradigm, or what a mean is taken of, with a readout that is not the usual one."""
    if isinstance(term, Mean):
        return f"mean of {', '.join(dict.fromkeys(map(_reader, term.measures)))}:"
    return f"{_reader(term)}:"


def _reader(measure: Measure) -> str:
    usual = measure.readout == standard_readout(measure.paradigm, measure.features, measure.probe_features)
    return measure.paradigm if usual else f"{measure.paradigm} with {control_name(measure.readout)}"


def _condition(term: Term) -> str:
    """Return the attack, or else the set, that all of a term's measurements share."""
    first = measures_of(term)[0]
    return f" under {_threat(first)}" if first.attack != "none" else f" on {first.features}"


def _other(judged: Judged) -> str:
    reference = judged.comparison.reference
    if reference is None:
        return ""
    return f"{_subject(reference)} {percent(judged.values[1])}{_condition(reference)}"


def percent(interval: Interval) -> str:
    """Return an accuracy as percent with its bounds, such as `68.6 % [60.1, 75.3]`."""
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]".replace("-", MINUS)


def points(interval: Interval) -> str:
    """Return a difference of accuracies, such as `5.4 points [2.1, 8.8]`."""
    return percent(interval).replace(" %", " points", 1)


def _describe_contrast(judged: Judged, classes: int) -> str:
    measure, like = measures_of(judged.comparison.measure)[0], judged.comparison.like
    if like is None or judged.quantity is None:
        return f"{measure.paradigm}: natural is not above chance in every seed, so that no share of it can be kept"
    kept = [_kept(part, whole, floor=1 / classes) for part, whole in (judged.values[:2], judged.values[2:])]
    shares = [_share(one) if one is not None else "none" for one in kept]
    return (
        f"{measure.paradigm} keeps {shares[0]} of natural's accuracy above chance on {measure.features},"
        f" {like[0].paradigm} {shares[1]}: {points(judged.quantity)} against that share"
    )


def reasons(judged: Sequence[Judged], outcomes: Iterable[Outcome], classes: int) -> tuple[str, ...]:
    """Return what the comparisons of some outcomes say, the gates that let them be judged, and their controls."""
    deciding = [one for one in judged if one.outcome in set(outcomes)]
    # A comparison whose measure another shows as its reference adds nothing.
    shown = {one.comparison.reference for one in deciding if not one.closed}
    described = [
        describe(one, classes=classes)
        for one in deciding
        if not one.closed and (one.comparison.reference is not None or one.comparison.measure not in shown)
    ]
    closed = [_closed_gate(gate) for one in deciding for gate in one.closed]
    learned = [_open_gate(gate) for one in deciding for gate in one.gates if gate.is_open and gate.baseline]
    controls = [_control(one) for one in deciding if one.comparison.control and one.outcome != "contradicts"]
    summary = [f"above the better control on natural: {', '.join(dict.fromkeys(learned))}"] if learned else []
    return tuple(dict.fromkeys([*closed, *described, *summary, *controls]))


def _closed_gate(gated: Gated) -> str:
    measure, margin = gated.gate.measure, gated.gate.margin
    against = f"{_baseline(gated.baseline)} {percent(gated.against)}"
    if gated.baseline is None:
        against = f"chance {_share(gated.against.value, decimals=1)}"
    needed = f"{100 * margin:.0f} points" if margin else "zero"
    return (
        f"{measure.paradigm} cannot be judged: {percent(gated.measured)} on {measure.features}, {against}:"
        f" the difference, {points(gated.quantity)}, is not wholly above {needed}"
    )


def _open_gate(gated: Gated) -> str:
    return f"{gated.gate.measure.paradigm} by {points(gated.quantity)} ({_baseline(gated.baseline)})"


def _control(judged: Judged) -> str:
    """Return what the control says of the comparison's attack."""
    control, comparison = judged.control, judged.comparison
    if comparison.control is None:
        return ""
    attacked = comparison.control[0]
    name, under = f"control, the {attacked.paradigm} source", _threat(attacked)
    unsure = "it may break robust models too, and supports nothing"
    if control is None:
        return f"{name}: not measured under {under}: {unsure}"
    text = f"{name}: {_control_numbers(control)} under {under}"
    return text if control.withstands else f"{text}, not surely more than {_share(comparison.share)}: {unsure}"


def _control_numbers(control: Controlled) -> str:
    kept = _kept(control.under_attack, control.clean, floor=0.0)
    share = "" if kept is None else f", {_share(kept)} of it kept"
    return f"{percent(control.under_attack)} of {percent(control.clean)} clean{share}"


def _kept(part: Interval, whole: Interval, *, floor: float) -> float | None:
    """Return (part - floor) / (whole - floor), or None where the whole is not above the floor."""
    above = whole.value - floor
    return (part.value - floor) / above if above > 0 else None


def _share(fraction: float, *, decimals: int = 0) -> str:
    return f"{100 * fraction:.{decimals}f} %".replace("-", MINUS)


def _threat(measure: Measure) -> str:
    return threat_name((measure.attack, measure.norm, measure.epsilon))


def _baseline(measure: Measure | None) -> str:
    if measure is None:
        return "chance"
    if measure.features == UNTRAINED:
        return f"untrained {measure.paradigm} encoder"
    return control_name(measure.paradigm)
