"""The report's charts of accuracies and trainings: usefulness bars, robustness curves, training curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realfeatures.experiment.vocabulary import Experiment, Features
from realfeatures.report.drawing import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    draw_svg,
    figure_width,
)
from realfeatures.report.experiment_tables import (
    features_of,
    paradigms_of,
    trained,
    usefulness,
)
from realfeatures.report.tables import (
    CLEAN,
    Accuracy,
    Threat,
    epsilon_name,
)
from realfeatures.results.rows import (
    Lookup,
    Results,
    Subject,
    chance,
    subject,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Mapping[str, Mapping[str, Sequence[Sequence[tuple[float, float]]]]]
"""Panel -> feature set -> one curve a seed, each a list of (epoch, loss)."""

BAR = 0.8
"""Share of a group's width that its bars fill."""


def usefulness_bars(results: Results) -> str:
    """Return clean accuracy as bars, grouped by paradigm and control, with 95 % whiskers and the chance line."""
    table = usefulness(results)
    features = [name for name in table.columns[1:] if "→" not in name]
    guessing = chance(results)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        width = BAR / max(1, len(features))
        for group, (_, *entries) in enumerate(table.rows):
            for index, name in enumerate(features):
                if isinstance(entry := entries[index], Accuracy):
                    _bar(axes, group + (index - (len(features) - 1) / 2) * width, entry, name, width)
        axes.set_xticks(range(len(table.rows)), [str(row[0]).replace(" ", "\n") for row in table.rows])
        axes.tick_params(axis="x", length=0, labelsize=9)
        if guessing is not None:
            _chance_line(axes, guessing, groups=len(table.rows))
        axes.set_xlim(-0.5, len(table.rows) - 0.2)
        _percent_axis(axes, "clean accuracy, %")
        _legend(figure, features)

    text = "Clean accuracy on natural test images, by paradigm, one bar for each training set"
    return draw_svg(draw, size=(figure_width(len(table.rows), 1.6), 3.5), title=text)


def robustness_curves(results: Results, protocol: str) -> str:
    """Return accuracy over epsilon: a panel a paradigm and norm, a line a feature set, AutoAttack as open marks."""
    lookup = Lookup(results)
    subjects = [one for one in trained(lookup.planned(Experiment.E2)) if one.protocol == protocol]
    paradigms, features = paradigms_of(subjects), features_of(subjects)
    threats = [threat for threat in lookup.threats(subjects) if threat != CLEAN]
    norms = list(dict.fromkeys(norm for _, norm, _ in threats)) or ["L2"]

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(len(norms), len(paradigms), sharey=True, squeeze=False)
        for norm, line in zip(norms, grid, strict=True):
            for paradigm, axes in zip(paradigms, line, strict=True):
                for name in features:
                    _curve(axes, lookup, subject(paradigm, name, protocol=protocol), norm)
                _epsilon_axis(axes, norm, {e for _, n, e in threats if n == norm})
                axes.set_title(paradigm)
            _percent_axis(line[0], "accuracy, %")
        _legend(figure, features, lines=True, extra=True)

    text = f"Accuracy over the size of the perturbation, by paradigm, one line for each training set ({protocol})"
    return draw_svg(draw, size=(figure_width(len(paradigms), 2.4), 0.55 + 2.5 * len(norms)), title=text)


def training_curves(curves: Curves) -> str:
    """Return the training loss over epochs: a panel a paradigm, a line a feature set and seed."""

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for (name, sets), axes in zip(curves.items(), panels, strict=True):
            for features, seeds in sets.items():
                for points in seeds:
                    epochs, losses = zip(*points, strict=True)
                    axes.plot(epochs, losses, color=colour_of(features), linewidth=1.1, alpha=0.85)
            axes.set_title(name)
            axes.set_xlabel("epoch")
            axes.set_ylim(bottom=0)
            axes.locator_params(axis="x", nbins=4, integer=True)
        panels[0].set_ylabel("training loss")
        _legend(figure, list(dict.fromkeys(f for sets in curves.values() for f in sets)), lines=True)

    text = "Training loss over epochs, by paradigm, one line for each training set and seed"
    return draw_svg(draw, size=(figure_width(len(curves), 1.92), 2.6), title=text)


LEGEND_COLUMNS = 6
"""Names of a legend side by side."""


def colour_of(features: str) -> str:
    """Return the colour of a set; grey for what is trained on none."""
    return COLOURS[Features(features)] if features in tuple(Features) else GREY


def _chance_line(axes: "Axes", guessing: float, *, groups: int) -> None:
    axes.hlines(100 * guessing, -0.5, groups - 0.56, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.text(groups - 0.54, 100 * guessing, "chance", fontsize=8, va="center")


def _bar(axes: "Axes", x: float, accuracy: Accuracy, features: str, width: float) -> None:
    value, low, high = (100 * part for part in (accuracy.interval.value, accuracy.interval.low, accuracy.interval.high))
    axes.bar(x, value, width=0.9 * width, color=colour_of(features))
    axes.errorbar(x, value, yerr=[[value - low], [high - value]], color=INK, linewidth=0.9, capsize=1.8)


def _curve(axes: "Axes", lookup: Lookup, one: Subject, norm: str) -> None:
    colour, marker = colour_of(one.features), MARKERS[Features(one.features)]
    for attack, face in (("pgd", colour), ("autoattack", "white")):
        points = [
            (t[2], found.interval) for t in _attacks(lookup, one, attack, norm) if (found := lookup.accuracy(one, t))
        ]
        if attack == "pgd" and (clean := lookup.accuracy(one)) is not None:
            points.insert(0, (0.0, clean.interval))
        if not points:
            continue
        epsilons = [epsilon for epsilon, _ in points]
        values = [100 * interval.value for _, interval in points]
        bars = [[100 * (i.value - i.low) for _, i in points], [100 * (i.high - i.value) for _, i in points]]
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "capsize": 1.5}
        line = "-" if attack == "pgd" else "none"
        axes.errorbar(epsilons, values, yerr=bars, linestyle=line, linewidth=1.2, elinewidth=0.7, mfc=face, **style)


def _attacks(lookup: Lookup, one: Subject, attack: str, norm: str) -> list[Threat]:
    return [threat for threat in lookup.threats([one]) if threat[:2] == (attack, norm)]


def _epsilon_axis(axes: "Axes", norm: str, epsilons: set[float]) -> None:
    ticks = [0.0, *sorted(epsilons)]
    axes.set_xticks(ticks, [epsilon_name(norm, epsilon) for epsilon in ticks])
    axes.set_xlabel("epsilon, " + {"L2": "L2", "Linf": "L∞"}.get(norm, norm))


def _percent_axis(axes: "Axes", label: str) -> None:
    axes.set_ylim(0, 102)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel(label)


def _legend(figure: "Figure", features: Sequence[str], *, lines: bool = False, extra: bool = False) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=colour_of(name), marker=MARKERS[Features(name)] if extra else "", markersize=4)
        if lines
        else Patch(color=colour_of(name))
        for name in features
    ]
    names = list(features)
    if extra:
        handles += [
            Line2D([], [], color=GREY, marker="o", markersize=4),
            Line2D([], [], color=GREY, marker="o", markersize=4, linestyle="none", mfc="white"),
        ]
        names += ["filled: PGD (clean at 0)", "open: AutoAttack"]
    figure.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=min(LEGEND_COLUMNS, len(names)),
        handlelength=1.4,
        columnspacing=1.6,
    )
