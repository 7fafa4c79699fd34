"""A finished run, opened for a person at a prompt or in a notebook; imports no torch."""

from pathlib import Path

from realfeatures.report.sections import tables
from realfeatures.results.results import Results
from realfeatures.running.arguments import check_folder


def open_results(folder: Path | str) -> Results:
    """Return what a finished run measured, with the tables of its report; nothing is computed or written.

    Raises:
        ConfigError: `folder` is no path.
        ArtifactError: it holds no readable results.json of this release.

    Example:
        >>> open_results("runs/demo").accuracy(paradigm="masked", features="robust").value
        0.838
    """
    return Results(check_folder(folder, argument="folder"), tables)
