"""The results of a run as a person at a prompt or in a notebook asks for them."""

import builtins
import copy
import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_up_rows import IMAGES, over, results

from realfeatures.errors import ArtifactError, ConfigError
from realfeatures.results.results import Results

PAGE = '<!doctype html><html><body class="x">a & "b" <script>1 < 2</script></body></html>'
ACCURACIES = {**over(range(2), masked=400, supervised=450), (0.25, 0): 300, (0.25, 1): 310}


def tables(content: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"usefulness": len(content["rows"]), "robustness": ()}


@pytest.fixture
def content() -> dict[str, Any]:
    return copy.deepcopy(results(ACCURACIES))


@pytest.fixture
def folder(tmp_path: Path, content: dict[str, Any]) -> Path:
    (tmp_path / "results.json").write_text(json.dumps(content))
    (tmp_path / "report.html").write_text(PAGE)
    return tmp_path


@pytest.fixture
def found(folder: Path) -> Results:
    return Results(folder, tables)


def test_an_accuracy_is_the_mean_over_the_seeds_with_its_interval(found: Results) -> None:
    accuracy = found.accuracy(paradigm="masked", features="natural")
    assert accuracy.value == pytest.approx((400 + 401) / 2 / IMAGES)
    assert accuracy.low < accuracy.value < accuracy.high
    assert (accuracy.n, accuracy.seeds) == (IMAGES, 2)


def test_any_field_of_a_measurement_chooses(found: Results) -> None:
    attacked = found.accuracy(paradigm="masked", features="natural", attack="pgd", norm="L2", epsilon=0.25)
    assert attacked.value == pytest.approx(305 / IMAGES)
    with pytest.raises(ConfigError, match="supervised on natural with a probe on robust: not measured"):
        found.accuracy(paradigm="supervised", features="natural", probe_features="robust")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"features": "robust"}, "masked on robust: not measured in .*; measured are: masked; supervised"),
        ({"attack": "pgd", "norm": "L2", "epsilon": 1}, "measured are: masked on natural; .* under pgd L2 0.25"),
        ({"features": "imaginary"}, "features 'imaginary' is unknown; expected one of: natural, "),
        ({"epsilon": "0.25"}, "epsilon '0.25': expected a number, such as 0.25"),
        ({"epsilon": None}, "epsilon None: expected a number"),
        ({"timestep": [5]}, r"timestep \[5\]: expected a whole number or None"),
        ({"colour": "red"}, "unknown field 'colour'; a measurement has: paradigm, features, probe_features, readout, "),
    ],
)
def test_what_was_not_measured_is_one_line_that_says_what_was(found: Results, asked: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        found.accuracy(**{"paradigm": "masked", "features": "natural", **asked})
    assert "\n" not in str(caught.value)


def test_tables_are_those_of_the_report_by_name(found: Results) -> None:
    assert found.table("usefulness") == len(ACCURACIES)
    with pytest.raises(ConfigError, match="table 'beauty' is unknown; expected one of: usefulness, robustness"):
        found.table("beauty")


def test_rows_come_as_a_frame_where_pandas_is_installed(found: Results) -> None:
    pytest.importorskip("pandas")
    frame = found.to_pandas()
    assert len(frame) == len(ACCURACIES)
    assert set(frame[frame.attack == "pgd"].epsilon) == {0.25}


def test_without_pandas_the_error_is_one_line(found: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_pandas(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(ConfigError, match="pandas is not installed"):
        found.to_pandas()


def test_a_notebook_shows_the_report_apart_from_its_own_page(found: Results) -> None:
    frames: list[dict[str, str | None]] = []

    class Frames(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list) -> None:
            assert tag == "iframe"
            frames.append(dict(attrs))

    Frames().feed(found._repr_html_())
    [frame] = frames
    assert frame["srcdoc"] == PAGE
    assert frame["sandbox"] == "allow-scripts"
    assert found.report.read_text() == PAGE


def test_a_report_that_is_gone_is_one_line(found: Results) -> None:
    found.report.unlink()
    with pytest.raises(
        ArtifactError, match=r"report\.html: No such file or directory; run the experiment again"
    ) as caught:
        found._repr_html_()
    assert "\n" not in str(caught.value)


def test_a_newer_release_s_results_ask_for_an_update(folder: Path, content: dict[str, Any]) -> None:
    (folder / "results.json").write_text(json.dumps({**content, "schema_version": 4}))
    with pytest.raises(ArtifactError, match=r"version 4, expected 3; a newer release wrote it; update realfeatures$"):
        Results(folder, tables)


def test_a_folder_without_results_and_one_of_an_older_release_are_refused(
    folder: Path, content: dict[str, Any], tmp_path: Path
) -> None:
    (folder / "results.json").write_text(json.dumps({**content, "schema_version": 2}))
    with pytest.raises(ArtifactError, match="schema version 2, expected 3; run its command again") as caught:
        Results(folder, tables)
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="holds no results"):
        Results(tmp_path / "empty", tables)
