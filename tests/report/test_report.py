"""The report and results.json of a small run whose artifacts are real and whose numbers are made up here."""

import copy
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
import torch
from made_up_run import ROOT, SMALLER, Page, Run, copied, record_of
from rich.console import Console

from realfeatures.cli.committed import document, main
from realfeatures.cli.summary_tables import summary_tables
from realfeatures.errors import ArtifactError
from realfeatures.experiment.command import command_of
from realfeatures.experiment.config import ThreatModel
from realfeatures.experiment.presets import load_preset
from realfeatures.experiment.vocabulary import Norm
from realfeatures.report.masking import CHECKS
from realfeatures.report.published import CIFAR10, is_cifar10
from realfeatures.report.tables import MINUS
from realfeatures.science.artifacts import (
    seal,
)
from realfeatures.science.attacks.masking import check_masking


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("run"), load_preset("digits"), [0, 1])
    run.write()
    run.report()
    return run


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("smaller"), load_preset("digits", SMALLER), [0, 1])
    run.write()
    run.report()
    return run


@pytest.fixture
def run(smaller: Run, tmp_path: Path) -> Run:
    """A copy that a test may change."""
    return copied(smaller, tmp_path)


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
    measured = [record_of(cell)["measurements"] for cell in original.grid if cell.labels["role"] in ("attack", "knn")]
    assert len(results["rows"]) == sum(map(len, measured))
    row = next(
        row
        for row in results["rows"]
        if (row["paradigm"], row["features"], row["probe_features"], row["attack"], row["seed"], row["readout"])
        == ("contrastive", "non_robust", "non_robust", "none", 1, "linear_probe")
        and row["protocol"] == "natural"
    )
    assert {"E1", "E2", "E3", "decomposition"} <= set(row["experiments"])
    assert (row["value"], row["n"], row["seconds"]) == (233 / 500, 500, 2.5)
    assert row["low"] < row["value"] < row["high"]
    assert row["cell"] == original.addresses["seed1/non_robust/contrastive/attack/non_robust"]


def test_every_measurement_of_a_seed_has_a_key_of_its_own(results: dict) -> None:
    names = ("paradigm", "features", "probe_features", "readout", "protocol", "attack", "norm", "epsilon", "seed")
    keys = [tuple(row[name] for name in names) for row in results["rows"]]
    assert len(set(keys)) == len(keys)


def test_transfer_loss_curves_and_masking_are_lists_with_their_cells(original: Run, results: dict) -> None:
    one = next(one for one in results["transfer"] if (one["source"], one["target"]) == ("masked", "diffusion"))
    assert (one["features"], one["n"], one["transferred"], one["same_mistake"]) == ("natural", 40, 10, 6)
    assert one["cell"] == original.addresses["seed0/natural/transfer"]
    curve = results["loss_curves"][0]
    assert (curve["paradigm"], curve["attacked"], curve["info_nce"]) == ("contrastive", "info_nce", [1.0, 2.0, 4.0])
    checked = {(m["features"], m["protocol"]) for m in results["masking"] if m["paradigm"] == "supervised"}
    assert {("robust", "natural"), ("robust", "robust_set")} <= checked
    assert results["masking"][0]["checks"] == {"L2 flat_loss": False}


def test_the_usefulness_table_holds_the_mean_over_seeds_and_its_interval(page: Page) -> None:
    table = page.table("encoder", "natural", "robust", "non_robust", "d_rand")
    cell = table[("contrastive",)]["non_robust"]
    value, interval = cell.split(" | ")
    assert value == "47.3"  # 240 and 233 of 500
    low, high = (float(part) for part in interval.split(" – "))  # noqa: RUF001 - en dash of a range
    assert low < 46.6
    assert high > 48.0
    assert table[("raw pixels",)]["natural"].startswith("93.3")


