"""The report and results.json of a small run whose artifacts are real and whose numbers are made up here."""

import copy
import json
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
import torch
from rich.console import Console

from realfeatures.artifacts import commit, save_tensors, seal, write_json
from realfeatures.config import Preset
from realfeatures.errors import ArtifactError
from realfeatures.grid import Cell, cell_addresses, cells
from realfeatures.presets import load_preset
from realfeatures.reporting import summary_tables, write_report
from realfeatures.reporting.decomposition import verdict_of
from realfeatures.reporting.report import reproduce_command
from realfeatures.reporting.statistics import Interval

ROOT = Path(__file__).parents[1]
CLASSES = ["zero", "<script>alert(1)</script>", "a|b", *(f"class {index}" for index in range(3, 10))]
IMAGES, ATTACKED, AUTOATTACKED = 500, 250, 100

CLEAN = {
    "natural": {"supervised": 495, "contrastive": 494, "masked": 488, "diffusion": 490},
    "robust": {"supervised": 487, "contrastive": 489, "masked": 420, "diffusion": 480},
    "non_robust": {"supervised": 343, "contrastive": 240, "masked": 120, "diffusion": 229},
    "d_rand": {"supervised": 270, "contrastive": 130, "masked": 90, "diffusion": 115},
}
CONTROLS = {"natural": 470, "robust": 440, "non_robust": 148, "d_rand": 110}


class Run:
    """A run's folder, its arguments, and a way to change it."""

    def __init__(self, out: Path, preset: Preset, seeds: list[int]) -> None:
        self.out, self.preset, self.seeds = out, preset, seeds
        self.grid = cells(preset, seeds)
        self.addresses = cell_addresses(self.grid, runtime=preset.runtime, code="code", versions={})

    def write(self) -> None:
        for cell in self.grid:
            self.write_cell(cell)

    def write_cell(self, cell: Cell) -> None:
        role, address = cell.labels["role"], self.addresses[cell.key]
        folder = self.out / "partial" / address
        folder.mkdir(parents=True)
        attributes, record = {}, {}
        if role in ("data", "images"):
            save_split(folder, seed=cell.seed)
            attributes = {"classes": CLASSES}
            record = {} if role == "data" else {"synthesis": synthesis(str(cell.labels["features"]))}
        else:
            save_tensors(folder / "weights.safetensors", {"weights": torch.zeros(2)})
            record = {"measurements": measurements(cell)} if role == "attack" else {"history": history(cell)}
        seal(
            folder,
            kind=str(role),
            record=record,
            attributes=attributes,
            stage=cell.stage,
            config=cell.config.identity(),
            seed=cell.seed,
            address=address,
        )
        write_json(folder / "run.json", {"seconds": 2.5, "host": "here", "resumed": False})
        (self.out / "cells").mkdir(exist_ok=True)
        commit(folder, self.out / "cells" / address)

    def report(self) -> dict:
        write_report(self.out, preset=self.preset, seeds=self.seeds, grid=self.grid, addresses=self.addresses)
        return json.loads((self.out / "results.json").read_text())

    def folder(self, key: str) -> Path:
        return self.out / "cells" / self.addresses[key]

    @property
    def html(self) -> str:
        return (self.out / "report.html").read_text()

    @property
    def markdown(self) -> str:
        return (self.out / "report.md").read_text()


