"""The tables of a finished run on a terminal."""

import re
from pathlib import Path

import pytest
from made_up_run import Run
from rich.console import Console

from realfeatures.cli.summary_tables import summary_tables
from realfeatures.errors import ArtifactError


def test_the_terminal_shows_both_tables_and_the_verdicts(original: Run) -> None:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(summary_tables(original.out))
    text = console.export_text()
    assert re.search(r"contrastive .* 47\.3 \[", text)
    assert "AutoAttack L2 0.75" in text
    assert re.search(r"C7 .*inconclusive", text)


def test_the_terminal_tables_of_an_empty_folder_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no results\.json; run the experiment"):
        summary_tables(tmp_path)
