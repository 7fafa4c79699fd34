"""A comparison of runs as tables for a terminal: what left its interval first."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from realfeatures.report.rendering import interval_text
from realfeatures.results.drift import (
    Drift,
    Moved,
    p_text,
    setting_text,
)

SHOWN_ADDRESS = 12
"""As much of an address as `realfeatures show` prints."""


def drift_tables(drift: Drift) -> RenderableType:
    """Return what is news in a comparison."""
    return Group(*_news(drift))


def every_number(drift: Drift) -> RenderableType:
    """Return all that was compared, and what only one side measured."""
    parts: list[RenderableType] = [_moved(drift.rows, "All numbers, % [95 % interval]", verdicts=True)]
    for title, names in (("Measured before alone", drift.only_before), ("Measured now alone", drift.only_after)):
        if names:
            parts.append(Text("\n".join([f"\n{title}", *(f"  {one}" for one in names)])))
    return Group(*parts)


def _news(drift: Drift) -> Iterator[RenderableType]:
    yield Text(drift.headline, style="bold green" if drift.quiet else "bold red")
    yield Text(f"{drift.run} against {', '.join(drift.against)}")
    if drift.left_out:
        yield Text(f"left out, for another preset or other data: {', '.join(drift.left_out)}")
    if drift.broken:
        yield _broken(drift)
    if left := drift.with_verdict("left"):
        yield _moved(left, "Left their interval, % [95 % interval]")
    if drift.settings:
        table = _table("Set-up that changed", "", "before", "now")
        for one in drift.settings:
            table.add_row(*map(Text, (one.path, *(setting_text(one.path, v) for v in (one.before, one.after)))))
        yield table
    if drift.claims:
        table = _table("Claims that changed", "", "", "before", "now")
        for claim in drift.claims:
            table.add_row(*map(Text, (claim.id, claim.text, claim.before or "—", claim.after or "—")))
        yield table
    if drift.only_before or drift.only_after:
        yield Text(f"measured before alone: {len(drift.only_before)}, now alone: {len(drift.only_after)}")
    if drift.with_verdict("left") or drift.with_verdict("within"):
        yield Text(f"\n{drift.rule}", style="dim")


def _broken(drift: Drift) -> Table:
    columns = ("accuracy of", "seed", "before, %", "now, %", "address", "earlier run", "processor")
    table = _table("NOT REPRODUCED: the same address, another number", *columns)
    for one in drift.broken:
        processors = dict.fromkeys((one.processor_before, one.processor_after))
        table.add_row(
            Text(str(one.quantity)),
            str(one.seed),
            f"{100 * one.before:.2f}",
            f"{100 * one.after:.2f}",
            one.cell[:SHOWN_ADDRESS],
            Text(one.run),
            Text(" → ".join(processors)),
        )
    return table


def _moved(rows: Iterable[Moved], title: str, *, verdicts: bool = False) -> Table:
    columns = ("accuracy of", "before", "now", "difference", "p", "trainings")
    table = _table(title, *columns, *(["verdict"] if verdicts else []))
    for column in table.columns[1:6]:
        column.justify = "right"
    for one in rows:
        numbers = [interval_text(value) for value in (one.before, one.after, one.difference)]
        trainings = f"{one.trainings_before}, {one.trainings_after}"
        verdict = [one.verdict] if verdicts else []
        table.add_row(Text(str(one.quantity)), *numbers, p_text(one.p), trainings, *verdict)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", min_width=len(title), box=None, pad_edge=False)
    table.header_style = "bold"
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
