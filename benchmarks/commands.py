"""How long a person waits for each command that computes nothing: the median of several whole processes.

make bench runs this after the stages.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPEATS = 5


def main() -> None:
    """Time the commands and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = str(Path(folder) / "paper.yaml")
        commands = [
            ["--help"],
            ["plan", "--preset", "digits"],
            ["compile", "--preset", "digits", "--image", "image", "-o", compiled],
            ["compile", "--preset", "paper", "--image", "image", "-o", compiled],
        ]
        table = Table("command", "seconds")
        for arguments in commands:
            shown = " ".join(part for part in arguments if part != compiled)
            table.add_row(f"realfeatures {shown}", f"{_median_seconds(arguments):.2f}")
    Console().print(table)


def _median_seconds(arguments: list[str]) -> float:
    _seconds(arguments)
    return statistics.median(_seconds(arguments) for _ in range(REPEATS))


def _seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "realfeatures.cli.main", *arguments], check=True, capture_output=True)  # noqa: S603
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
