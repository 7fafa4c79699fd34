"""Verdicts on the claims from the rows of results.json, with the numbers that decided."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from realfeatures.claims import WIDELY, Claim, Comparison, Measure, claims_for, matched
from realfeatures.reporting.statistics import Interval, over_seeds, weighted_difference
from realfeatures.reporting.tables import threat_name
from realfeatures.vocabulary import Features

Outcome = Literal["supports", "contradicts", "undecided", "missing"]
SeedValues = Mapping[int, Interval]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A comparison with its numbers over the seeds that have all of them."""

    comparison: Comparison
    outcome: Outcome
    quantity: Interval | None = None
    """The left side of the comparison's inequality."""
    measured: Interval | None = None
    reference: Interval | None = None
    seeds: tuple[int, ...] = ()
    note: str = ""
    """Why numbers alone do not decide."""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict and what decided it, in words."""

    claim: Claim
    verdict: str
    reasons: tuple[str, ...]
    judged: tuple[Judged, ...] = ()
    missing: tuple[str, ...] = ()


class Measurements:
    """The rows of results.json by measurement, then by seed."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._found: dict[tuple[Any, ...], dict[int, Interval]] = {}
        for row in rows:
            if row["protocol"] == "natural":
                seeds = self._found.setdefault(_key(row), {})
                seeds[row["seed"]] = Interval(row["value"], row["low"], row["high"])

    def of(self, measure: Measure | None) -> SeedValues:
        """Return each seed's accuracy with its binomial interval; empty where it was not measured."""
        return self._found.get(_key(vars(measure)), {}) if measure else {}


def judge_all(rows: Sequence[Mapping[str, Any]], *, classes: int) -> list[Verdict]:
    """Return the verdict on every claim.

    Args:
        rows: those of results.json.
        classes: the number of classes, whose inverse is chance; 0 where the data set is unknown.
    """
    return [judge(claim, rows, classes=classes) for claim in claims_for(rows)]


def judge(claim: Claim, rows: Iterable[Mapping[str, Any]], *, classes: int) -> Verdict:
    """Return the verdict on one claim: all its comparisons must hold, and one that fails contradicts it."""
    measurements = Measurements(rows)
    judged = tuple(_judge(comparison, measurements, classes) for comparison in claim.comparisons)
    missing = (*claim.needs, *dict.fromkeys(name for one in judged for name in one.missing))
    if missing:
        return Verdict(claim, "not tested", (f"not measured: {'; '.join(missing)}",), judged, missing)
    outcomes = {one.outcome for one in judged}
    if "contradicts" in outcomes:
        return Verdict(claim, "contradicted", _reasons("contradicts", judged, classes), judged)
    if outcomes == {"supports"}:
        return Verdict(claim, "supported", _reasons("supports", judged, classes), judged)
    single = any(len(one.seeds) == 1 for one in judged)
    verdict = "inconclusive (one seed)" if single else "inconclusive"
    return Verdict(claim, verdict, _reasons("undecided", judged, classes), judged)


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
    """Return a comparison's numbers in words, as percent with one decimal."""
    measure, floor = judged.comparison.measure, judged.comparison.floor
    if judged.measured is None:
        return f"{measure} was not measured"
    attack = measure.attack != "none"
    where = threat_name((measure.attack, measure.norm, measure.epsilon)) if attack else measure.features
    text = f"{measure.paradigm}: {percent(judged.measured)} {'under' if attack else 'on'} {where}"
    if judged.reference is None:
        return f"{text}, chance {100 / classes:.1f} %"
    text += f", {percent(judged.reference)} {'on natural' if floor == 'chance' else 'clean'}"
    kept = _kept_share(judged, classes=classes)
    return (
        text if kept is None else f"{text}, {100 * kept:.0f} % of it kept{' above chance' if floor == 'chance' else ''}"
    )


