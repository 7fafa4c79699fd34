"""Both reports whole: escaped, self-contained, reproducible, and honest about what is missing."""

import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from made_up_run import ROOT, SMALLER, Page, Run, copied

from realfeatures.errors import ArtifactError
from realfeatures.experiment.command import command_of
from realfeatures.experiment.presets import load_preset


def test_markdown_holds_the_same_numbers(original: Run) -> None:
    line = next(line for line in original.markdown.splitlines() if line.startswith("| contrastive |"))
    assert "47.3 [" in line
    heads = [i for i, line in enumerate(original.markdown.splitlines()) if line.startswith("| ---") or " ---:" in line]
    lines = original.markdown.splitlines()
    assert len(heads) >= 15
    for index in heads:
        width = lines[index].count("|")
        assert len(re.findall(r"(?<!\\)\|", lines[index - 1])) == width, lines[index - 1]
        assert len(re.findall(r"(?<!\\)\|", lines[index + 1])) == width, lines[index + 1]


def test_names_from_the_data_are_escaped(original: Run, page: Page) -> None:
    assert page.tags.count("script") == 1  # the page's own
    assert "&lt;script&gt;alert(1)" in original.html
    assert "<script>alert" not in original.html


@pytest.mark.parametrize("prepared", [False, True])
def test_the_data_set_is_called_by_its_configuration_and_not_by_its_artifact(tmp_path: Path, prepared: bool) -> None:
    chosen = ["data=folder:/nowhere/pets <b>|c", "paradigms=supervised", "features=natural", "experiments=E2"]
    run = Run(tmp_path, load_preset("digits", chosen), [0])
    if prepared:
        run.write_cell(run.grid[0])
    assert run.report()["data"]["title"] == "folder pets <b>|c"
    assert "folder pets <b>" not in run.html
    assert "folder pets &lt;b&gt;|c" in run.html
    assert "folder pets &lt;b>\\|c" in run.markdown


