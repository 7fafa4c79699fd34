"""A small run whose artifacts are real and whose numbers are made up here, and a page's tables as lists of texts."""

import copy
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import torch

from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell, cell_addresses, cells
from realfeatures.report.page import write_report
from realfeatures.science.artifacts import commit, save_tensors, seal, write_json

ROOT = Path(__file__).parents[1]
CLASSES = ["zero", "<script>alert(1)</script>", "a|b", *(f"class {index}" for index in range(3, 10))]
IMAGES, ATTACKED, AUTOATTACKED = 500, 250, 100

NATURAL = {"supervised": 495, "contrastive": 494, "masked": 488, "diffusion": 490, "adversarial": 480}
FITTED = {
    "robust": {"supervised": 487, "contrastive": 489, "masked": 420, "diffusion": 480},
    "non_robust": {"supervised": 343, "contrastive": 240, "masked": 120, "diffusion": 229},
    "d_rand": {"supervised": 270, "contrastive": 130, "masked": 90, "diffusion": 115},
}
NOTHING = {"natural": 470, "robust": 440, "non_robust": 148, "d_rand": 110}
OTHER = 100
"""Correct answers of what is fitted to any other set."""


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
        role, address = cell.role, self.addresses[cell.key]
        folder = self.out / "partial" / address
        folder.mkdir(parents=True)
        attributes, record = {}, {}
        if role in ("data", "images"):
            save_split(folder, seed=cell.seed)
            attributes = {"classes": CLASSES}
            record = {} if role == "data" else {"synthesis": synthesis(str(cell.features))}
        else:
            save_tensors(folder / "weights.safetensors", {"weights": torch.zeros(2)})
            record = record_of(cell)
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

    def rewrite(self, key: str, change: Callable[[dict], object]) -> None:
        """Change a cell's record as if it had measured something else."""
        folder = self.folder(key)
        manifest = json.loads((folder / "manifest.json").read_text())
        record = json.loads((folder / "record.json").read_text())
        change(record)
        (folder / "manifest.json").unlink()
        seal(folder, kind=manifest["kind"], record=record, attributes={}, address=self.addresses[key])

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


def record_of(cell: Cell) -> dict:
    match cell.role:
        case "attack":
            masking = {"checks": {"L2 flat_loss": False}, "details": {"L2 lowest_gradient": 0.125}}
            return {"measurements": measurements(cell), **({"masking": masking} if cell.config.autoattack else {})}
        case "knn":
            return {"measurements": [measurement("none", "none", 0.0, clean_correct(cell) - 5, IMAGES)]}
        case "transfer":
            return {"transfer": transfers(cell)}
        case "loss_curves":
            return {"loss_curves": [loss_curve("info_nce"), loss_curve("cross_entropy")]}
    return {"history": history(cell)}


def transfers(cell: Cell) -> list[dict]:
    read = [key for port, key in cell.inputs.items() if port.startswith("encoder_")]
    models = [key.split("/")[2] for key in read]  # seed0/natural/masked/encoder
    return [
        {
            "source": source,
            "target": target,
            "norm": "L2",
            "epsilon": 0.5,
            "n": 40,
            "transferred": 40 if source == target else 10,
            "same_mistake": 40 if source == target else 6,
            "different_mistake": 0 if source == target else 4,
        }
        for source in models
        for target in models
    ]


def loss_curve(attacked: str) -> dict:
    rising, still = [1.0, 2.0, 4.0], [1.0, 1.0, 1.25]
    losses = {"info_nce": still, "cross_entropy": still} | {attacked: rising}
    return {
        "attacked": attacked,
        "norm": "Linf",
        "epsilon": 8 / 255,
        "step_size": 1 / 255,
        **losses,
        "accuracy": [1.0, 0.5, 0.25],
        "n": 64,
    }


def clean_correct(cell: Cell) -> int:
    read = cell.measurement
    paradigm, features, probe = read.paradigm, read.features, read.probe_features
    shift = -7 * cell.run_seed
    if features in ("none", "untrained"):
        return NOTHING[probe] + shift
    if probe == "natural":  # the encoder's set hardly matters
        return NATURAL[paradigm] - (features != "natural") * 5 + shift
    fitted = FITTED[probe][paradigm] if probe in FITTED else OTHER
    return fitted + (features == "natural") * 10 + shift


def measurements(cell: Cell) -> list[dict]:
    clean, protocol = clean_correct(cell), str(cell.measurement.protocol)
    found = [measurement("none", "none", 0.0, clean, IMAGES)]
    for threat in cell.config.pgd:
        kept = clean / IMAGES * max(0.0, 1 - 1.3 * threat.epsilon)
        found.append(measurement("pgd", threat.norm, threat.epsilon, int(kept * ATTACKED), ATTACKED))
    for threat in cell.config.representation:
        found.append(measurement("pgd_representation", threat.norm, threat.epsilon, ATTACKED // 2, ATTACKED))
    for threat in cell.config.autoattack:
        kept = clean / IMAGES * (0.8 if cell.paradigm == "adversarial" else 0.2)
        details = {"accuracy": {"clean": 1.0}, "checks": {"randomized": False, "zero_gradient": False}}
        one = measurement("autoattack", threat.norm, threat.epsilon, int(kept * AUTOATTACKED), AUTOATTACKED)
        found.append({**one, "details": details})
    return [{**one, "protocol": protocol} for one in found]


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


STUBS = {"paradigm": 2, "control": 2, "source": 2, "features of": 2, "encoder and attack": 2}
"""How many columns say what a row is, by the first one, where it is not one."""


class Page(HTMLParser):
    """The tables of a page as lists of rows of texts, its tags and its attributes' values."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: list[str] = []
        self.values: list[str] = []
        self.text = text
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

    def table(self, *columns: str, stubs: int | None = None) -> dict[tuple[str, ...], dict[str, str]]:
        """Return the table whose heading starts with these, its rows by their leading texts."""
        found = next(one for one in self.tables if tuple(one[0][: len(columns)]) == columns)
        names = stubs or STUBS.get(columns[0], 1)
        return {tuple(row[:names]): dict(zip(found[0], row, strict=True)) for row in found[1:]}


SMALLER = ["paradigms=supervised,masked", "features=natural,robust", "experiments=E1,E2,E5"]


def copied(original: Run, folder: Path) -> Run:
    changed = copy.copy(original)
    changed.out = folder / "run"
    shutil.copytree(original.out, changed.out)
    return changed