def test_a_probe_on_natural_images_has_a_column_of_its_own(page: Page) -> None:
    table = page.table("encoder", "natural", "robust", "non_robust", "d_rand")
    assert table[("contrastive",)]["non_robust → natural"].startswith("97.1")  # 489 and 482 of 500
    assert table[("supervised",)]["non_robust → natural"].startswith("97.3")
    assert table[("masked",)]["untrained → natural"].startswith("93.3")
    assert table[("raw pixels",)]["non_robust → natural"] == ""


def test_the_robustness_table_holds_every_attack(page: Page) -> None:
    table = page.table("paradigm", "features", "clean")
    row = table[("supervised", "robust")]
    assert list(row)[2:] == ["clean", "PGD L2 0.25", "PGD L2 0.5", "PGD L2 0.75", "AutoAttack L2 0.75"]
    assert row["AutoAttack L2 0.75"].startswith("19.0")


def test_the_sources_have_a_table_of_their_own(page: Page, original: Run) -> None:
    table = page.table("source", "makes", "clean")
    by_supervised = "non_robust, d_rand, d_det, non_robust_noise"
    assert list(table) == [
        ("adversarially trained", "robust"),
        ("supervised", by_supervised),
        ("contrastive", "non_robust_contrastive"),
        ("masked", "non_robust_masked"),
        ("diffusion", "non_robust_diffusion"),
    ]
    row = table[("adversarially trained", "robust")]
    assert list(row)[2:] == ["clean", "PGD L2 0.25", "PGD L2 0.5", "PGD L2 0.75", "AutoAttack L2 0.75"]
    assert row["clean"].startswith("95.3")  # 480 and 473 of 500
    assert row["AutoAttack L2 0.75"].startswith("75.5")
    compared = page.table("paradigm", "features", "clean")[("supervised", "natural")]
    assert table[("supervised", by_supervised)]["clean"] == compared["clean"]
    assert "| adversarially trained | robust | 95.3 [" in original.markdown


def test_the_sources_are_in_no_table_of_the_paradigms(page: Page) -> None:
    for columns in (("encoder", "natural"), ("paradigm", "features"), ("paradigm", "crafted set X")):
        assert not [row for row in page.table(*columns) if "adversarial" in row[0]]


def test_what_was_not_attacked_has_its_planned_columns_and_dashes(run: Run) -> None:
    for cell in run.grid:
        if cell.labels["role"] == "attack" and cell.labels["paradigm"] != "adversarial":
            shutil.rmtree(run.folder(cell.key))
    run.report()
    page = Page(run.html)
    row = page.table("paradigm", "features", "clean")[("masked", "natural")]
    assert row["AutoAttack L2 0.75"] == row["clean"] == "—"
    source = page.table("source", "makes")[("adversarially trained", "robust")]
    assert source["AutoAttack L2 0.75"].startswith("75.5")


def test_a_run_without_crafted_sets_has_no_table_of_sources(tmp_path: Path) -> None:
    run = Run(tmp_path, load_preset("digits", ["paradigms=supervised", "features=natural", "experiments=E2"]), [0])
    run.write()
    run.report()
    assert "The sources" not in run.html
    assert "The sources" not in run.markdown


def test_both_reports_say_how_few_seeds_decide_and_which_encoder_is_a_source(original: Run) -> None:
    for text in (original.html, original.markdown):
        plain = " ".join(text.replace("\\_", "_").split())
        assert "One seed decides only where the interval lies 10 points beyond the threshold" in plain
        assert "two where it lies 7 points beyond it (14 and 10 where two paradigms are compared" in plain
        assert "natural encoder is the very one that non_robust and d_rand were made with" in plain


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
    assert "script" not in page.tags
    assert "&lt;script&gt;" in original.html


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


def test_a_measurement_that_is_missing_is_a_dash_and_never_zero(original: Run, tmp_path: Path) -> None:
    run = copied(original, tmp_path)
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
        "digits", ["paradigms=supervised,contrastive", "features=natural,non_robust", "experiments=E1,E2"]
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
    key = "seed0/robust/masked/attack/robust"
    assert "None of its checks raised a flag" in run.html
    raised = {"zero_gradient": True}
    rewrite(run, key, lambda record: record["measurements"][-1]["details"]["checks"].update(raised))
    run.report()
    assert re.search(rf"{key}</code>, AutoAttack L2 0\.75: zero_gradient", run.html)


