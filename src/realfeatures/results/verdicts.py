"""Verdicts on the claims from the rows of results.json, with the numbers that decided."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from realfeatures.experiment.claims import claims_for
from realfeatures.experiment.comparisons import Above, Beats, Claim, Comparison, Keeps, KeepsLike, measurements_of
from realfeatures.results.estimates import Estimates
from realfeatures.results.flags import Flags
from realfeatures.results.judging import Gated, Judged, control_of, judge_comparison
from realfeatures.results.rows import Rows
from realfeatures.results.statistics.significance import SIGNIFICANCE, holm
from realfeatures.results.verdict_words import reasons

RULE = (
    "A comparison decides where its whole 95 % interval, within a seed and over the seeds, lies beyond its threshold."
    " Its p-value is the smallest level at which the interval still does. All comparisons of a claim must hold to"
    " support it, so the largest p-value is the claim's; any one can contradict it, so the smallest one times their"
    " number is. A verdict must hold at"
    f" {100 * SIGNIFICANCE:.0f} % for all tested claims together (Holm's correction)."
)
"""What decides every claim, in words."""


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict and what decided it, in words."""

    claim: Claim
    verdict: str
    reasons: tuple[str, ...]
    judged: tuple[Judged, ...] = ()
    missing: tuple[str, ...] = ()
    p: float | None = None
    """Of the verdict, or, where none was reached, of the one that is nearer; None: not tested."""
    adjusted_p: float | None = None
    """As that, adjusted for the number of claims that were tested (Holm)."""


def judge_all(rows: Rows, *, classes: int, flags: Flags | None = None) -> list[Verdict]:
    """Return the verdict on every claim, each of them at 5 % for all that were tested together.

    Args:
        rows: of the run.
        classes: the number of classes, whose inverse is chance; 0 where the data set is unknown.
        flags: the verdicts on single images, where they are at hand: differences are then paired.
    """
    estimates = Estimates(rows, flags)
    verdicts = [judge(claim, estimates, classes=classes) for claim in claims_for(rows.measured)]
    adjusted = iter(holm([one.p for one in verdicts if one.p is not None]))
    return [one if one.p is None else _corrected(one, next(adjusted)) for one in verdicts]


def judge(claim: Claim, estimates: Estimates, *, classes: int) -> Verdict:
    """Return the verdict on one claim alone: all its comparisons must hold, and one that fails contradicts it.

    An attack that its control does not withstand supports nothing; other attacks may still decide.
    """
    judged = tuple(judge_comparison(comparison, estimates, classes=classes) for comparison in claim.comparisons)
    missing = (*claim.needs, *dict.fromkeys(name for one in judged for name in one.missing))
    if missing:
        return Verdict(claim, "not tested", (f"not measured: {'; '.join(missing)}",), judged, missing)
    outcomes = {one.outcome for one in judged}
    supports, contradicts = _p_supported(judged), _p_contradicted(judged)
    if "contradicts" in outcomes:
        return Verdict(claim, "contradicted", reasons(judged, {"contradicts"}), judged, p=contradicts)
    if _all_hold(judged):
        return Verdict(claim, "supported", reasons(judged, outcomes), judged, p=supports)
    single = any(len(one.seeds) == 1 for one in judged)
    verdict = "inconclusive (one seed)" if single else "inconclusive"
    words = reasons(judged, {"undecided", "uncontrolled"})
    return Verdict(claim, verdict, words, judged, p=min(supports, contradicts))


def _all_hold(judged: Sequence[Judged]) -> bool:
    """Return whether every comparison holds, some of them with a control that shows something."""
    held = [one for one in judged if one.outcome == "supports"]
    everything = all(one.outcome in ("supports", "uncontrolled") for one in judged)
    return everything and bool(held) and _has_control(judged, held)


def _has_control(judged: Sequence[Judged], some: Sequence[Judged]) -> bool:
    """Return whether some of the comparisons have a control, where any of all have one."""
    return any(control_of(one.comparison) for one in some) or not any(control_of(one.comparison) for one in judged)


def _p_supported(judged: Sequence[Judged]) -> float:
    """Return the level down to which every comparison holds (an intersection-union test: no correction).

    Gates are no part of it: they say what may be asked, at 95 %, not what the claim says.
    """
    counted = [one for one in judged if one.outcome != "uncontrolled"]
    if not counted or not _has_control(judged, counted):
        return 1.0
    return max(one.p_supports for one in counted)


def _p_contradicted(judged: Sequence[Judged]) -> float:
    """Return the level down to which one comparison fails, times how many could have (Bonferroni)."""
    return min(1.0, len(judged) * min(one.p_contradicts for one in judged))


def _corrected(verdict: Verdict, adjusted: float) -> Verdict:
    """Return it with its adjusted p-value, and without a decision that this does not bear."""
    found = replace(verdict, adjusted_p=adjusted)
    if adjusted <= SIGNIFICANCE or verdict.verdict not in ("supported", "contradicted"):
        return found
    reason = f"{verdict.verdict} by itself, but not after Holm's correction for all claims: adjusted p {adjusted:.2g}"
    return replace(found, verdict="inconclusive", reasons=(reason, *verdict.reasons))


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as it stands in results.json."""
    claim = verdict.claim
    return {
        "id": claim.id,
        "text": claim.text,
        "source": claim.source,
        "rule": claim.rule,
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "missing": list(verdict.missing),
        "p": verdict.p,
        "adjusted_p": verdict.adjusted_p,
        "comparisons": [_comparison_as_json(one) for one in verdict.judged],
    }


def _comparison_as_json(judged: Judged) -> dict[str, Any]:
    return {
        **_inequality_as_json(judged.comparison),
        "outcome": judged.outcome,
        "quantity": asdict(judged.quantity) if judged.quantity else None,
        "interval": judged.interval,
        "images": judged.images,
        "p_supports": judged.p_supports if judged.seeds else None,
        "p_contradicts": judged.p_contradicts if judged.seeds else None,
        "allowance": judged.allowance,
        "seeds": list(judged.seeds),
        "gates": [_gate_as_json(one) for one in judged.gates],
        "control": asdict(judged.control) if judged.control else None,
    }


def _inequality_as_json(comparison: Comparison) -> dict[str, Any]:
    keeps = comparison if isinstance(comparison, Keeps) else None
    return {
        "kind": _KINDS[type(comparison)],
        "terms": [[asdict(one) for one in measurements_of(term)] for term in comparison.terms],
        "share": keeps.share if keeps else None,
        "floor": keeps.floor if keeps else None,
        "margin": comparison.margin,
        "side": comparison.side,
    }


_KINDS: dict[type[Comparison], str] = {Above: "above", Keeps: "keeps", KeepsLike: "keeps_like", Beats: "beats"}
"""What results.json calls each kind of comparison."""


def _gate_as_json(gated: Gated) -> dict[str, Any]:
    return {
        "measured": asdict(gated.gate.measured),
        "baseline": asdict(gated.baseline) if gated.baseline else None,
        "margin": gated.gate.margin,
        "quantity": asdict(gated.quantity),
        "interval": gated.interval,
        "open": gated.is_open,
    }
