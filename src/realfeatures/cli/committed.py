"""docs/results.md from the results of committed runs: results/NAME/results.json and the command that made each.

`python -m realfeatures.cli.committed RESULTS DOCUMENT` writes it, as `make results` does. Nothing in it is typed.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realfeatures.errors import ArtifactError, RealFeaturesError
from realfeatures.report.rendering import environment
from realfeatures.report.section import Section
from realfeatures.report.sections import sections
from realfeatures.results.reading import RESULTS, read_results
from realfeatures.science.artifacts import write_bytes

logger = logging.getLogger(__name__)

COMMAND = "command.txt"
"""The command line of a committed run, beside its results.json."""


@dataclass(frozen=True)
class CommittedRun:
    """One committed run, ready for the template."""

    name: str
    command: str
    results: dict[str, Any]
    sections: tuple[Section, ...]

    @property
    def seconds(self) -> float:
        """The time of all its cells together."""
        return sum(cell["seconds"] or 0.0 for cell in self.results["cells"])


def document(folder: Path) -> str:
    """Return docs/results.md for the runs under a folder, in the order of their names; also for none.

    Raises:
        ArtifactError: a run has no results.json or no command.txt, or one of another schema version.
    """
    names = sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    runs = [_read(folder / name) for name in names]
    return environment(escape=False).get_template("committed.md.jinja").render(runs=runs)


def main(arguments: Sequence[str]) -> int:
    """Write the document of a folder of committed runs; return the exit status."""
    if len(arguments) != 2:
        logger.error("expected 2 arguments, RESULTS and DOCUMENT, got %d", len(arguments))
        return 2
    folder, path = map(Path, arguments)
    try:
        write_bytes(path, document(folder).encode())
    except RealFeaturesError as error:
        logger.error("%s", error)  # noqa: TRY400 - one line for a person, no traceback
        return 1
    return 0


def _read(folder: Path) -> CommittedRun:
    results = read_results(folder)
    try:
        command = (folder / COMMAND).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise ArtifactError(f"{folder}: holds no {COMMAND}; write the command that made its {RESULTS} there") from None
    return CommittedRun(folder.name, command, results, tuple(sections(results)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