def test_the_decomposition_is_answered_in_words_from_the_numbers(original: Run) -> None:
    assert (
        "With non_robust: the labels that the probe is fitted to lose more accuracy than the encoder" in original.html
    )
    assert "nothing is lost that could be told from zero in supervised, contrastive and diffusion" in original.html
    table = Page(original.html).table("paradigm", "crafted set X")
    assert table[("contrastive", "non_robust")]["lost with encoder on X"].startswith("1.0")
    assert table[("contrastive", "non_robust")]["lost with probe on X"].startswith("48.8")
    assert table[("contrastive", "non_robust")]["the first less the second"].startswith(f"{MINUS}47.8")
    assert table[("contrastive", "non_robust")]["intervals"] == "MOVER, unpaired"  # this run keeps no flags


def test_published_numbers_stand_beside_ours_on_cifar10_alone(tmp_path: Path, original: Run) -> None:
    run = Run(tmp_path, load_preset("cifar10-small", ["paradigms=supervised", "experiments=E1,E2"]), [0])
    run.write()
    run.report()
    assert "MadryLab/constructed-datasets" not in original.html
    table = Page(run.html).table("what", "attack", stubs=2)
    row = table[("standard training on D_NR", "clean")]
    assert (row["published"], row["here"].split(" | ")[0]) == ("88", "68.6")
    assert "ResNet-50" in row["its protocol"]
    assert table[("adversarial training at L2 0.5", "clean")]["here"].startswith("96.0")
    assert table[("standard training on natural images", "PGD L2 0.25")]["published"] == "7 to 9"
    assert table[("DDPM, quality of its samples, with EMA", "")]["here"] == "—"


def test_a_copy_of_cifar10_in_a_folder_is_known_by_its_classes(results: dict) -> None:
    changed = copy.deepcopy(results)
    changed["data"]["classes"] = sorted(CIFAR10)
    assert is_cifar10(changed)
    assert not is_cifar10(results)


def test_published_numbers_are_those_of_their_sources() -> None:
    known = json.loads((ROOT / "tests" / "expected" / "published.json").read_text())
    shown = json.loads((ROOT / "src" / "realfeatures" / "report" / "published.json").read_text())

    def expected(one: dict) -> object:
        scale = 100 if one["unit"] == "accuracy" else 1
        numbers = [round(scale * one[name], 6) for name in ("value", "upper") if name in one]
        return numbers if "upper" in one else numbers[0]

    assert {one["id"]: expected(one) for one in shown} == known


def test_the_command_in_the_report_makes_the_same_experiment() -> None:
    assignments = ["probe.epochs=7", "data=folder:my pictures", "features=natural,robust", "attack.autoattack=[]"]
    preset = load_preset("digits", assignments)
    words = shlex.split(command_of(preset, seeds=[4, 5], out="OUT"))
    given = [value for flag, value in pairwise(words) if flag == "--set"]
    assert load_preset("digits", given) == preset
    assert [value for flag, value in pairwise(words) if flag == "--seed"] == ["4", "5"]


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


def test_the_sources_of_features_and_their_targets_stand_beside_natural_and_chance(page: Page) -> None:
    table = page.table("features of", "set")
    assert table[("supervised", "non_robust")]["→ contrastive"].startswith("47.3")
    assert table[("diffusion", "non_robust_diffusion")]["→ masked"].startswith("19.3")  # 100 and 93 of 500
    assert table[("natural images", "natural")]["→ masked"].startswith("96.9")
    assert table[("chance", "")]["→ masked"] == "10.0"


