"""A run against earlier ones: what changed between them, and which numbers left their interval.

An equal cell address promises equal bytes on a CPU, so that another number there is a failure to reproduce, and told
apart. Everything else was trained anew and is compared as a sample; see trainings.py for the rule.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from realfeatures.experiment.measurement import Measurement
from realfeatures.results.earlier import NamedRun, SavedResults
from realfeatures.results.rows import Row
from realfeatures.results.statistics.intervals import Interval, weighted_difference
from realfeatures.results.statistics.significance import SIGNIFICANCE, holm
from realfeatures.results.trainings import RULE, Pair, trainings_of

Change = Literal["same", "within", "left", "not reproduced"]
"""same: the very number; within: what is usual between trainings; left: more than that; not reproduced: see above."""

DIGEST_DIGITS = 16
LONGEST_SETTING = 80
SMALLEST_P = 0.001
"""How much of a digest, of a value and of a p-value people are shown; results.json has all of it."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One address with two numbers, on a CPU: a failure to reproduce."""

    measurement: Measurement
    seed: int
    cell: str
    """The address."""
    run: str
    """The earlier run."""
    before: float
    after: float
    processor_before: str
    processor_after: str


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A measurement in the earlier runs and in this one, as means over trainings with 95 % intervals."""

    measurement: Measurement
    before: Interval
    after: Interval
    difference: Interval
    """after - before, for this number alone: not adjusted for how many there are."""
    trainings_before: int
    trainings_after: int
    allowance: float
    """How far beyond zero the difference's interval must lie; 0 where the trainings themselves show their spread."""
    p: float | None
    """Adjusted for all comparisons; None where nothing was trained anew."""
    verdict: Change


@dataclass(frozen=True)
class ChangedSetting:
    """A part of the set-up that differs from the newest earlier run, by its dotted path; None: not there."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class ChangedClaim:
    """A claim whose verdict differs from the newest earlier run's; None: it was not judged."""

    id: str
    text: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Drift:
    """All that a comparison found."""

    run: str
    against: tuple[str, ...]
    """The earlier runs whose numbers are compared, the newest last."""
    left_out: tuple[str, ...]
    """Earlier runs with another preset or other data than the newest of them: only their addresses are compared."""
    rule: str
    broken: tuple[Broken, ...]
    rows: tuple[Moved, ...]
    settings: tuple[ChangedSetting, ...]
    claims: tuple[ChangedClaim, ...]
    only_before: tuple[Measurement, ...]
    """Measured by the newest earlier run, and not by this one."""
    only_after: tuple[Measurement, ...]

    def with_verdict(self, verdict: Change) -> tuple[Moved, ...]:
        """Return the measurements of a verdict, the largest difference first."""
        found = [row for row in self.rows if row.verdict == verdict]
        return tuple(sorted(found, key=lambda row: -abs(row.difference.value)))

    @property
    def quiet(self) -> bool:
        """Whether every number was reproduced or stayed in its interval."""
        return not self.broken and not self.with_verdict("left")

    @property
    def headline(self) -> str:
        """What was found, in one sentence."""
        if not self.rows:
            return "Nothing was measured in both."
        counts = {name: len(self.with_verdict(name)) for name in ("left", "within", "same")}
        if counts["same"] == len(self.rows):
            return f"The same: all {counts['same']} numbers."
        broken = f"Not reproduced at the same address: {len(self.broken)}. " if self.broken else ""
        return (
            f"{broken}Left their interval: {counts['left']} of {len(self.rows)} numbers."
            f" Moved within it: {counts['within']}. The same: {counts['same']}."
        )


def drift_of(current: NamedRun, earlier: Sequence[NamedRun]) -> Drift:
    """Compare a run with earlier ones, of which those set up like the newest give the intervals.

    Args:
        current: the run that is judged.
        earlier: at least one, the newest last.

    Raises:
        ValueError: no earlier run.
    """
    if not earlier:
        raise ValueError("no earlier run: expected at least one to compare with")
    last = earlier[-1]
    like = [run for run in earlier if _kind(run.results) == _kind(last.results)]
    before, newest, after = trainings_of(like), trainings_of([last]), trainings_of([current])
    pairs = {what: Pair(before[what], newest.get(what, {}), after[what]) for what in after if what in before}
    broken = tuple(_broken(current, earlier))
    return Drift(
        run=current.name,
        against=tuple(run.name for run in like),
        left_out=tuple(run.name for run in earlier if run not in like),
        rule=RULE,
        broken=broken,
        rows=tuple(_judged(pairs, {one.measurement for one in broken})),
        settings=tuple(_settings(last.results, current.results)),
        claims=tuple(_claims(last.results, current.results)),
        only_before=tuple(what for what in newest if what not in after),
        only_after=tuple(what for what in after if what not in before),
    )


