"""docs/workflow-sizes.md is what the code of today writes."""

from pathlib import Path

import pytest

from realfeatures.pipelines.fits import HEAD, rows

DOCUMENT = Path(__file__).parents[2] / "docs" / "workflow-sizes.md"


@pytest.mark.slow
def test_the_table_of_what_fits_is_the_emulators():
    text = DOCUMENT.read_text()
    assert text.startswith(HEAD)
    assert "".join(rows(["digits"])) in text