def test_each_augmentation_of_the_probe_has_its_row(page: Page) -> None:
    table = page.table("paradigm", "features", "augmentation", stubs=3)
    assert {row[2] for row in table} == {"none", "crop and flip", "SimCLR's", "Gaussian noise"}
    assert {row[:2] for row in table} == {
        (paradigm, features)
        for paradigm in ("contrastive", "masked", "diffusion")
        for features in ("natural", "robust")
    }
    assert table[("masked", "robust", "SimCLR's")]["PGD L2 0.25"].startswith("56.0")


def test_what_is_measured_to_gate_a_claim_is_in_no_table_of_trained_encoders(page: Page) -> None:
    for columns, count in (
        (("paradigm", "features", "augmentation"), 24),
        (("paradigm", "features", "one view"), 6),
    ):
        table = page.table(*columns, stubs=3)
        assert len(table) == count
        assert not {"untrained", "none", "adversarial", "pixels"} & {name for row in table for name in row[:2]}


def test_both_protocols_of_robustness_have_a_table(original: Run, page: Page) -> None:
    assert "From natural images" in original.html
    assert "From images of the robust set" in original.html
    tables = [table for table in page.tables if table[0][:3] == ["paradigm", "features", "clean"]]
    assert len([table for table in tables if table[0][-1] == "AutoAttack L2 0.75"]) == 2


def test_ilyas_sets_and_their_controls_have_a_table(page: Page) -> None:
    table = page.table("trained on", "control")
    assert [row[0] for row in table][-4:] == ["d_det", "non_robust_noise", "shuffled", "d_rand_labels"]
    assert table[("d_rand",)]["clean"].startswith("53.3")
    assert table[("shuffled",)]["control"] == "natural images, labels shuffled"


def test_every_encoder_of_the_decomposition_is_read_by_a_linear_probe(page: Page) -> None:
    table = page.table("paradigm", "encoder on", "probe on natural")
    assert table[("supervised", "natural")]["probe on non_robust"].startswith("69.9")  # 353 and 346 of 500
    assert table[("masked", "nothing (untrained)")]["probe on robust"].startswith("87.3")
    assert table[("raw pixels", "")]["probe on d_rand"].startswith("21.3")
    assert table[("masked", "robust")]["probe on non_robust"] == ""  # no such cell: neither a number nor a dash


def test_the_controls_stand_beside_what_they_control(page: Page) -> None:
    row = page.table("paradigm", "encoder on", "fitted to", stubs=3)[("contrastive", "natural", "natural")]
    assert row["its accuracy"].startswith("98.1")
    assert row["nearest neighbours"].startswith("97.1")
    swept = page.table("paradigm", "encoder on", "probe on", stubs=3)[("diffusion", "natural", "natural")]
    assert len(swept) > 4
    assert {value.split(" | ")[0] for name, value in swept.items() if name.startswith("t = ")} == {"97.3"}
    free = next(table for table in page.tables if table[0][-1].startswith("PGD on the representation"))
    assert {row[-1].split(" | ")[0] for row in free[1:]} == {"50.0"}


def test_the_transfer_of_attacks_is_split_by_mistake_and_says_how_many_examples_it_is_of(page: Page) -> None:
    table = page.table("features", "attack", "source", "target", stubs=4)
    row = table[("robust", "L2 0.5", "masked", "diffusion")]
    shares = [row[name].split(" | ")[0] for name in ("transferred", "same mistake", "different mistake")]
    assert (row["n"], shares) == ("40", ["25.0", "15.0", "10.0"])
    assert "<title>masked → diffusion: n = 40 for each of 2 seeds</title>" in page.text


def test_a_source_that_nothing_fools_has_no_transfer_rate(run: Run) -> None:
    rewrite(run, "seed0/natural/transfer", lambda record: [one.update(NOT_FOOLED) for one in record["transfer"]])
    rewrite(run, "seed1/natural/transfer", lambda record: [one.update(NOT_FOOLED) for one in record["transfer"]])
    run.report()
    table = Page(run.html).table("features", "attack", "source", "target", stubs=4)
    assert table[("natural", "L2 0.5", "masked", "masked")]["transferred"] == "—"


