"""A comparison of runs for a terminal: what left its interval first."""

from rich.console import Group, RenderableType
from rich.text import Text

from realfeatures.cli.sections import draw_parts
from realfeatures.report.sections import drift as report
from realfeatures.results.drift import Drift


def drift_tables(drift: Drift) -> RenderableType:
    """Return what is news in a comparison."""
    headline = Text(drift.headline, style="bold green" if drift.quiet else "bold red")
    _, *parts = report.news(drift)
    return Group(headline, draw_parts(parts))


def every_number(drift: Drift) -> RenderableType:
    """Return all that was compared, and what only one side measured."""
    return draw_parts((report.every_number(drift), *report.only_one_side(drift)))
