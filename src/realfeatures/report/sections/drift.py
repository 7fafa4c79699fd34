"""A run against the last ones: what left its interval, what was not reproduced, and what changed in between."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from realfeatures.experiment.address import SHOWN_DIGITS
from realfeatures.report.section import Part, Section
from realfeatures.report.tables import Table
from realfeatures.results.drift import Drift, Moved, p_text, setting_text

_BROKEN = (
    "A cell's address covers all that decides its bytes on a CPU. One of the two numbers is wrong, or the machines"
    " compute differently."
)
_SAME_SETTINGS = (
    "Nothing of the set-up: code, library versions, processor, data, seeds and every value of the preset are the same."
)
_NOTE = (
    "p is adjusted; the intervals shown are at 95 % for each number alone. Trainings: how many stand behind the number"
    " before, and now. Numbers at an address that was there before are not trainings anew."
)


def section(drift: Drift) -> Section:
    """Return what is news in a comparison, and what only one side measured."""
    parts = (*news(drift), *only_one_side(drift))
    return Section("drift", "Drift", "Drift: this run against the last ones", parts)


def detailed(drift: Drift) -> Section:
    """Return the section with every number that was compared."""
    found = section(drift)
    return replace(found, parts=(*found.parts, every_number(drift)))


def every_number(drift: Drift) -> Part:
    """Return all that was compared."""
    return Part(table=moved(drift.rows), folded=f"All {len(drift.rows)} numbers")


def only_one_side(drift: Drift) -> tuple[Part, ...]:
    """Return what the newest earlier run measured and this one did not, and the other way round."""
    sides = {"measured before alone": drift.only_before, "measured now alone": drift.only_after}
    return tuple(
        Part(table=Table((title,), tuple((str(one),) for one in only)), folded=f"{title}: {len(only)}".capitalize())
        for title, only in sides.items()
        if only
    )


def news(drift: Drift) -> Iterator[Part]:
    """Yield what a person should know of a comparison, the worst first."""
    left_out = f"; left out, for another preset or other data: {', '.join(drift.left_out)}" if drift.left_out else ""
    compared = f"{drift.run} compared with {', '.join(drift.against)}{left_out}."
    yield Part(findings=((drift.headline, ()),))
    yield Part(words=(compared,))
    if drift.broken:
        yield Part(title="Not reproduced: the same address, another number", warnings=(_BROKEN,), table=broken(drift))
    if left := drift.with_verdict("left"):
        yield Part(title="Left their interval", table=moved(left))
    same = () if drift.claims else ("No claim's verdict.",)
    yield Part(title=f"What else changed since {drift.against[-1]}", words=same, table=claims(drift))
    yield Part(words=() if drift.settings else (_SAME_SETTINGS,), table=settings(drift))
    if drift.with_verdict("left") or drift.with_verdict("within"):
        yield Part(note=f"{drift.rule} {_NOTE}")


def broken(drift: Drift) -> Table:
    """Each number that differs from an earlier one at the same address."""
    body = [
        (
            str(one.measurement),
            str(one.seed),
            f"{100 * one.before:.2f}",
            f"{100 * one.after:.2f}",
            one.cell[:SHOWN_DIGITS],
            one.run,
            " → ".join(dict.fromkeys((one.processor_before, one.processor_after))),
        )
        for one in drift.broken
    ]
    columns = ("accuracy of", "seed", "before, %", "now, %", "address", "earlier run", "processor")
    return Table(columns, tuple(body), words=3, name="not reproduced")


def moved(rows: Iterable[Moved]) -> Table:
    """Numbers before and now with their difference, its adjusted p-value and the trainings behind them."""
    body = [
        (
            str(one.measurement),
            one.before,
            one.after,
            one.difference,
            p_text(one.p),
            f"{one.trainings_before}, {one.trainings_after}",
            one.verdict,
        )
        for one in rows
    ]
    columns = ("accuracy of", "before, %", "now, %", "difference, points", "p", "trainings", "verdict")
    return Table(columns, tuple(body), words=1, name="changed numbers")


def claims(drift: Drift) -> Table:
    """The claims whose verdict changed."""
    body = [(one.id, one.text, one.before or "not judged", one.after or "not judged") for one in drift.claims]
    return Table(("", "claim", "before", "now"), tuple(body), stubs=2, words=2, name="claims that changed")


def settings(drift: Drift) -> Table:
    """What of code, libraries, processor, data, seeds and preset changed."""
    body = [(one.path, *(setting_text(one.path, value) for value in (one.before, one.after))) for one in drift.settings]
    return Table(("set-up", "before", "now"), tuple(body), words=2, name="set-up")