NOT_FOOLED = {"n": 0, "transferred": 0, "same_mistake": 0, "different_mistake": 0}


def test_both_losses_are_drawn_for_each_attacked_loss(page: Page, original: Run) -> None:
    for attacked in ("InfoNCE", "cross-entropy"):
        assert f"attack on {attacked}: non_robust, Linf 8/255" in original.html
        row = page.table("encoder and attack")[("contrastive on natural, Linf 8/255", attacked)]
        assert (row[attacked], row["accuracy, %"]) == ("1 → 4", "100.0 → 25.0")


def test_a_sign_of_gradient_masking_is_shown_beside_its_table_and_in_its_list(run: Run) -> None:
    key = "seed0/robust/masked/attack/robust"
    assert "None of them was found" in run.html
    rewrite(run, key, lambda record: record["masking"]["checks"].update({"L2 flat_loss": True}))
    run.report()
    text = "masked on robust (linear probe, started at natural, seed 0): L2 flat_loss: the gradient leads nowhere"
    robustness = run.html[run.html.index("From natural images") : run.html.index("From images of the robust set")]
    listed = run.html[run.html.index('<h2 id="masking"') : run.html.index('<h2 id="sets"')]
    assert text in robustness
    assert text in listed
    assert f"realfeatures show {run.addresses[key][:12]}: L2 lowest_gradient 0.125" in listed
    assert run.markdown.replace("\\_", "_").count(text) >= 2


def test_the_report_explains_every_sign_of_gradient_masking_that_is_looked_for() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    threat = ThreatModel(norm=Norm.L2, epsilon=0.5)
    images, labels = torch.full((4, 3, 2, 2), 0.5), torch.tensor([0, 1, 2, 0])
    found = check_masking(
        model, images, labels, threat=threat, steps=1, step_size=0.1, generator=torch.Generator(), batch_size=4
    )
    assert found.checks.keys() <= CHECKS.keys()
    pattern = schema()["$defs"]["masking"]["properties"]["checks"]["propertyNames"]["pattern"]
    assert all(re.search(pattern, f"L2 {name}") for name in CHECKS)


def test_an_experiment_that_was_not_chosen_has_no_section(tmp_path: Path) -> None:
    run = Run(tmp_path, load_preset("digits", ["experiments=E3", "paradigms=supervised,contrastive"]), [0])
    run.report()
    titles = re.findall(r'<h2 id="(\w+)"', run.html)
    assert "origins" in titles
    assert not {"usefulness", "robustness", "augmentation", "transfer", "ilyas", "controls", "masking"} & set(titles)
    table = Page(run.html).table("features of", "set")  # nothing ran: its numbers are dashes
    assert table[("contrastive", "non_robust_contrastive")]["→ supervised"] == "—"


def test_each_number_names_the_cells_that_it_comes_from(page: Page, original: Run) -> None:
    first, second = (original.addresses[f"seed{seed}/robust/masked/attack/robust"][:12] for seed in (0, 1))
    assert [value for value in page.values if value.endswith(f"; realfeatures show {first}, {second}")]
    assert "realfeatures show seed1/robust/masked/attack/robust" in page.text


def test_the_departures_from_the_paper_and_from_its_code_are_listed(original: Run) -> None:
    for text in (original.html, original.markdown):
        assert "Departures from the paper" in text
        assert "PGD descends the cross-entropy" in text
        assert "rounded to 256 levels" in text


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


def rewrite(run: Run, key: str, change: Callable[[dict], object]) -> None:
    """Change a cell's record as if it had measured something else."""
    folder = run.folder(key)
    manifest = json.loads((folder / "manifest.json").read_text())
    record = json.loads((folder / "record.json").read_text())
    change(record)
    (folder / "manifest.json").unlink()
    seal(folder, kind=manifest["kind"], record=record, attributes={}, address=run.addresses[key])