def percent(interval: Interval) -> str:
    """Return an accuracy as percent with its bounds, such as `68.6 % [60.1, 75.3]`."""
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _judge(comparison: Comparison, measurements: Measurements, classes: int) -> Judged:
    wanted = [one for one in (comparison.measure, comparison.reference) if one is not None]
    found = [measurements.of(measure) for measure in wanted]
    common = sorted(set.intersection(*(set(seeds) for seeds in found)))
    if not classes:
        return Judged(comparison=comparison, outcome="missing", missing=("the number of classes",))
    if not common:
        absent = tuple(str(one) for one, seeds in zip(wanted, found, strict=True) if not seeds)
        return Judged(comparison=comparison, outcome="missing", missing=absent or ("one seed with all its cells",))
    chance = 1 / classes if comparison.floor == "chance" else 0.0
    quantity = over_seeds([_quantity(comparison, [seeds[seed] for seeds in found], chance) for seed in common])
    note = _learned_nothing(comparison, measurements)
    averages = [over_seeds([seeds[seed] for seed in common]).clipped() for seeds in found]
    return Judged(
        comparison=comparison,
        outcome="undecided" if note else _outcome(comparison, quantity, len(common)),
        quantity=quantity,
        measured=averages[0],
        reference=averages[1] if len(averages) > 1 else None,
        seeds=tuple(common),
        note=note,
    )


def _quantity(comparison: Comparison, values: Sequence[Interval], chance: float) -> Interval:
    if len(values) == 1:
        return values[0].shifted(-chance)
    difference = weighted_difference(values[0], values[1], weight=comparison.share)
    return difference.shifted(-chance * (1 - comparison.share))


def _outcome(comparison: Comparison, quantity: Interval, seeds: int) -> Outcome:
    above, below = quantity.low - comparison.margin, comparison.margin - quantity.high
    holds, fails = (above, below) if comparison.side == "above" else (below, above)
    needed = WIDELY if seeds == 1 else 0.0
    if max(holds, fails) <= needed:
        return "undecided"
    return "supports" if holds > fails else "contradicts"


def _learned_nothing(comparison: Comparison, measurements: Measurements) -> str:
    """Return why a paradigm cannot be judged, or nothing."""
    natural = measurements.of(matched(comparison.measure.paradigm, Features.NATURAL))
    pixels = measurements.of(comparison.baseline)
    common = set(natural) & set(pixels)
    if not common:
        return ""
    learned, raw = (sum(seeds[seed].value for seed in common) / len(common) for seeds in (natural, pixels))
    if learned > raw:
        return ""
    return (
        f"{comparison.measure.paradigm} cannot be judged: {100 * learned:.1f} % on natural images is no more"
        f" than raw pixels reach ({100 * raw:.1f} %)"
    )


def _reasons(outcome: Outcome, judged: Sequence[Judged], classes: int) -> tuple[str, ...]:
    """Return what each deciding comparison says; one whose measure another shows as its reference adds nothing."""
    deciding = [one for one in judged if one.outcome == outcome]
    shown = {one.comparison.reference for one in deciding if not one.note}
    reasons = [
        one.note or describe(one, classes=classes)
        for one in deciding
        if one.note or one.comparison.reference is not None or one.comparison.measure not in shown
    ]
    return tuple(dict.fromkeys(reasons))


def _kept_share(judged: Judged, *, classes: int) -> float | None:
    """Return (measure - floor) / (reference - floor), or None where the reference is not above the floor."""
    if judged.measured is None or judged.reference is None:
        return None
    floor = 1 / classes if judged.comparison.floor == "chance" else 0.0
    above = judged.reference.value - floor
    return (judged.measured.value - floor) / above if above > 0 else None


def _comparison_as_json(judged: Judged) -> dict[str, Any]:
    comparison = judged.comparison
    return {
        "measure": asdict(comparison.measure),
        "reference": asdict(comparison.reference) if comparison.reference else None,
        "share": comparison.share,
        "floor": comparison.floor,
        "margin": comparison.margin,
        "side": comparison.side,
        "outcome": judged.outcome,
        "quantity": asdict(judged.quantity) if judged.quantity else None,
        "seeds": list(judged.seeds),
        "note": judged.note,
    }


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("paradigm", "features", "probe_features", "attack", "norm")
    return (*(str(row[name]) for name in names), float(row["epsilon"]))
