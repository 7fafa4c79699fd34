"""What both reports show of a run against earlier ones."""

import copy
import hashlib
import json
import re
from typing import Any

import jsonschema
import pytest
from made_up_rows import ODD
from made_up_run import ROOT, Page, Run

from realfeatures.experiment.presets import load_preset
from realfeatures.report.page import write_report
from realfeatures.results.earlier import NamedRun, parse_results
from realfeatures.results.statistics.intervals import wilson_interval


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = load_preset("digits", ["paradigms=supervised,masked", "features=natural,robust"])
    made = Run(tmp_path_factory.mktemp("run"), small, [0, 1])
    made.write()
    return made


def report(made: Run, earlier: list[NamedRun], name: str | None = None) -> dict[str, Any]:
    write_report(
        made.out,
        preset=made.preset,
        seeds=made.seeds,
        grid=made.grid,
        addresses=made.addresses,
        earlier=earlier,
        name=name,
    )
    return json.loads((made.out / "results.json").read_text())


def with_shift(content: dict[str, Any]) -> dict[str, Any]:
    """The same run of other code, in which one accuracy was far higher."""
    changed = copy.deepcopy(content)
    changed["code"] = "c" * 64
    for one in changed["rows"]:
        one["cell"] = hashlib.sha256(one["cell"].encode()).hexdigest()[:32]
        named = tuple(one[name] for name in ("paradigm", "features", "attack", "protocol"))
        if named == ("masked", "robust", "autoattack", "natural"):
            accuracy = wilson_interval(95, 100)
            one.update(value=accuracy.value, low=accuracy.low, high=accuracy.high)
    changed["claims"][0]["verdict"] = "not tested"
    return changed


def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "results.schema.json").read_text()))


def test_a_report_without_earlier_runs_has_no_such_section(finished: Run) -> None:
    found = report(finished, [])
    assert "drift" not in found
    assert "name" not in found
    assert "Drift" not in finished.html
    assert "Drift" not in finished.markdown


def test_the_report_shows_what_left_its_interval_and_the_run_s_name(finished: Run) -> None:
    plain = report(finished, [])
    found = report(finished, [parse_results(with_shift(plain), name="nightly-1")], "nightly-2")
    schema().validate(found)
    assert found["name"] == "nightly-2"
    assert found["rows"] == plain["rows"], "the run's own numbers do not depend on earlier runs"
    left = [one for one in found["drift"]["rows"] if one["verdict"] == "left"]
    names = [one["measurement"] for one in left]
    assert {(one["paradigm"], one["attack"]) for one in names} == {("masked", "autoattack")}
    table = Page(finished.html).table("accuracy of", "before, %")
    assert table[("masked on robust under autoattack L2 0.75",)]["before, %"].startswith("95.0")
    assert "<dt>Run</dt><dd>nightly-2</dd>" in finished.html
    assert '<p class="alarm"><strong>Left their interval: 1 of ' in finished.html
    assert "| masked on robust under autoattack L2 0.75 | 95.0 [" in finished.markdown
    assert "Run nightly-2: " in finished.markdown
    for text in (finished.html, finished.markdown):
        assert "not tested" in text
        assert "c" * 16 + "…" in text
        assert "nightly-2 compared with nightly-1." in text


def test_the_report_puts_what_was_not_reproduced_first(finished: Run) -> None:
    contradicted = report(finished, [])
    contradicted["rows"][0]["value"] = 0.5
    found = report(finished, [parse_results(contradicted, name="nightly-1")], "nightly-2")
    schema().validate(found)
    assert len(found["drift"]["broken"]) == 1
    for text in (finished.html, finished.markdown):
        assert "Not reproduced at the same address: 1." in text
        assert text.index("Not reproduced: the same address") < text.index("What else changed")
    assert '<p class="alarm"><strong>Not reproduced' in finished.html


def test_a_report_of_equal_runs_raises_no_alarm(finished: Run) -> None:
    found = report(finished, [parse_results(report(finished, []), name="nightly-1")], "nightly-2")
    schema().validate(found)
    assert 'class="alarm"' not in finished.html
    assert "Nothing of the set-up" in finished.markdown


def test_odd_names_are_escaped_in_both_reports(finished: Run) -> None:
    odd = report(finished, [])
    odd["device"]["processor"] = odd["preset"]["config"]["probe"]["odd"] = odd["claims"][0]["text"] = ODD
    odd["claims"].append({"id": "C9", "text": ODD, "verdict": ODD})
    for one in odd["rows"][:3]:
        one["value"] = 0.5
    report(finished, [parse_results(odd, name=ODD)], ODD)
    page = Page(finished.html)
    assert "b" not in page.tags
    assert finished.html.count("&lt;b&gt;") >= 8
    assert "<b>" not in finished.markdown
    for line in finished.markdown.splitlines():
        if "&lt;b>" in line:
            assert line.replace("&lt;b>\\|\\*x\\*\\_y\\`", "").count("&lt;b>") == 0, line
    lines = finished.markdown.splitlines()
    for index in (i for i, line in enumerate(lines) if line.startswith("| ---")):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines[index - 1 : index + 2]}
        assert len(widths) == 1, lines[index - 1 : index + 2]
