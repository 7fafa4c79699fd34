"""Cells and times: the grid as a picture, its cells grouped by stage and feature set."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from realfeatures.experiment.about import Role
from realfeatures.experiment.grid import Cell
from realfeatures.experiment.vocabulary import NONE, Paradigm
from realfeatures.report.section import Part, Section
from realfeatures.report.tables import Table, duration
from realfeatures.results.records import Records

WIDTH, HEIGHT, GAP = 148, 46, 14
"""Size of a box and the space between two boxes, in the picture's own units."""
COLUMN = 208
TOP = 34

COLUMNS = ("data", "sources", "crafted sets", "encoders", "linear probes", "measurements")

DRAWN_PORTS = {
    "pretrain": ("train_set",),
    "match_representations": ("source",),
    "perturb_towards_targets": ("source",),
    "relabel": ("labelled",),
    "at_timestep": ("encoder",),
    "linear_probe": ("encoder",),
    "nearest_neighbours": ("encoder",),
    "attack": ("probe",),
    "loss_curves": ("probe",),
    "transfer": tuple(f"probe_{number}" for number, _ in enumerate(Paradigm, start=1)),
}
"""The inputs of each stage that are drawn: all of them would be a tangle."""

_CAPTION = (
    "The bar in a box is its share of the time. Lines: the set that an encoder learns from, the source that a set is"
    " made with, the encoder under a probe, the classifier that is attacked. Crafted sets also read the natural images,"
    " and probes the set that they are fitted to."
)


@dataclass
class Group:
    """Cells that the picture draws as one box."""

    column: int
    name: str
    cells: int = 0
    seconds: float = 0.0
    done: int = 0
    parents: set[tuple[int, str]] = field(default_factory=set)
    x: float = 0.0
    y: float = 0.0


def section(records: Records) -> Section:
    """Return the section; a box's bar in its picture is its share of all the time."""
    seconds = sum(float(done.run.get("seconds") or 0.0) for done in records.finished.values())
    part = Part(
        words=(f"{len(records.grid)} cells took {duration(seconds)} of one process in all.",),
        figure=lambda: diagram(records),
        caption=_CAPTION,
        table=stage_times(records),
        folded="All stages",
    )
    return Section("cells", "Cells and times", "Cells and times", (part,))


def diagram(records: Records) -> str:
    """Return the grid as an <svg> element; a box's bar is its share of all the time."""
    groups = _groups(records)
    rows = _place(groups.values())
    total = sum(group.seconds for group in groups.values())
    width, height = COLUMN * (len(COLUMNS) - 1) + WIDTH + 4, TOP + rows * (HEIGHT + GAP)
    text = "The experiment's cells by stage and feature set, with their number and total time"
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text}" class="diagram">',
        f"<title>{text}</title>",
        *(_edge(groups[parent], group) for group in groups.values() for parent in sorted(group.parents)),
        *_headings(groups.values()),
        *(_box(group, total) for group in groups.values()),
        "</svg>",
    ]
    return "\n".join(parts)


def stage_times(records: Records) -> Table:
    """For each column of the picture, its number of cells and their time."""
    found = _groups(records).values()
    columns = [(name, [group for group in found if group.column == i]) for i, name in enumerate(COLUMNS)]
    body = [(name, str(sum(g.cells for g in them)), duration(sum(g.seconds for g in them))) for name, them in columns]
    return Table(("stage", "cells", "time"), tuple(body))


def _groups(records: Records) -> dict[tuple[int, str], Group]:
    sources = {key for cell in records.grid for port, key in cell.inputs.items() if port == "source"}
    places = {cell.key: _place_of(cell, sources) for cell in records.grid}
    groups: dict[tuple[int, str], Group] = {}
    for cell in records.grid:
        place = places[cell.key]
        group = groups.setdefault(place, Group(*place))
        found = records.finished.get(cell.key)
        group.cells += 1
        group.done += found is not None
        group.seconds += float(found.run.get("seconds") or 0.0) if found else 0.0
        parents = {places[key] for port, key in cell.inputs.items() if port in DRAWN_PORTS.get(cell.stage, ())}
        group.parents |= {parent for parent in parents if parent[0] < place[0]}
    return groups


def _place_of(cell: Cell, sources: set[str]) -> tuple[int, str]:
    features = cell.features or NONE
    if cell.role is Role.DATA:
        return 0, "natural"
    if cell.key in sources:
        return 1, str(cell.paradigm)
    if cell.role is Role.IMAGES:
        return 2, features
    column = {Role.ENCODER: 3, Role.PROBE: 4, Role.SOURCE: 1}.get(cell.role, 5)
    return column, "raw pixels" if features == NONE else features


def _place(groups: Iterable[Group]) -> int:
    """Give each box its place, columns centred; return the number of rows."""
    columns: dict[int, list[Group]] = {}
    for group in groups:
        columns.setdefault(group.column, []).append(group)
    rows = max(len(column) for column in columns.values())
    for index, column in columns.items():
        offset = (rows - len(column)) / 2
        for row, group in enumerate(column):
            group.x, group.y = 2 + index * COLUMN, TOP + (row + offset) * (HEIGHT + GAP)
    return rows


def _headings(groups: Iterable[Group]) -> list[str]:
    found: Sequence[Group] = list(groups)
    texts = []
    for index, name in enumerate(COLUMNS):
        column = [group for group in found if group.column == index]
        if column:
            seconds = sum(group.seconds for group in column)
            texts.append(
                f'<text x="{2 + index * COLUMN}" y="16" class="heading">{name}'
                f'<tspan class="faint"> · {duration(seconds)}</tspan></text>'
            )
    return texts


def _box(group: Group, total: float) -> str:
    share = group.seconds / total if total else 0.0
    count = f"{group.cells} cell{'s' if group.cells > 1 else ''}"
    state = duration(group.seconds) if group.done else "not run"
    if 0 < group.done < group.cells:
        state += f", {group.cells - group.done} not run"
    return (
        f'<g><rect x="{group.x:g}" y="{group.y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5" class="box"/>'
        f'<rect x="{group.x:g}" y="{group.y + HEIGHT - 5:g}" width="{WIDTH * share:.1f}" height="4" class="share"/>'
        f'<text x="{group.x + 9:g}" y="{group.y + 18:g}" class="name">{html.escape(group.name)}</text>'
        f'<text x="{group.x + 9:g}" y="{group.y + 34:g}" class="faint">{count} · {state}</text></g>'
    )


def _edge(parent: Group, child: Group) -> str:
    x1, y1, x2, y2 = parent.x + WIDTH, parent.y + HEIGHT / 2, child.x, child.y + HEIGHT / 2
    bend = (x2 - x1) / 2
    return f'<path d="M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}" class="edge"/>'
