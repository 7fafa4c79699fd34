"""What an attack on one loss does to the other, on the same contrastive encoder, as curves over its steps (E5)."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realfeatures.experiment.about import Role
from realfeatures.experiment.wording import ball_name, percent
from realfeatures.report.drawing import GREY, draw_svg, legend
from realfeatures.report.section import Part
from realfeatures.report.tables import Entry, Table
from realfeatures.results.rows import Content, planned_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

Curve = Mapping[str, Any]

LOSSES: dict[str, tuple[str, str, "LineStyleType"]] = {
    "info_nce": ("InfoNCE", "#0072B2", "-"),
    "cross_entropy": ("cross-entropy", "#D55E00", "--"),
}
"""Loss -> its name, colour and line."""

ACCURACY: tuple[str, "LineStyleType"] = (GREY, ":")
SMALLEST_SPAN = 0.1
"""Share of a loss that its axis spans at least; chosen: an attack that does nothing must look like it."""

Setting = tuple[str, str, str, float]
"""Paradigm, feature set, norm and epsilon."""

_WORDS = (
    "The same contrastive encoder with its projection head (InfoNCE) and under its linear probe (cross-entropy). If an"
    " attack on one loss leaves the other alone, the two see different features."
)
_CAPTION = (
    "Thick: the loss that is attacked. One line for each seed. Each loss has an axis of its own, the same on both sides"
    " and at least a tenth of the loss long."
)


def part(results: Content) -> Part:
    """Return the part of E5's section."""
    return Part(
        title="Attack one loss, watch the other",
        words=(_WORDS,),
        figure=(lambda: curves(results)) if results["loss_curves"] else None,
        caption=_CAPTION,
        table=table(results),
        note="From before the attack to after its last step, averaged over the seeds.",
    )


def curves(results: Content) -> str:
    """Return both losses and the accuracy over an attack's steps: a column for the loss attacked, a line a setting."""
    groups = _groups(results)
    settings = list(dict.fromkeys(setting for setting, _ in groups))

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(len(settings), len(LOSSES), squeeze=False)
        for setting, line in zip(settings, grid, strict=True):
            both = [one for attacked in LOSSES for one in groups.get((setting, attacked), [])]
            limits = {name: _limits([value for one in both for value in one[name]]) for name in LOSSES}
            for attacked, axes in zip(LOSSES, line, strict=True):
                _panel(axes, attacked, groups.get((setting, attacked), []), limits=limits)
                axes.set_title(f"attack on {LOSSES[attacked][0]}: {_ball(setting)}", fontsize=8.5)
        _legend(figure)

    text = "InfoNCE, cross-entropy and accuracy over the steps of an attack on one of the two losses"
    return draw_svg(draw, size=(9.6, 0.5 + 2.7 * len(settings)), title=text)


def table(results: Content) -> Table:
    """Both losses and the accuracy before the attack and after its last step, averaged over the seeds."""
    body: list[tuple[Entry, ...]] = []
    for (setting, attacked), curves in _groups(results).items():
        changes = [f"{_end(curves, name, 0):.3g} → {_end(curves, name, -1):.3g}" for name in LOSSES]
        accuracy = " → ".join(percent(_end(curves, "accuracy", step)) for step in (0, -1))
        sizes = f"{curves[0]['n']:,}, {len(curves)}"
        body.append((f"{setting[0]} on {_ball(setting)}", LOSSES[attacked][0], *changes, accuracy, sizes))
    measured = {(one["paradigm"], one["features"]) for one in results["loss_curves"]}
    missing = [one for one in planned_of(results, Role.LOSS_CURVES) if one not in measured]
    body += [(f"{paradigm} on {features}", "both", None, None, None, None) for paradigm, features in missing]
    columns = ("encoder and attack", "attacked", "InfoNCE", "cross-entropy", "accuracy, %", "images, seeds")
    return Table(columns, tuple(body), stubs=2)


def _groups(results: Content) -> dict[tuple[Setting, str], list[Curve]]:
    found: dict[tuple[Setting, str], list[Curve]] = {}
    for one in results["loss_curves"]:
        setting = (one["paradigm"], one["features"], one["norm"], float(one["epsilon"]))
        found.setdefault((setting, one["attacked"]), []).append(one)
    return found


def _panel(axes: "Axes", attacked: str, curves: Sequence[Curve], *, limits: Mapping[str, tuple[float, float]]) -> None:
    """Draw each loss on an axis of its own, since their units differ, and accuracy from bottom (0) to top (1)."""
    from matplotlib.transforms import blended_transform_factory

    other = axes.twinx()
    for name, side in zip(LOSSES, (axes, other), strict=True):
        label, colour, line = LOSSES[name]
        for one in curves:
            width = 1.8 if name == attacked else 1.1
            side.plot(range(len(one[name])), one[name], color=colour, linestyle=line, linewidth=width)
        side.set_ylabel(label, color=colour)
        side.tick_params(axis="y", colors=colour)
        side.set_ylim(*limits[name])
    colour, line = ACCURACY
    place = blended_transform_factory(axes.transData, axes.transAxes)
    for one in curves:
        axes.plot(range(len(one["accuracy"])), one["accuracy"], color=colour, linestyle=line, transform=place)
    other.grid(visible=False)
    other.spines["right"].set_visible(True)
    axes.set_xlabel("step")
    axes.locator_params(axis="x", integer=True)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Return an axis's bounds around a loss; wide enough that a change of a hundredth of it looks small."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    middle, half = (low + high) / 2, max(high - low, SMALLEST_SPAN * abs(high)) / 2
    return middle - 1.05 * half, middle + 1.05 * half


def _legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    (one, *_), (other, *_) = LOSSES.values()
    styles = [*((colour, line) for _, colour, line in LOSSES.values()), ACCURACY]
    names = (f"{one} (left axis)", f"{other} (right axis)", "accuracy (bottom: 0, top: 1)")
    handles = (Line2D([], [], color=colour, linestyle=line) for colour, line in styles)
    legend(figure, dict(zip(names, handles, strict=True)), length=2)


def _end(curves: Sequence[Curve], name: str, step: int) -> float:
    return fmean(one[name][step] for one in curves)


def _ball(setting: Setting) -> str:
    return f"{setting[1]}, {ball_name(*setting[2:])}"
