"""The report's charts as inline SVG: usefulness bars, robustness curves, training curves.

Text stays text and ids come from a fixed salt, so that equal results give equal bytes.
"""

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realfeatures.reporting.tables import Accuracy, Lookup, compared, epsilon_name, usefulness
from realfeatures.vocabulary import Features

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart; markers say the same without colour.
COLOURS = {
    Features.NATURAL: "#0072B2",
    Features.ROBUST: "#009E73",
    Features.NON_ROBUST: "#D55E00",
    Features.D_RAND: "#CC79A7",
}
MARKERS = {Features.NATURAL: "o", Features.ROBUST: "s", Features.NON_ROBUST: "^", Features.D_RAND: "D"}
GREY = "#6b7280"

_STYLE: Any = {  # Any: matplotlib types each key by its name
    "svg.fonttype": "none",
    "svg.hashsalt": "realfeatures",
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that the layout is the same everywhere
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.7,
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "legend.frameon": False,
}

Row = Mapping[str, Any]
Curves = Mapping[str, Mapping[str, Sequence[Sequence[tuple[float, float]]]]]
"""Panel -> feature set -> one curve a seed, each a list of (epoch, loss)."""


def usefulness_bars(rows: Sequence[Row], config: Mapping[str, Any], *, chance: float | None) -> str:
    """Return clean accuracy as bars, grouped by paradigm and control, with 95 % whiskers and the chance line."""
    table = usefulness(rows, config)
    features = table.columns[1:]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for group, (_, *entries) in enumerate(table.rows):
            for index, entry in enumerate(entries):
                if isinstance(entry, Accuracy):
                    _bar(axes, group + (index - (len(features) - 1) / 2) * 0.2, entry, features[index])
        axes.set_xticks(range(len(table.rows)), [str(row[0]).replace(" ", "\n") for row in table.rows])
        axes.tick_params(axis="x", length=0, labelsize=9)
        boundary = len(config["paradigms"]) - 0.5
        if config["controls"]:
            axes.axvline(boundary, color="#d1d5db", linewidth=0.8)
            axes.text(boundary + 0.06, 103, "controls", color=GREY, fontsize=8, va="bottom")
        if chance is not None:
            end = len(table.rows) - 0.56
            axes.hlines(100 * chance, -0.5, end, color="#111827", linewidth=0.9, linestyle=(0, (4, 3)))
            axes.text(len(table.rows) - 0.54, 100 * chance, "chance", fontsize=8, va="center")
        axes.set_xlim(-0.5, len(table.rows) - 0.2)
        _percent_axis(axes, "clean accuracy, %")
        _legend(figure, features)

    text = "Clean accuracy on natural test images, by paradigm, one bar for each training set"
    return _svg(draw, size=(_width(len(table.rows), 1.6), 3.5), title=text)


def robustness_curves(rows: Sequence[Row], config: Mapping[str, Any]) -> str:
    """Return accuracy over epsilon: a panel a paradigm and norm, a line a feature set, AutoAttack as open marks."""
    lookup = Lookup(compared(rows))
    threats = [threat for threat in lookup.threats() if threat[0] != "none"]
    norms = list(dict.fromkeys(norm for _, norm, _ in threats)) or ["L2"]

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(len(norms), len(config["paradigms"]), sharey=True, squeeze=False)
        for norm, line in zip(norms, grid, strict=True):
            for paradigm, axes in zip(config["paradigms"], line, strict=True):
                for features in config["features"]:
                    _curve(axes, lookup, paradigm, features, norm)
                _epsilon_axis(axes, norm, {e for _, n, e in threats if n == norm})
                axes.set_title(paradigm)
            _percent_axis(line[0], "accuracy, %")
        _legend(figure, config["features"], lines=True, extra=True)

    text = "Accuracy over the size of the perturbation, by paradigm, one line for each training set"
    return _svg(draw, size=(_width(len(config["paradigms"]), 2.4), 0.55 + 2.5 * len(norms)), title=text)