def save_split(folder: Path, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for split, count in (("train", 20), ("test", 12)):
        images = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
        save_tensors(folder / f"{split}.safetensors", {"images": images, "labels": torch.arange(count) % 10})


def synthesis(features: str) -> dict[str, float]:
    if features == "d_rand":
        return {"target_rate": 0.99, "target_rate_quantised": 0.98, "mean_l2_perturbation": 0.97}
    return {"distance_before": 4.2, "distance_after": 0.31, "distance_quantised": 0.33, "mean_l2_perturbation": 2}


def history(cell: Cell) -> list[dict]:
    start = 1 + cell.seed % 7 / 10
    return [{"epoch": epoch, "loss": start / epoch, "learning_rate": 0.1} for epoch in range(1, 11)]


def clean_correct(cell: Cell) -> int:
    paradigm, features, probe = (str(cell.labels[n]) for n in ("paradigm", "features", "probe_features"))
    shift = -7 * int(cell.labels["run_seed"])
    if paradigm == "adversarial":
        return 480 + shift
    if features == "none":
        return CONTROLS[probe] + shift
    if probe == "natural":  # the encoder's set hardly matters
        return CLEAN["natural"][paradigm] - (features != "natural") * 5 + shift
    return CLEAN[probe][paradigm] + (features == "natural") * 10 + shift


def measurements(cell: Cell) -> list[dict]:
    clean = clean_correct(cell)
    found = [measurement("none", "none", 0.0, clean, IMAGES)]
    for threat in cell.config.pgd:
        kept = clean / IMAGES * max(0.0, 1 - 1.3 * threat.epsilon)
        found.append(measurement("pgd", threat.norm, threat.epsilon, int(kept * ATTACKED), ATTACKED))
    for threat in cell.config.autoattack:
        kept = clean / IMAGES * (0.8 if cell.labels["paradigm"] == "adversarial" else 0.2)
        details = {"accuracy": {"clean": 1.0}, "checks": {"randomized": False, "zero_gradient": False}}
        one = measurement("autoattack", threat.norm, threat.epsilon, int(kept * AUTOATTACKED), AUTOATTACKED)
        found.append({**one, "details": details})
    return found


def measurement(attack: str, norm: str, epsilon: float, correct: int, n: int) -> dict:
    return {
        "attack": attack,
        "norm": str(norm),
        "epsilon": epsilon,
        "protocol": "natural",
        "metric": "clean_accuracy" if attack == "none" else "robust_accuracy",
        "correct": correct,
        "n": n,
        "details": {},
    }


class Page(HTMLParser):
    """The tables of a page as lists of rows of texts, its tags and its attributes' values."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: list[str] = []
        self.values: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.values += [f"{name}={value}" for name, value in attrs]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.inside = True
        elif tag == "small" and self.inside:
            self.tables[-1][-1][-1] += " | "

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.tables[-1][-1][-1] += data

    def table(self, *columns: str) -> dict[tuple[str, ...], dict[str, str]]:
        """Return the table whose heading starts with these, its rows by their leading texts."""
        found = next(one for one in self.tables if tuple(one[0][: len(columns)]) == columns)
        stubs = 2 if columns[0] in ("paradigm", "control", "source") else 1
        return {tuple(row[:stubs]): dict(zip(found[0], row, strict=True)) for row in found[1:]}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("run"), load_preset("digits"), [0, 1])
    run.write()
    run.report()
    return run


@pytest.fixture
def run(original: Run, tmp_path: Path) -> Run:
    """A copy that a test may change."""
    copied = copy.copy(original)
    copied.out = tmp_path / "run"
    shutil.copytree(original.out, copied.out)
    return copied


@pytest.fixture(scope="module")
def results(original: Run) -> dict:
    return json.loads((original.out / "results.json").read_text())


@pytest.fixture(scope="module")
def page(original: Run) -> Page:
    return Page(original.html)


def schema() -> dict:
    return json.loads((ROOT / "docs" / "results.schema.json").read_text())


def test_results_match_their_documented_schema(results: dict) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(results, schema(), jsonschema.Draft202012Validator)


def test_the_schema_refuses_a_field_that_it_does_not_document(results: dict) -> None:
    changed = copy.deepcopy(results)
    changed["rows"][0]["extra"] = 1
    with pytest.raises(jsonschema.ValidationError, match="extra"):
        jsonschema.validate(changed, schema(), jsonschema.Draft202012Validator)


def test_the_schema_describes_every_property() -> None:
    def undescribed(node: object, path: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        found = []
        for name, child in node.get("properties", {}).items():
            text = child.get("description", "")
            found += [] if text or "$ref" in child else [f"{path}.{name}"]
        return found + [one for name, child in node.items() for one in undescribed(child, f"{path}.{name}")]

    assert undescribed(schema(), "schema") == []


def test_a_row_is_one_flat_record_with_its_interval(original: Run, results: dict) -> None:
    attacks = [cell for cell in original.grid if cell.labels["role"] == "attack"]
    assert len(results["rows"]) == sum(len(measurements(cell)) for cell in attacks)
    row = next(
        row
        for row in results["rows"]
        if (row["paradigm"], row["features"], row["probe_features"], row["attack"], row["seed"])
        == ("contrastive", "non_robust", "non_robust", "none", 1)
    )
    assert row["experiment"] == "E1"
    assert (row["value"], row["n"], row["seconds"]) == (233 / 500, 500, 2.5)
    assert row["low"] < row["value"] < row["high"]
    assert row["cell"] == original.addresses["seed1/non_robust/contrastive/attack/non_robust"]


def test_rows_are_told_apart_by_experiment(results: dict) -> None:
    for row in results["rows"]:
        mixed, control = row["features"] != row["probe_features"], row["features"] == "none"
        expected = (
            "sources"
            if row["paradigm"] == "adversarial"
            else "controls"
            if control
            else "decomposition"
            if mixed
            else {"clean_accuracy": "E1", "robust_accuracy": "E2"}[row["metric"]]
        )
        assert row["experiment"] == expected


def test_the_usefulness_table_holds_the_mean_over_seeds_and_its_interval(page: Page) -> None:
    table = page.table("encoder", "natural", "robust", "non_robust", "d_rand")
    cell = table[("contrastive",)]["non_robust"]
    value, interval = cell.split(" | ")
    assert value == "47.3"  # 240 and 233 of 500
    low, high = (float(part) for part in interval.split(" – "))  # noqa: RUF001 - en dash of a range
    assert low < 46.6
    assert high > 48.0
    assert table[("raw pixels",)]["natural"].startswith("93.3")


def test_the_robustness_table_holds_every_attack(page: Page) -> None:
    table = page.table("paradigm", "features", "clean")
    row = table[("supervised", "robust")]
    assert list(row)[2:] == ["clean", "PGD L2 0.25", "PGD L2 0.5", "PGD L2 0.75", "AutoAttack L2 0.75"]
    assert row["AutoAttack L2 0.75"].startswith("19.0")


def test_the_sources_have_a_table_of_their_own(page: Page, original: Run) -> None:
    table = page.table("source", "makes", "clean")
    assert list(table) == [("adversarial", "robust"), ("supervised", "non_robust, d_rand")]
    row = table[("adversarial", "robust")]
    assert list(row)[2:] == ["clean", "PGD L2 0.25", "PGD L2 0.5", "PGD L2 0.75", "AutoAttack L2 0.75"]
    assert row["clean"].startswith("95.3")  # 480 and 473 of 500
    assert row["AutoAttack L2 0.75"].startswith("75.5")
    compared = page.table("paradigm", "features", "clean")[("supervised", "natural")]
    assert table[("supervised", "non_robust, d_rand")]["clean"] == compared["clean"]
    assert "| adversarial | robust | 95.3 [" in original.markdown


def test_the_sources_are_in_no_table_of_the_paradigms(page: Page) -> None:
    for columns in (("encoder", "natural"), ("paradigm", "features"), ("paradigm", "crafted set X")):
        assert all("adversarial" not in row for row in page.table(*columns))


def test_an_attack_on_the_source_alone_adds_no_column_to_the_paradigms(run: Run) -> None:
    for cell in run.grid:
        if cell.labels["role"] == "attack" and cell.labels["paradigm"] != "adversarial":
            shutil.rmtree(run.folder(cell.key))
    run.report()
    page = Page(run.html)
    assert page.tables
    heads = [table[0] for table in page.tables]
    assert ["paradigm", "features", "clean"] in heads
    assert page.table("source", "makes")[("adversarial", "robust")]["AutoAttack L2 0.75"].startswith("75.5")


def test_a_run_without_crafted_sets_has_no_table_of_sources(tmp_path: Path) -> None:
    run = Run(tmp_path, load_preset("digits", ["paradigms=supervised", "features=natural", "controls=[]"]), [0])
    run.write()
    run.report()
    assert "The sources" not in run.html
    assert "The sources" not in run.markdown


def test_both_reports_say_how_few_seeds_decide_and_which_encoder_is_a_source(original: Run) -> None:
    for text in (original.html, original.markdown):
        plain = " ".join(text.replace("\\_", "_").split())
        assert "One seed decides only where the interval lies 10 points beyond the threshold" in plain
        assert "two where it lies 7 points beyond it (14 and 10 where two paradigms are compared" in plain
        assert "its natural encoder is the very one that non_robust and d_rand were made with" in plain


def test_markdown_holds_the_same_numbers(original: Run) -> None:
    line = next(line for line in original.markdown.splitlines() if line.startswith("| contrastive |"))
    assert "47.3 [" in line
    heads = [i for i, line in enumerate(original.markdown.splitlines()) if line.startswith("| ---") or " ---:" in line]
    lines = original.markdown.splitlines()
    assert len(heads) >= 7
    for index in heads:
        width = lines[index].count("|")
        assert len(re.findall(r"(?<!\\)\|", lines[index - 1])) == width, lines[index - 1]
        assert len(re.findall(r"(?<!\\)\|", lines[index + 1])) == width, lines[index + 1]


def test_names_from_the_data_are_escaped(original: Run, page: Page) -> None:
    assert "script" not in page.tags
    assert "&lt;script&gt;" in original.html


@pytest.mark.parametrize("prepared", [False, True])
def test_the_data_set_is_called_by_its_configuration_and_not_by_its_artifact(tmp_path: Path, prepared: bool) -> None:
    chosen = ["data=folder:/nowhere/pets <b>|c", "paradigms=supervised", "features=natural", "controls=[]"]
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
    assert page.tags.count("img") == 4 * 10
    assert len([value for value in page.values if value.startswith("alt=")]) == page.tags.count("img")
    assert original.html.count('role="img" aria-label="') == page.tags.count("svg") == 4


def test_equal_results_give_equal_bytes(run: Run) -> None:
    before = {path.name: path.read_bytes() for path in run.out.iterdir() if path.is_file()}
    run.report()
    assert before == {path.name: path.read_bytes() for path in run.out.iterdir() if path.is_file()}
    assert set(before) == {"results.json", "report.html", "report.md"}


def test_a_measurement_that_is_missing_is_a_dash_and_never_zero(run: Run) -> None:
    for seed in (0, 1):
        shutil.rmtree(run.folder(f"seed{seed}/robust/masked/attack/robust"))
    results = run.report()
    jsonschema.validate(results, schema(), jsonschema.Draft202012Validator)
    page = Page(run.html)
    assert page.table("encoder", "natural")[("masked",)]["robust"] == "—"
    assert set(list(page.table("paradigm", "features", "clean")[("masked", "robust")].values())[2:]) == {"—"}
    assert f"2 of {len(run.grid)} cells have not run" in re.sub(r"<[^>]*>", "", run.html)
    claim = next(one for one in results["claims"] if one["id"] == "C3")
    assert claim["verdict"] == "not tested"
    assert claim["missing"] == ["masked on robust"]


def test_an_experiment_of_which_nothing_ran_still_gives_a_report(tmp_path: Path) -> None:
    results = Run(tmp_path, load_preset("digits"), [0]).report()
    jsonschema.validate(results, schema(), jsonschema.Draft202012Validator)
    assert results["rows"] == []
    assert {claim["verdict"] for claim in results["claims"]} == {"not tested"}


def test_a_selection_of_paradigms_and_features_gives_a_report(tmp_path: Path) -> None:
    chosen = load_preset(
        "digits", ["paradigms=supervised,contrastive", "features=natural,non_robust", "controls=pixels"]
    )
    run = Run(tmp_path, chosen, [3])
    run.write()
    results = run.report()
    verdicts = {claim["id"]: claim["verdict"] for claim in results["claims"]}
    assert verdicts["C1"] == "supported"  # one seed, 58 points above chance
    assert verdicts["C2"] == "not tested"
    assert [list(row) for row in Page(run.html).table("encoder", "natural", "non_robust").values()]


def test_a_changed_artifact_is_refused_before_anything_is_written(run: Run) -> None:
    (run.out / "report.html").unlink()
    record = run.folder("seed0/robust/masked/attack/robust") / "record.json"
    record.write_text(record.read_text().replace("500", "501"))
    with pytest.raises(ArtifactError, match=r"record\.json: sha256 does not match"):
        run.report()
    assert not (run.out / "report.html").exists()


def test_a_flag_of_autoattack_is_shown(run: Run) -> None:
    cell = next(one for one in run.grid if one.key == "seed0/robust/masked/attack/robust")
    record = json.loads((run.folder(cell.key) / "record.json").read_text())
    record["measurements"][-1]["details"]["checks"]["zero_gradient"] = True
    assert "None of its checks raised a flag" in run.html
    (run.folder(cell.key) / "manifest.json").unlink()
    seal(run.folder(cell.key), kind="attack", record=record, attributes={}, address=run.addresses[cell.key])
    run.report()
    assert re.search(r"seed0/robust/masked/attack/robust</code>, AutoAttack L2 0\.75: zero_gradient", run.html)


def test_the_decomposition_is_answered_in_words_from_the_numbers(original: Run) -> None:
    assert "With non_robust: the labels that the probe is fitted to lose the accuracy, more than" in original.html
    assert "nothing is lost that could be told from zero in supervised, contrastive and diffusion" in original.html
    table = Page(original.html).table("paradigm", "crafted set X")
    assert table[("contrastive", "non_robust")]["lost with encoder on X"].startswith("1.0")
    assert table[("contrastive", "non_robust")]["lost with probe on X"].startswith("48.8")


@pytest.mark.parametrize(
    ("encoder", "probe", "verdict"),
    [
        ((-0.30, -0.35, -0.25), (0.0, -0.05, 0.05), "neither loses what could be told from zero"),
        ((0.0, -0.05, 0.05), (-0.30, -0.35, -0.25), "neither loses what could be told from zero"),
        ((-0.30, -0.35, -0.25), (0.10, 0.05, 0.15), "the labels lose it"),
        ((0.10, 0.05, 0.15), (-0.30, -0.35, -0.25), "the encoder loses it"),
        ((0.10, 0.05, 0.15), (0.12, 0.07, 0.17), "both lose it"),
        ((0.10, 0.05, 0.15), (0.04, -0.02, 0.10), "the two cannot be told apart"),
    ],
)
def test_a_loss_that_cannot_be_told_from_zero_is_not_blamed(encoder: tuple, probe: tuple, verdict: str) -> None:
    assert verdict_of(Interval(*encoder), Interval(*probe)).startswith(verdict)


def test_published_numbers_stand_beside_ours_on_cifar10_alone(tmp_path: Path, original: Run) -> None:
    run = Run(tmp_path, load_preset("cifar10-small", ["paradigms=supervised"]), [0])
    run.write()
    run.report()
    assert "MadryLab/constructed-datasets: " not in original.html
    table = Page(run.html).table("What", "Attack")
    assert table[("standard training on D_NR",)]["Published"] in ("88.0", "0.0")


def test_published_numbers_are_those_of_their_sources() -> None:
    known = json.loads((ROOT / "tests" / "expected" / "published.json").read_text())
    shown = json.loads((ROOT / "src" / "realfeatures" / "reporting" / "published.json").read_text())
    assert {one["id"]: round(100 * one["value"], 6) for one in shown} == known


def test_the_command_in_the_report_makes_the_same_experiment() -> None:
    assignments = ["probe.epochs=7", "data=folder:my pictures", "features=natural,robust", "attack.autoattack=[]"]
    preset = load_preset("digits", assignments)
    words = shlex.split(reproduce_command(preset, seeds=[4, 5]))
    given = [value for flag, value in pairwise(words) if flag == "--set"]
    assert load_preset("digits", given) == preset
    assert [value for flag, value in pairwise(words) if flag == "--seed"] == ["4", "5"]


def test_the_terminal_shows_both_tables_and_the_verdicts(original: Run) -> None:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(summary_tables(original.out))
    text = console.export_text()
    assert re.search(r"contrastive .* 47\.3 \[", text)
    assert "AutoAttack L2 0.75" in text
    assert re.search(r"C7 .*not tested", text)


def test_the_terminal_tables_of_an_empty_folder_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no results\.json; run the experiment"):
        summary_tables(tmp_path)


def test_a_report_is_written_without_torch(run: Run) -> None:
    before = run.html
    program = f"""
import pathlib, sys
from realfeatures.grid import cell_addresses, cells
from realfeatures.presets import load_preset
from realfeatures.reporting import write_report
preset = load_preset("digits")
grid = cells(preset, [0, 1])
addresses = cell_addresses(grid, runtime=preset.runtime, code="code", versions={{}})
write_report(pathlib.Path({str(run.out)!r}), preset=preset, seeds=[0, 1], grid=grid, addresses=addresses)
sys.exit("torch" in sys.modules)
"""
    (run.out / "report.html").unlink()
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert run.html == before
