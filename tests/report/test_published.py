"""Published numbers beside ours."""

import copy
import json
from pathlib import Path

from made_up_run import ROOT, Page, Run

from realfeatures.experiment.presets import load_preset
from realfeatures.report.sections.published import CIFAR10, is_cifar10


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
    shown = json.loads((ROOT / "src" / "realfeatures" / "report" / "sections" / "published.json").read_text())

    def expected(one: dict) -> object:
        scale = 100 if one["unit"] == "accuracy" else 1
        numbers = [round(scale * one[name], 6) for name in ("value", "upper") if name in one]
        return numbers if "upper" in one else numbers[0]

    assert {one["id"]: expected(one) for one in shown} == known
