"""E1: which features does each paradigm learn from?"""

from typing import TYPE_CHECKING

from realfeatures.experiment.measurement import matched, probed
from realfeatures.experiment.vocabulary import NONE, UNTRAINED, Control, Experiment, Features
from realfeatures.experiment.wording import control_name
from realfeatures.report.classifiers import features_of
from realfeatures.report.drawing import INK, colour_of, draw_svg, figure_width, legend, percent_axis
from realfeatures.report.section import Part, Section
from realfeatures.report.tables import Entry, Table
from realfeatures.results.rows import Accuracy, Content, Rows, chance, chosen, paradigms_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAR = 0.8
"""Share of a group's width that its bars fill."""

_WORDS = (
    "Clean accuracy on natural test images, in percent. Every encoder is trained on the set that heads its column;"
    " supervised models keep their own head, all others get a linear probe fitted to the same set and its labels."
    " “A → natural”: the encoder is trained on A, and its probe is fitted to natural images. Raw pixels have no"
    " encoder, and an untrained one is at its initialisation."
)
_CAPTION = (
    "Bars: mean over seeds, encoder and classifier on the same set. Whiskers: 95 % interval; for two seeds, from the"
    " lowest bound of a seed to the highest. Dashed: chance."
)


def section(results: Content) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.E1):
        return None
    part = Part(words=(_WORDS,), figure=lambda: bars(results), caption=_CAPTION, table=table(results))
    return Section(
        "usefulness", "Usefulness", "E1 · Usefulness: which features does each paradigm learn from?", (part,)
    )


def table(results: Content) -> Table:
    """Clean accuracy of each paradigm on each set, with the probe fitted to that set and to natural images."""
    rows = Rows.of(results)
    classifiers = rows.planned(Experiment.E1)
    sets = features_of(classifiers)
    mixed = [*(features for features in sets if features != Features.NATURAL), UNTRAINED]

    def line(paradigm: str) -> tuple[Entry, ...]:
        own = (rows.entry(matched(paradigm, features)) for features in sets)
        on_natural = (rows.entry(probed(paradigm, features, Features.NATURAL)) for features in mixed)
        return (control_name(paradigm), *own, *on_natural)

    pixels = [rows.entry(probed(Control.PIXELS, NONE, features)) for features in sets]
    controls = [(control_name(Control.PIXELS), *pixels, *("" for _ in mixed))] if any(pixels) else []
    columns = ("encoder", *sets, *(f"{features} → {Features.NATURAL}" for features in mixed))
    return Table(columns, (*map(line, paradigms_of(classifiers)), *controls)).without_empty_columns()


def bars(results: Content) -> str:
    """Return clean accuracy as bars, grouped by paradigm and control, with 95 % whiskers and the chance line."""
    shown = table(results)
    features = [name for name in shown.columns[1:] if "→" not in name]

    def draw(figure: "Figure") -> None:
        from matplotlib.patches import Patch

        axes = figure.subplots()
        width = BAR / max(1, len(features))
        for group, (_, *entries) in enumerate(shown.rows):
            for index, name in enumerate(features):
                if isinstance(entry := entries[index], Accuracy):
                    _bar(axes, group + (index - (len(features) - 1) / 2) * width, entry, name, width)
        axes.set_xticks(range(len(shown.rows)), [str(row[0]).replace(" ", "\n") for row in shown.rows])
        axes.tick_params(axis="x", length=0, labelsize=9)
        _chance_line(axes, chance(results), groups=len(shown.rows))
        axes.set_xlim(-0.5, len(shown.rows) - 0.2)
        percent_axis(axes, "clean accuracy, %")
        legend(figure, {name: Patch(color=colour_of(name)) for name in features})

    text = "Clean accuracy on natural test images, by paradigm, one bar for each training set"
    return draw_svg(draw, size=(figure_width(len(shown.rows), 1.6), 3.5), title=text)


def _chance_line(axes: "Axes", guessing: float | None, *, groups: int) -> None:
    if guessing is not None:
        axes.hlines(100 * guessing, -0.5, groups - 0.56, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.text(groups - 0.54, 100 * guessing, "chance", fontsize=8, va="center")


def _bar(axes: "Axes", x: float, accuracy: Accuracy, features: str, width: float) -> None:
    value, low, high = (100 * part for part in (accuracy.interval.value, accuracy.interval.low, accuracy.interval.high))
    axes.bar(x, value, width=0.9 * width, color=colour_of(features))
    axes.errorbar(x, value, yerr=[[value - low], [high - value]], color=INK, linewidth=0.9, capsize=1.8)
