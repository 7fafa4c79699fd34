"""Verdicts on the claims from the rows of results.json, with the numbers that decided."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from realfeatures.claims import Claim, Measure, claims_for
from realfeatures.reporting.judging import Controlled, Gated, Judged, Measurements, Outcome, judge_comparison
from realfeatures.reporting.statistics import Interval
from realfeatures.reporting.tables import MINUS, control_name, threat_name


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict and what decided it, in words."""

    claim: Claim
    verdict: str
    reasons: tuple[str, ...]
    judged: tuple[Judged, ...] = ()
    missing: tuple[str, ...] = ()


def judge_all(rows: Sequence[Mapping[str, Any]], *, classes: int) -> list[Verdict]:
    """Return the verdict on every claim.

    Args:
        rows: those of results.json.
        classes: the number of classes, whose inverse is chance; 0 where the data set is unknown.
    """
    return [judge(claim, rows, classes=classes) for claim in claims_for(rows)]


def judge(claim: Claim, rows: Iterable[Mapping[str, Any]], *, classes: int) -> Verdict:
    """Return the verdict on one claim: all its comparisons must hold, and one that fails contradicts it.

    An attack that its control does not withstand supports nothing; other attacks may still decide.
    """
    measurements = Measurements(rows)
    judged = tuple(judge_comparison(comparison, measurements, classes=classes) for comparison in claim.comparisons)
    missing = (*claim.needs, *dict.fromkeys(name for one in judged for name in one.missing))
    if missing:
        return Verdict(claim, "not tested", (f"not measured: {'; '.join(missing)}",), judged, missing)
    outcomes = {one.outcome for one in judged}
    if "contradicts" in outcomes:
        return Verdict(claim, "contradicted", _reasons(judged, {"contradicts"}, classes), judged)
    if outcomes <= {"supports", "uncontrolled"} and "supports" in outcomes:
        return Verdict(claim, "supported", _reasons(judged, outcomes, classes), judged)
    single = any(len(one.seeds) == 1 for one in judged)
    verdict = "inconclusive (one seed)" if single else "inconclusive"
    return Verdict(claim, verdict, _reasons(judged, {"undecided", "uncontrolled"}, classes), judged)


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as it stands in results.json."""
    claim = verdict.claim
    return {
        "id": claim.id,
        "text": claim.text,
        "source": claim.source,
        "rule": claim.rule,
        "verdict": verdict.verdict,
        "decided": "; ".join(verdict.reasons) + ".",
        "missing": list(verdict.missing),
        "comparisons": [_comparison_as_json(one) for one in verdict.judged],
    }


def describe(judged: Judged, *, classes: int) -> str:
    """Return a comparison's numbers in words, as percent and points with one decimal."""
    comparison = judged.comparison
    measure, measured = comparison.measure, judged.values[0]
    if comparison.like:
        return _describe_contrast(judged, classes)
    attack = measure.attack != "none"
    text = (
        f"{measure.paradigm}: {percent(measured)} {'under ' + _threat(measure) if attack else 'on ' + measure.features}"
    )
    if comparison.reference is None:
        return f"{text}, chance {_share(1 / classes, decimals=1)}"
    above = comparison.floor == "chance"
    kept = _kept(judged.values[0], judged.values[1], floor=1 / classes if above else 0.0)
    text += f", {percent(judged.values[1])} {'on natural' if above else 'clean'}"
    return text if kept is None else f"{text}, {_share(kept)} of it kept{' above chance' if above else ''}"


def percent(interval: Interval) -> str:
    """Return an accuracy as percent with its bounds, such as `68.6 % [60.1, 75.3]`."""
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]".replace("-", MINUS)


def points(interval: Interval) -> str:
    """Return a difference of accuracies, such as `5.4 points [2.1, 8.8]`."""
    return percent(interval).replace(" %", " points", 1)


def _describe_contrast(judged: Judged, classes: int) -> str:
    measure, like = judged.comparison.measure, judged.comparison.like
    if like is None or judged.quantity is None:
        return f"{measure.paradigm}: natural is not above chance in every seed, so that no share of it can be kept"
    kept = [_kept(part, whole, floor=1 / classes) for part, whole in (judged.values[:2], judged.values[2:])]
    shares = [_share(one) if one is not None else "none" for one in kept]
    return (
        f"{measure.paradigm} keeps {shares[0]} of natural's accuracy above chance on {measure.features},"
        f" {like[0].paradigm} {shares[1]}: {points(judged.quantity)} against that share"
    )


def _reasons(judged: Sequence[Judged], outcomes: Iterable[Outcome], classes: int) -> tuple[str, ...]:
    """Return what the deciding comparisons say, then the gates that let them be judged, then their controls."""
    deciding = [one for one in judged if one.outcome in set(outcomes)]
    # A comparison whose measure another shows as its reference adds nothing.
    shown = {one.comparison.reference for one in deciding if not one.closed}
    reasons = [
        describe(one, classes=classes)
        for one in deciding
        if not one.closed and (one.comparison.reference is not None or one.comparison.measure not in shown)
    ]
    closed = [_closed_gate(gate) for one in deciding for gate in one.closed]
    learned = [_open_gate(gate) for one in deciding for gate in one.gates if gate.is_open and gate.baseline]
    controls = [_control(one) for one in deciding if one.comparison.control and one.outcome != "contradicts"]
    summary = [f"above the better control on natural: {', '.join(dict.fromkeys(learned))}"] if learned else []
    return tuple(dict.fromkeys([*closed, *reasons, *summary, *controls]))


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
    name, threat = f"control, the {comparison.control[0].paradigm} source", _threat(comparison.measure)
    unsure = "it may break robust models too, and supports nothing"
    if control is None:
        return f"{name}: not measured under {threat}: {unsure}"
    text = f"{name}: {_control_numbers(control)} under {threat}"
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
    return control_name(measure.paradigm) if measure else "chance"


def _comparison_as_json(judged: Judged) -> dict[str, Any]:
    comparison = judged.comparison
    like, control = comparison.like, judged.control
    return {
        "measure": asdict(comparison.measure),
        "reference": asdict(comparison.reference) if comparison.reference else None,
        "share": None if like else comparison.share,
        "like": [asdict(one) for one in like] if like else None,
        "floor": comparison.floor,
        "margin": comparison.margin,
        "side": comparison.side,
        "outcome": judged.outcome,
        "quantity": asdict(judged.quantity) if judged.quantity else None,
        "allowance": judged.allowance,
        "seeds": list(judged.seeds),
        "gates": [_gate_as_json(one) for one in judged.gates],
        "control": asdict(control) if control else None,
    }


def _gate_as_json(gated: Gated) -> dict[str, Any]:
    return {
        "measure": asdict(gated.gate.measure),
        "baseline": asdict(gated.baseline) if gated.baseline else None,
        "margin": gated.gate.margin,
        "quantity": asdict(gated.quantity),
        "open": gated.is_open,
    }