def training_curves(curves: Curves) -> str:
    """Return the training loss over epochs: a panel a paradigm, a line a feature set and seed."""

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for (name, sets), axes in zip(curves.items(), panels, strict=True):
            for features, seeds in sets.items():
                for points in seeds:
                    epochs, losses = zip(*points, strict=True)
                    colour = COLOURS[Features(features)]
                    axes.plot(epochs, losses, color=colour, linewidth=1.1, alpha=0.85)
            axes.set_title(name)
            axes.set_xlabel("epoch")
            axes.set_ylim(bottom=0)
            axes.locator_params(axis="x", nbins=4, integer=True)
        panels[0].set_ylabel("training loss")
        _legend(figure, list(dict.fromkeys(f for sets in curves.values() for f in sets)), lines=True)

    text = "Training loss over epochs, by paradigm, one line for each training set and seed"
    return _svg(draw, size=(_width(len(curves), 1.92), 2.6), title=text)


def _bar(axes: "Axes", x: float, accuracy: Accuracy, features: str) -> None:
    value, low, high = (100 * part for part in (accuracy.interval.value, accuracy.interval.low, accuracy.interval.high))
    axes.bar(x, value, width=0.18, color=COLOURS[Features(features)])
    axes.errorbar(x, value, yerr=[[value - low], [high - value]], color="#111827", linewidth=0.9, capsize=1.8)


def _curve(axes: "Axes", lookup: Lookup, paradigm: str, features: str, norm: str) -> None:
    colour, marker = COLOURS[Features(features)], MARKERS[Features(features)]
    for attack, face in (("pgd", colour), ("autoattack", "white")):
        points = [
            (threat[2], found.interval)
            for threat in lookup.threats()
            if threat[0] == attack and threat[1] == norm
            if (found := lookup.accuracy(paradigm, features, features, threat)) is not None
        ]
        clean = lookup.accuracy(paradigm, features, features)
        if attack == "pgd" and clean is not None:
            points.insert(0, (0.0, clean.interval))
        if not points:
            continue
        epsilons = [epsilon for epsilon, _ in points]
        values = [100 * interval.value for _, interval in points]
        bars = [[100 * (i.value - i.low) for _, i in points], [100 * (i.high - i.value) for _, i in points]]
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "capsize": 1.5}
        line = "-" if attack == "pgd" else "none"
        axes.errorbar(epsilons, values, yerr=bars, linestyle=line, linewidth=1.2, elinewidth=0.7, mfc=face, **style)


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
        Line2D([], [], color=COLOURS[Features(name)], marker=MARKERS[Features(name)] if extra else "", markersize=4)
        if lines
        else Patch(color=COLOURS[Features(name)])
        for name in features
    ]
    names = list(features)
    if extra:
        handles += [
            Line2D([], [], color=GREY, marker="o", markersize=4),
            Line2D([], [], color=GREY, marker="o", markersize=4, linestyle="none", mfc="white"),
        ]
        names += ["filled: PGD (clean at 0)", "open: AutoAttack"]
    figure.legend(handles, names, loc="outside upper left", ncols=len(names), handlelength=1.4, columnspacing=1.6)


def _width(panels: int, each: float) -> float:
    """Return a figure's width in inches: the legend needs six, the page has room for 9.6."""
    return min(9.6, max(6.0, panels * each))


def _svg(draw: Callable[["Figure"], None], *, size: tuple[float, float], title: str) -> str:
    """Draw a figure and return its <svg> element alone, with a title that screen readers speak."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        buffer = io.StringIO()
        # Without these the file holds a date and addresses of vocabularies.
        none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=none, transparent=True)
    text = buffer.getvalue()
    body = text[text.index("<svg") :]
    body = body.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    # Ids of groups are never referred to and would occur in every figure of the page.
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    spoken = html.escape(title)
    shown = f'style="max-width:{size[0] / 9.6 * 70:.1f}rem" role="img" aria-label="{spoken}"'
    return re.sub(r"<svg([^>]*)>", rf"<svg\1 {shown}><title>{spoken}</title>", body, count=1)