def setting_text(path: str, value: Any) -> str:
    """Return a value of the set-up as a person reads it; a digest and long lists are cut."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    longest = DIGEST_DIGITS if path in ("code", "data.sha256") else LONGEST_SETTING
    return text if len(text) <= longest else f"{text[:longest]}…"


def p_text(p: float | None) -> str:
    """Return an adjusted p-value with as many digits as matter; nothing was compared: a dash."""
    if p is None:
        return "—"
    return f"{p:.2g}" if p >= SMALLEST_P else f"< {SMALLEST_P}"


def drift_json(drift: Drift) -> dict[str, Any]:
    """Return a comparison as results.json holds it."""
    return asdict(drift)


def parse_drift(content: Mapping[str, Any]) -> Drift:
    """Return what `drift_json` wrote."""
    return TypeAdapter(Drift).validate_python(content)


def _judged(pairs: Mapping[Measurement, Pair], broken: set[Measurement]) -> Iterator[Moved]:
    """Yield every pair with its verdict; Holm counts those that were trained anew."""
    anew = [what for what, pair in pairs.items() if pair.anew and what not in broken]
    adjusted = dict(zip(anew, holm([pairs[what].p_value() for what in anew]), strict=True))
    for what, pair in pairs.items():
        before, after = pair.intervals()
        p = adjusted.get(what)
        yield Moved(
            measurement=what,
            before=before,
            after=after,
            difference=weighted_difference(after, before, weight=1.0),
            trainings_before=len(pair.before),
            trainings_after=len(pair.after),
            allowance=pair.allowance,
            p=p,
            verdict="not reproduced" if what in broken else _verdict(p, equal=pair.equal),
        )


def _verdict(p: float | None, *, equal: bool) -> Change:
    if equal or p is None:
        return "same"
    return "left" if p < SIGNIFICANCE else "within"


def _broken(current: NamedRun, earlier: Sequence[NamedRun]) -> Iterator[Broken]:
    """Yield each row whose number differs from the newest other number at its address."""
    if current.results.device.get("name") != "cpu":
        return  # equal bytes are a promise of the CPU alone
    for row in current.results.rows:
        other = next(((run, old) for run in reversed(earlier) if (old := _contradicting(row, run.results))), None)
        if other is not None:
            run, old = other
            yield Broken(
                measurement=row.measurement,
                seed=row.seed,
                cell=row.cell,
                run=run.name,
                before=old.value,
                after=row.value,
                processor_before=str(run.results.device.get("processor")),
                processor_after=str(current.results.device.get("processor")),
            )


def _contradicting(row: Row, results: SavedResults) -> Row | None:
    """Return the row that says something else of the same cell."""
    at_address = (old for old in results.rows if (old.cell, old.measurement) == (row.cell, row.measurement))
    return next((old for old in at_address if (old.value, old.n) != (row.value, row.n)), None)


def _kind(results: SavedResults) -> tuple[Any, ...]:
    """Return what makes runs comparable as replicates: preset and data; code and library versions may differ."""
    config = dict(_flat(results.preset.config))
    if config.get("data.sha256") is not None:
        config.pop("data.source", None)  # a folder that was moved is the same data
    return config, {name: value for name, value in results.data.items() if name != "title"}


def _settings(before: SavedResults, after: SavedResults) -> Iterator[ChangedSetting]:
    """Yield what differs: code, library versions, processor, data, seeds, and every value of the preset."""
    old, new = _described(before), _described(after)
    for path in dict.fromkeys([*old, *new]):
        if old.get(path) != new.get(path):
            yield ChangedSetting(path, old.get(path), new.get(path))


def _described(results: SavedResults) -> dict[str, Any]:
    return {
        "code": results.code,
        **{f"versions.{name}": version for name, version in results.versions.items()},
        "device.processor": results.device.get("processor"),
        **{f"data.{name}": value for name, value in results.data.items()},
        "seeds": list(results.seeds),
        **dict(_flat(results.preset.config)),
    }


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a configuration by dotted path, as --set names them."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _claims(before: SavedResults, after: SavedResults) -> Iterator[ChangedClaim]:
    old, new = ({claim.id: claim for claim in results.claims} for results in (before, after))
    for name in sorted({*old, *new}):
        was, now = (claims[name].verdict if name in claims else None for claims in (old, new))
        if was != now:
            yield ChangedClaim(name, (new.get(name) or old[name]).text, was, now)
