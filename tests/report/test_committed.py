"""docs/results.md, written from the committed runs."""

import re
import shutil
from pathlib import Path

import pytest
from made_up_run import ROOT, Run

from realfeatures.cli.committed import document, main
from realfeatures.errors import ArtifactError


def test_the_document_of_committed_results_is_what_they_give() -> None:
    """After a change of results/ or of the report: make results."""
    assert (ROOT / "docs" / "results.md").read_text() == document(ROOT / "results")


def test_committed_results_are_written_with_their_command_and_numbers(original: Run, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "first_run"
    folder.mkdir(parents=True)
    shutil.copy(original.out / "results.json", folder)
    with pytest.raises(ArtifactError, match=r"first_run: holds no command\.txt"):
        document(folder.parent)
    (folder / "command.txt").write_text("realfeatures run --preset digits --out OUT\n")
    assert main([str(folder.parent), str(tmp_path / "results.md")]) == 0
    text = (tmp_path / "results.md").read_text()
    assert "realfeatures run --preset digits --out OUT" in text
    assert "## first\\_run: scikit-learn digits" in text
    assert re.search(r"^\| contrastive \| 98\.1 \[.*47\.3 \[", text, re.MULTILINE)


def test_no_committed_run_gives_a_document_that_says_so(tmp_path: Path) -> None:
    assert "No run has been committed yet." in document(tmp_path / "none")
