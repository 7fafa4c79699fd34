"""A finished run whose numbers are made up, its page and its results.json, for the tests of every section."""

import json
from pathlib import Path

import pytest
from made_up_run import ROOT, SMALLER, Page, Run, copied

from realfeatures.experiment.presets import load_preset


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two seeds of all of digits."""
    return reported(Run(tmp_path_factory.mktemp("run"), load_preset("digits"), [0, 1]))


@pytest.fixture(scope="session")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two seeds of a few of its cells."""
    return reported(Run(tmp_path_factory.mktemp("smaller"), load_preset("digits", SMALLER), [0, 1]))


@pytest.fixture
def run(smaller: Run, tmp_path: Path) -> Run:
    """A copy that a test may change."""
    return copied(smaller, tmp_path)


@pytest.fixture(scope="session")
def results(original: Run) -> dict:
    return json.loads((original.out / "results.json").read_text())


@pytest.fixture(scope="session")
def page(original: Run) -> Page:
    return Page(original.html)


@pytest.fixture(scope="session")
def schema() -> dict:
    return json.loads((ROOT / "docs" / "results.schema.json").read_text())


def reported(run: Run) -> Run:
    run.write()
    run.report()
    return run
