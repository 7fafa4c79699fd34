"""The trainings: every encoder's loss over its epochs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from realfeatures.experiment.about import Role
from realfeatures.experiment.vocabulary import ADVERSARIAL
from realfeatures.report.drawing import colour_of, draw_svg, figure_width, legend
from realfeatures.report.section import Part, Section
from realfeatures.results.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, Mapping[str, Sequence[Sequence[tuple[float, float]]]]]
"""Paradigm -> feature set -> one curve a seed, each a list of (epoch, loss)."""

_CAPTION = (
    "Mean training loss of each epoch; one line for each seed. Losses of different paradigms are different quantities."
)


def section(records: Records) -> Section:
    """Return the section; its figure is on the page alone."""
    curves = losses(records)
    part = Part(words=("No training has been recorded.",))
    if curves:
        part = Part(figure=lambda: draw_losses(curves), caption=_CAPTION)
    return Section("training", "Training", "Training", (part,))


def losses(records: Records) -> Curves:
    """Return every encoder's loss over its epochs, by paradigm and feature set."""
    curves: dict[str, dict[str, list[list[tuple[float, float]]]]] = {}
    for cell, found in records.with_role(Role.SOURCE, Role.ENCODER):
        points = [(row["epoch"], row["loss"]) for row in found.record.get("history", ()) if "loss" in row]
        if points:
            panel = curves.setdefault(str(cell.paradigm), {})
            panel.setdefault(str(cell.features), []).append(points)
    order = [*records.preset.paradigms, ADVERSARIAL]
    return {name: curves[name] for name in order if name in curves}


def draw_losses(curves: Curves) -> str:
    """Return the training loss over epochs: a panel a paradigm, a line a feature set and seed."""

    def draw(figure: "Figure") -> None:
        from matplotlib.lines import Line2D

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
        names = dict.fromkeys(features for sets in curves.values() for features in sets)
        legend(figure, {name: Line2D([], [], color=colour_of(name), markersize=4) for name in names})

    text = "Training loss over epochs, by paradigm, one line for each training set and seed"
    return draw_svg(draw, size=(figure_width(len(curves), 1.92), 2.6), title=text)
