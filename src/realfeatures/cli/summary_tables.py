"""The usefulness and robustness tables and the verdicts for a terminal; the other sections are in the reports."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from realfeatures.report.section import Part
from realfeatures.report.sections import tables
from realfeatures.results.reading import read_results

if TYPE_CHECKING:
    from rich.console import RenderableType

TITLES = {
    "usefulness": "Usefulness: clean accuracy, % [95 % interval]",
    "robustness": "Robustness: accuracy under attack, %",
    "claims": "Claims",
}


def summary_tables(out: Path) -> "RenderableType":
    """Return the tables of E1 and E2 that it has, and the verdicts of a finished run, for rich to print.

    Raises:
        ArtifactError: the folder holds no results.json.
    """
    from realfeatures.cli.sections import draw_parts

    found = tables(read_results(out))
    claims = found["claims"]
    found["claims"] = replace(claims, columns=claims.columns[:-1], rows=tuple(row[:-1] for row in claims.rows), words=1)
    return draw_parts(Part(title, table=found[name]) for name, title in TITLES.items() if name in found)
