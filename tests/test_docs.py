"""README and docs name files that exist."""

import re
from pathlib import Path

import pytest
from made_up_run import ROOT

ROOMS = tuple(path.name for path in (ROOT / "src" / "realfeatures").iterdir() if (path / "__init__.py").exists())
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = re.findall(r"\]\((?!\w+:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_is_named_with_its_room_exists(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w/.]+)`", page.read_text())
    assert [name for name in named if not (ROOT / "src" / "realfeatures" / name).exists()] == []
