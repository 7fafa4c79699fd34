"""E5: do adversarial examples of one paradigm's model fool another's, and an attack on one loss the other loss?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realfeatures.experiment.about import Role
from realfeatures.experiment.vocabulary import Experiment
from realfeatures.experiment.wording import ball_name, percent
from realfeatures.report.classifiers import place
from realfeatures.report.drawing import BLUES, INK, TIP, draw_svg
from realfeatures.report.section import Part, Section, with_rows
from realfeatures.report.sections import loss_curves
from realfeatures.report.tables import Entry, Table
from realfeatures.results.rows import FEATURES_ORDER, PARADIGM_ORDER, Accuracy, Content, chosen, in_order, planned_of
from realfeatures.results.statistics.intervals import Interval, over_seeds, wilson_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("transferred", "same_mistake", "different_mistake")
"""Counts of results.json: the target is fooled; it says the source's wrong class; it says another."""

COLUMNS = 4
"""Heat maps side by side."""

_WORDS = (
    "Of the images that source and target both classify correctly, and whose adversarial example fools the source: the"
    " share that fools the target too, in percent, and whether both then name the same wrong class."
)
_CAPTION = "Rows: source. Columns: target. Large: share that transfers, %. Small: same / different mistake."


@dataclass(frozen=True)
class Transfer:
    """How often the target is fooled by what fools the source, over the seeds."""

    n: int
    """Adversarial examples of a seed, on average."""
    seeds: int
    transferred: Interval | None
    same_mistake: Interval | None
    different_mistake: Interval | None
    """None: no example fooled the source."""


Setting = tuple[str, str, float]
"""Feature set, norm and epsilon."""


def section(results: Content) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.E5):
        return None
    return Section("transfer", "Transfer", "E5 · Attack transfer", with_rows(loss_curves.part(results), _part(results)))


def _part(results: Content) -> Part:
    shares, rows = results["transfer"], table(results)
    return Part(
        title="Do adversarial examples transfer?",
        words=(_WORDS,),
        figure=(lambda: heat_maps(results)) if shares else None,
        caption=_CAPTION,
        table=rows,
        note="n: adversarial examples of a seed that fool the source, on average.",
        folded=f"All {len(rows.rows)} rows" if shares else "",
    )


def matrices_of(results: Content) -> dict[Setting, dict[tuple[str, str], Transfer]]:
    """Return for each feature set and threat model the transfer from each source (first) to each target."""
    found: dict[Setting, dict[tuple[str, str], list[Mapping[str, Any]]]] = {}
    for one in results["transfer"]:
        matrix = found.setdefault((one["features"], one["norm"], float(one["epsilon"])), {})
        matrix.setdefault((one["source"], one["target"]), []).append(one)
    settings = sorted(found, key=lambda key: (place(key[0], FEATURES_ORDER), key[1:]))
    return {setting: {pair: _over_seeds(counts) for pair, counts in found[setting].items()} for setting in settings}


def table(results: Content) -> Table:
    """Share of a source's adversarial examples that fool the target, by kind of mistake, with their number."""
    body: list[tuple[Entry, ...]] = []
    for setting, matrix in matrices_of(results).items():
        models = _models(matrix)
        for source in models:
            for target in models:
                if (source, target) in matrix:
                    body.append(_line(setting, source, target, matrix[source, target]))
    measured = {one["features"] for one in results["transfer"]}
    missing = [features for _, features in planned_of(results, Role.TRANSFER) if features not in measured]
    body += [(features, "", "any", "any", None, None, None, None) for features in missing]
    columns = ("features", "attack", "source", "target", "n", "transferred", "same mistake", "different mistake")
    return Table(columns, tuple(body), stubs=4)


def heat_maps(results: Content) -> str:
    """Return the share that transfers as heat maps, one for each feature set and threat model."""
    matrices = matrices_of(results)
    columns = min(COLUMNS, len(matrices))
    lines = -(-len(matrices) // columns)

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(lines, columns, squeeze=False)
        panels = [axes for line in grid for axes in line]
        for axes, (setting, matrix) in zip(panels, matrices.items(), strict=False):
            _heat(axes, setting, matrix)
        for axes in panels[len(matrices) :]:
            axes.set_axis_off()
        for line in grid:
            for axes in line[1:]:
                axes.set_yticks([])

    text = "Share of adversarial examples that transfer from a source (row) to a target (column)"
    return draw_svg(draw, size=(0.6 + 2.25 * columns, 0.2 + 2.75 * lines), title=text)


def _heat(axes: "Axes", setting: Setting, matrix: Mapping[tuple[str, str], Transfer]) -> None:
    models = _models(matrix)
    axes.grid(visible=False)
    for row, source in enumerate(models):
        for column, target in enumerate(models):
            one = matrix.get((source, target))
            share = one.transferred.value if one and one.transferred else None
            axes.add_patch(square := _square(column, row, share))
            square.set_gid(f"{TIP}{source} → {target}: n = {one.n} for each of {one.seeds} seeds" if one else None)
            if one:
                _label(axes, column, row, one)
    axes.set_xlim(-0.5, len(models) - 0.5)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(models)), models, rotation=30, ha="right", fontsize=7.5)
    axes.set_yticks(range(len(models)), models, fontsize=7.5)
    axes.tick_params(length=0)
    axes.set_title(f"{setting[0]}, {ball_name(*setting[1:])}", fontsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _square(column: int, row: int, share: float | None) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=_shade(share), edgecolor="none")


def _label(axes: "Axes", column: int, row: int, one: Transfer) -> None:
    """Write the share, and below it same / different mistakes; the number of examples stands in the tooltip."""
    colour = "white" if one.transferred and one.transferred.value > 0.55 else INK
    if not (one.transferred and one.same_mistake and one.different_mistake):
        axes.text(column, row, "n = 0", ha="center", va="center", fontsize=7, color=colour)
        return
    shares = (one.transferred, one.same_mistake, one.different_mistake)
    whole, same, other = (percent(share.value, 0) for share in shares)
    axes.text(column, row - 0.12, whole, ha="center", va="center", fontsize=8.5, color=colour)
    axes.text(column, row + 0.25, f"{same} / {other}", ha="center", va="center", fontsize=6, color=colour)


def _shade(share: float | None) -> str:
    if share is None:
        return "#f3f4f6"
    return BLUES[min(len(BLUES) - 1, int(share * len(BLUES)))]


def _line(setting: Setting, source: str, target: str, one: Transfer) -> tuple[Entry, ...]:
    features, norm, epsilon = setting
    shares = (one.transferred, one.same_mistake, one.different_mistake)
    numbers = (Accuracy(share, one.n, one.seeds) if share else None for share in shares)
    return (features, ball_name(norm, epsilon), source, target, f"{one.n:,}", *numbers)


def _over_seeds(counts: Sequence[Mapping[str, Any]]) -> Transfer:
    """Average over the seeds in which the source was fooled at all."""
    fooled = [one for one in counts if one["n"]]
    if not fooled:
        return Transfer(0, len(counts), None, None, None)
    transferred, same, different = (
        over_seeds([wilson_interval(one[kind], one["n"]) for one in fooled]).clipped() for kind in KINDS
    )
    return Transfer(sum(one["n"] for one in fooled) // len(fooled), len(fooled), transferred, same, different)


def _models(matrix: Mapping[tuple[str, str], Transfer]) -> list[str]:
    return in_order((name for pair in matrix for name in pair), PARADIGM_ORDER)
