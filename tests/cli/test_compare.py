"""`realfeatures compare` and the runs that it finds: in folders, in files and in an object store."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
from made_up_rows import IMAGES, over, results
from made_up_run import ROOT
from seaweedfs import needs_s3

from realfeatures.cli import main as cli
from realfeatures.errors import ArtifactError
from realfeatures.results.earlier import earlier_results, read_run, series_of, stored_run
from realfeatures.store import ObjectStore
from realfeatures.store.reports import publish


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Call the command line in this process; returns exit code, standard output and standard error."""

    def main(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["realfeatures", "compare", *map(str, arguments)])
        code = cli.main()
        return code, *capsys.readouterr()

    return main


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Write a results.json and return its folder."""

    def save(name: str, content: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "results.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    return save


def test_compare_of_equal_runs_exits_with_0(call: Callable, saved: Callable) -> None:
    folder = saved("run", results(over(range(2), masked=400)))
    code, out, err = call(folder, folder / "results.json")
    assert (code, err) == (0, "")
    assert "The same: all 1 numbers." in out


def test_compare_exits_with_3_and_shows_what_left_first(call: Callable, saved: Callable) -> None:
    before = saved("before", results(over(range(3), masked=400, diffusion=300)))
    after = saved("after", results(over(range(3), masked=250, diffusion=301), code="b"))
    code, out, _ = call(before, after)
    assert code == 3
    assert out.index("Left their interval") < out.index("masked on natural") < out.index("set-up")
    assert "diffusion" not in out
    assert re.search(r"diffusion on natural .*within", call(before, after, "--all")[1])


def test_compare_prints_json_in_the_form_of_the_schema(call: Callable, saved: Callable) -> None:
    before = saved("before", results({("masked", 0): 400}))
    after = saved("after", results({("masked", 0): 401}))
    code, out, _ = call(before, after, "--json")
    assert code == 3
    found = json.loads(out)
    document = json.loads((ROOT / "docs" / "results.schema.json").read_text())
    jsonschema.Draft202012Validator({"$ref": "#/$defs/drift", "$defs": document["$defs"]}).validate(found)
    assert (found["broken"][0]["before"], found["run"]) == (0.8, str(after))


def nan(content: dict[str, Any]) -> dict[str, Any]:
    content["rows"][0]["value"] = float("nan")
    return content


def odd_paradigm(content: dict[str, Any]) -> dict[str, Any]:
    content["rows"][0]["paradigm"] = "<b>|_x"
    return content


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "no such run; expected a run's folder, its results.json, or store:NAME"),
        ("{", "not JSON; run the same command again to rewrite its results.json"),
        ("[1]", "holds no JSON object"),
        ("[" * 100_000, "not JSON"),
        (
            {**results({("masked", 0): 1}), "schema_version": 2},
            "has schema version 2, expected 3; run its command again with this release, which keeps finished cells",
        ),
        ({"schema_version": 3}, "results.json: preset: Field required"),
        (nan(results({("masked", 0): 1})), r"rows.0.value: "),
        (odd_paradigm(results({("masked", 0): 1})), "rows.0: Value error, paradigm '<b>|_x' is unknown; expected one"),
        (results({("diffusion", 0): 1}), "have no measurement in common"),
    ],
)
def test_a_run_that_cannot_be_compared_is_one_line(call: Callable, saved: Callable, content: Any, line: str) -> None:
    good = saved("good", results({("masked", 0): 400}))
    bad = good.parent / "none" if content is None else saved("bad", content)
    code, out, err = call(good, bad)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert line in err
    assert str(bad) in err


def test_one_run_alone_a_folder_without_results_and_a_wrong_name_are_one_line(
    call: Callable, saved: Callable, tmp_path: Path
) -> None:
    good = saved("good", results({("masked", 0): 400}))
    assert call(good)[0::2] == (2, f"error: {good}: is one run; name at least two, the one that is judged last\n")
    code, _, err = call(tmp_path, good)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "holds no results.json; run the experiment to its end first" in err
    assert "run name '../x'" in call("store:../x", good)[2]
    assert "no object store is named" in call("store:nightly", good)[2]


# Series


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("nightly-17", ("nightly", 17)),
        ("nightly-20261122040000", ("nightly", 20261122040000)),
        ("nightly-2026-11-22", ("nightly", 20261122)),
        ("nightly-2026-11-22t04-00z", ("nightly", 202611220400)),
        ("nightly-gpu-20261122t040000z", ("nightly-gpu", 20261122040000)),
        ("digits", None),
        ("cifar10-small", None),
        ("-3", None),
    ],
)
def test_a_recurring_run_s_name_is_its_series_and_a_mark(name: str, series: tuple[str, int] | None) -> None:
    assert series_of(name) == series


def put(store: ObjectStore, folder: Path, name: str, content: object) -> None:
    folder = folder / name
    folder.mkdir()
    for file in ("report.html", "report.md"):
        (folder / file).write_text("page")
    (folder / "results.json").write_text(content if isinstance(content, str) else json.dumps(content))
    publish(folder, name, store)


class TestInAStore:
    pytestmark: ClassVar = list(needs_s3)

    def test_the_last_ten_runs_before_this_one_of_the_same_series_are_found(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        for index in range(1, 14):
            put(store, tmp_path, f"nightly-{index}", results({("masked", 0): 400 + index}, code="a"))
        for other in ("nightly", "nightly-gpu-3", "weekly-2", "digits"):
            put(store, tmp_path, other, results({("masked", 0): 1}))
        found = earlier_results(store, "nightly-13")
        assert [one.name for one in found] == [f"nightly-{index}" for index in range(3, 13)]
        assert found[-1].results.rows[0].value == 412 / IMAGES
        assert earlier_results(store, "nightly-1") == []
        assert earlier_results(store, "nightly-gpu-3") == []

    def test_a_run_of_no_series_is_compared_with_what_its_name_held_before(
        self, store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert earlier_results(store, "digits") == []
        assert "not compared" not in caplog.text
        put(store, tmp_path, "digits", results({("masked", 0): 400}))
        assert [one.name for one in earlier_results(store, "digits")] == ["digits"]

    def test_unreadable_runs_are_warned_of_and_left_out(
        self, store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(store, tmp_path, "nightly-1", results({("masked", 0): 400}))
        put(store, tmp_path, "nightly-2", "{")
        put(store, tmp_path, "nightly-3", {"schema_version": 99})
        assert [one.name for one in earlier_results(store, "nightly-4")] == ["nightly-1"]
        assert "not compared with run nightly-2: " in caplog.text
        assert "has schema version 99" in caplog.text

    def test_a_stored_run_is_compared_by_its_name(
        self, store: ObjectStore, tmp_path: Path, call: Callable, saved: Callable
    ) -> None:
        put(store, tmp_path, "nightly-1", results({("masked", 0): 400}))
        now = saved("now", results({("masked", 0): 400}))
        location = store.settings.location
        code, out, _ = call("store:nightly-1", now, "--store", location)
        assert code == 0
        assert f"{now} compared with nightly-1." in out
        code, _, err = call("store:nightly-9", now, "--store", location)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "runs/nightly-9/results.json: there is no such object" in err
        assert stored_run(store, "nightly-1").results == read_run(now).results


def test_a_run_that_someone_else_wrote_may_hold_more(tmp_path: Path) -> None:
    content = {**results({("masked", 0): 400}), "new": 1}
    content["rows"][0]["new"] = 1
    (tmp_path / "other.json").write_text(json.dumps(content))
    assert read_run(tmp_path / "other.json").results.rows[0].value == 0.8
    (tmp_path / "other.json").write_bytes(b"\xff")
    with pytest.raises(ArtifactError, match="not JSON"):
        read_run(tmp_path / "other.json")
