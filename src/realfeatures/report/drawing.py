"""How the report's figures look: colours, style, and a matplotlib figure as inline SVG.

Text stays text and ids come from a fixed salt, so that equal results give equal bytes.
"""

import html
import io
import re
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

from realfeatures.experiment.vocabulary import Features

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = (
    *("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#8C6D1F", "#5B4B9A", "#7F7F7F", "#111827", "#9CA3AF", "#A6761D", "#1B9E77"),
)
"""Okabe and Ito's colours first, which the colour-blind tell apart; markers say the same without colour."""

COLOURS = dict(zip(Features, cycle(PALETTE), strict=False))
MARKERS = dict(zip(Features, cycle("os^DvP<>Xhdp*"), strict=False))
GREY, INK = "#6b7280", "#111827"
BLUES = ("#eff6ff", "#dbeafe", "#bfdbfe", "#93c5fd", "#60a5fa", "#3b82f6", "#2563eb", "#1d4ed8", "#1e40af", "#1e3a8a")
"""Shades for shares from 0 to 1, each for a tenth."""

LEGEND_COLUMNS = 6
"""Names of a legend side by side."""

TIP = "tip:"
"""Begins the gid of a part of a figure that has a tooltip."""

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


def draw_svg(draw: Callable[["Figure"], None], *, size: tuple[float, float], title: str) -> str:
    """Draw a figure and return its <svg> element alone, with a title that screen readers speak.

    A part whose gid starts with TIP shows the rest of it where a pointer rests on it.
    """
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
    body = re.sub(rf'<g id="{TIP}([^"]*)"([^>]*)>', r"<g\2><title>\1</title>", body)
    # Ids of groups are never referred to and would occur in every figure of the page.
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    spoken = html.escape(title)
    shown = f'style="max-width:{size[0] / 9.6 * 70:.1f}rem" role="img" aria-label="{spoken}"'
    return re.sub(r"<svg([^>]*)>", rf"<svg\1 {shown}><title>{spoken}</title>", body, count=1)


def figure_width(panels: int, each: float) -> float:
    """Return a figure's width in inches: the legend needs six, the page has room for 9.6."""
    return min(9.6, max(6.0, panels * each))


def colour_of(features: str) -> str:
    """Return the colour of a set; grey for what is trained on none."""
    return COLOURS[Features(features)] if features in tuple(Features) else GREY


def percent_axis(axes: "Axes", label: str) -> None:
    """Let the upright axis run over all percent."""
    axes.set_ylim(0, 102)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel(label)


def legend(figure: "Figure", handles: Mapping[str, "Artist"], *, length: float = 1.4) -> None:
    """Name a figure's marks above it, each handle as long as `length` letters."""
    columns = min(LEGEND_COLUMNS, len(handles))
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper left",
        ncols=columns,
        handlelength=length,
        columnspacing=1.6,
    )
