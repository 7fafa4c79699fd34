"""What decided a claim, in words: the gates that were closed, the comparisons' numbers, the controls."""

from collections.abc import Iterable, Sequence

from realfeatures.experiment.comparisons import Keeps, Referred, share_kept
from realfeatures.experiment.measurement import Measurement
from realfeatures.experiment.vocabulary import UNTRAINED
from realfeatures.experiment.wording import accuracy_text, control_name, difference_text, percent, threat_name
from realfeatures.results.judging import Controlled, Decision, Gated, Judged, control_of


def reasons(judged: Sequence[Judged], outcomes: Iterable[Decision]) -> tuple[str, ...]:
    """Return what the comparisons of some outcomes say, the gates that let them be judged, and their controls."""
    chosen = set(outcomes)
    deciding = [one for one in judged if one.outcome in chosen]
    described = [one.words for one in deciding if not one.closed and not _is_shown(one, deciding)]
    closed = [_closed_gate(gate) for one in deciding for gate in one.closed]
    learned = [_open_gate(gate) for one in deciding for gate in one.gates if gate.is_open and gate.baseline]
    controls = [
        _control(control, one.control)
        for one in deciding
        if one.outcome != "contradicts" and (control := control_of(one.comparison)) is not None
    ]
    summary = [f"above the better control on natural: {', '.join(dict.fromkeys(learned))}"] if learned else []
    return tuple(dict.fromkeys([*closed, *described, *summary, *controls]))


def _is_shown(judged: Judged, others: Sequence[Judged]) -> bool:
    """Return whether another comparison shows its accuracy as a reference, so that it adds nothing."""
    if isinstance(judged.comparison, Referred):
        return False
    open_ones = (other.comparison for other in others if not other.closed)
    return any(isinstance(one, Referred) and one.reference == judged.comparison.measured for one in open_ones)


def _closed_gate(gated: Gated) -> str:
    measured, margin = gated.gate.measured, gated.gate.margin
    against = f"{_baseline(gated.baseline)} {accuracy_text(gated.against)}"
    if gated.baseline is None:
        against = f"chance {percent(gated.against.value)} %"
    needed = f"{percent(margin, 0)} points" if margin else "zero"
    return (
        f"{measured.paradigm} cannot be judged: {accuracy_text(gated.measured)} on {measured.features}, {against}:"
        f" the difference, {difference_text(gated.quantity)}, is not wholly above {needed}"
    )


def _open_gate(gated: Gated) -> str:
    return f"{gated.gate.measured.paradigm} by {difference_text(gated.quantity)} ({_baseline(gated.baseline)})"


def _control(asked: Keeps, control: Controlled | None) -> str:
    """Return what a robust model says of an attack."""
    [under_attack, _] = asked.measurements
    name, under = f"control, the {under_attack.paradigm} source", threat_name(under_attack.threat)
    unsure = "it may break robust models too, and supports nothing"
    if control is None:
        return f"{name}: not measured under {under}: {unsure}"
    kept = share_kept(control.under_attack, control.clean, floor=0.0)
    share = "" if kept is None else f", {percent(kept, 0)} % of it kept"
    attacked, clean = (accuracy_text(one) for one in (control.under_attack, control.clean))
    text = f"{name}: {attacked} of {clean} clean{share} under {under}"
    return text if control.withstands else f"{text}, not surely more than {percent(asked.share, 0)} %: {unsure}"


def _baseline(baseline: Measurement | None) -> str:
    if baseline is None:
        return "chance"
    if baseline.features == UNTRAINED:
        return f"untrained {baseline.paradigm} encoder"
    return control_name(baseline.paradigm)