def test_the_page_is_self_contained_and_small(original: Run, page: Page) -> None:
    addresses = set(re.findall(r"https?://[^\s\"'<>)]*", original.html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    outside = [v for v in page.values if re.match(r"(src|href|xlink:href)=(?!#|data:image/png;base64,)", v)]
    assert outside == []
    assert not [value for value in page.values if value.startswith("on")]
    assert len(original.html.encode()) < 2_000_000


def test_every_picture_says_what_it_is(page: Page, original: Run) -> None:
    assert page.tags.count("img") == 11 * 10
    assert len([value for value in page.values if value.startswith("alt=")]) == page.tags.count("img")
    assert original.html.count('role="img" aria-label="') == page.tags.count("svg") == 7


def test_equal_results_give_equal_bytes(run: Run) -> None:
    before = {path.name: path.read_bytes() for path in run.out.iterdir() if path.is_file()}
    run.report()
    assert before == {path.name: path.read_bytes() for path in run.out.iterdir() if path.is_file()}
    assert set(before) == {"results.json", "report.html", "report.md"}


def test_a_measurement_that_is_missing_is_a_dash_and_never_zero(original: Run, tmp_path: Path, schema: dict) -> None:
    run = copied(original, tmp_path)
    for seed in (0, 1):
        shutil.rmtree(run.folder(f"seed{seed}/robust/masked/attack/robust"))
    results = run.report()
    jsonschema.validate(results, schema, jsonschema.Draft202012Validator)
    page = Page(run.html)
    assert page.table("encoder", "natural")[("masked",)]["robust"] == "—"
    assert set(list(page.table("paradigm", "features", "clean")[("masked", "robust")].values())[2:]) == {"—"}
    assert f"2 of {len(run.grid)} cells have not run" in re.sub(r"<[^>]*>", "", run.html)
    claim = next(one for one in results["claims"] if one["id"] == "C3")
    assert claim["verdict"] == "not tested"
    assert claim["missing"] == ["masked on robust"]


def test_an_experiment_of_which_nothing_ran_still_gives_a_report(tmp_path: Path, schema: dict) -> None:
    results = Run(tmp_path, load_preset("digits"), [0]).report()
    jsonschema.validate(results, schema, jsonschema.Draft202012Validator)
    assert results["rows"] == []
    assert {claim["verdict"] for claim in results["claims"]} == {"not tested"}


def test_a_selection_of_paradigms_and_features_gives_a_report(tmp_path: Path) -> None:
    chosen = load_preset(
        "digits", ["paradigms=supervised,contrastive", "features=natural,non_robust", "experiments=E1,E2"]
    )
    run = Run(tmp_path, chosen, [3])
    run.write()
    results = run.report()
    verdicts = {claim["id"]: claim["verdict"] for claim in results["claims"]}
    assert verdicts["C1"] == "supported"  # one seed, 58 points above chance
    assert verdicts["C2"] == "not tested"
    assert [list(row) for row in Page(run.html).table("encoder", "natural", "non_robust").values()]


def test_an_experiment_that_was_not_chosen_has_no_section(tmp_path: Path) -> None:
    run = Run(tmp_path, load_preset("digits", ["experiments=E3", "paradigms=supervised,contrastive"]), [0])
    run.report()
    titles = re.findall(r'<h2 id="(\w+)"', run.html)
    assert "origins" in titles
    assert not {"usefulness", "robustness", "augmentation", "transfer", "ilyas", "controls", "masking"} & set(titles)
    table = Page(run.html).table("features of", "set")  # nothing ran: its numbers are dashes
    assert table[("contrastive", "non_robust_contrastive")]["→ supervised"] == "—"


def test_a_changed_artifact_is_refused_before_anything_is_written(run: Run) -> None:
    (run.out / "report.html").unlink()
    record = run.folder("seed0/robust/masked/attack/robust") / "record.json"
    record.write_text(record.read_text().replace("500", "501"))
    with pytest.raises(ArtifactError, match=r"record\.json: sha256 does not match"):
        run.report()
    assert not (run.out / "report.html").exists()


def test_the_command_in_the_report_makes_the_same_experiment() -> None:
    assignments = ["probe.epochs=7", "data=folder:my pictures", "features=natural,robust", "attack.autoattack=[]"]
    preset = load_preset("digits", assignments)
    words = shlex.split(command_of(preset, seeds=[4, 5], out="OUT"))
    given = [value for flag, value in pairwise(words) if flag == "--set"]
    assert load_preset("digits", given) == preset
    assert [value for flag, value in pairwise(words) if flag == "--seed"] == ["4", "5"]


def test_a_report_is_written_without_torch(run: Run) -> None:
    before = run.html
    program = f"""
import pathlib, sys
from realfeatures.experiment.grid import cell_addresses, cells
from realfeatures.experiment.presets import load_preset
from realfeatures.report.page import write_report
preset = load_preset("digits", {SMALLER!r})
grid = cells(preset, [0, 1])
addresses = cell_addresses(grid, runtime=preset.runtime, code="code", versions={{}})
write_report(pathlib.Path({str(run.out)!r}), preset=preset, seeds=[0, 1], grid=grid, addresses=addresses)
sys.exit("torch" in sys.modules)
"""
    (run.out / "report.html").unlink()
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert run.html == before


def test_each_number_names_the_cells_that_it_comes_from(page: Page, original: Run) -> None:
    first, second = (original.addresses[f"seed{seed}/robust/masked/attack/robust"][:12] for seed in (0, 1))
    assert [value for value in page.values if value.endswith(f"; realfeatures show {first}, {second}")]
    assert "realfeatures show seed1/robust/masked/attack/robust" in page.text


def test_both_reports_say_where_the_departures_from_the_paper_and_its_code_are_listed(original: Run) -> None:
    for text in (original.html, original.markdown):
        assert "section 11 of" in text
    assert "## 11. Deviations" in (ROOT / "docs" / "method.md").read_text()
