"""What is added to the study takes at most five places: a paradigm, an experiment, a data set, a claim.

A place is a file that is edited or new. Each addition is made to a copy of the package, which then runs to its report.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "src/realfeatures"
MOST = 5

Edits = Mapping[str, list[tuple[str, str]]]
"""For each file of the package what is replaced by what; an empty text is replaced by a whole new file."""

TINY = {
    "data.train_size": 40,
    "data.test_size": 20,
    "paradigms": "supervised,rotation",
    "features": "natural,robust",
    "supervised.optimizer.epochs": 1,
    "adversarial.optimizer.epochs": 1,
    "probe.epochs": 1,
    "robust.steps": 1,
    "non_robust.steps": 1,
    "attack.images": 10,
    "attack.pgd_steps": 1,
    "attack.autoattack": "[]",
    "attack.autoattack_images": 10,
    "attack.masking_images": 0,
    "transfer.images": 10,
    "transfer.steps": 1,
    "loss_curves.images": 10,
}

ROTATION = '''"""Rotation prediction (Gidaris et al. 2018): which of four quarter turns was made of an image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realfeatures.experiment.config.paradigms import RotationConfig
from realfeatures.science.context import Run
from realfeatures.science.data.augment import crop_flip
from realfeatures.science.data.images import ImageSet
from realfeatures.science.models.resnet import ResNet
from realfeatures.science.paradigms.base import ImageShape, Pretrained, WithHead, examples_of, frozen, place
from realfeatures.science.training import train


def build(config: RotationConfig, shape: ImageShape) -> ResNet:
    """Return the ResNet at its initialisation."""
    return ResNet(config.model, channels=shape.channels)


def pretrain(config: RotationConfig, images: ImageSet, run: Run) -> Pretrained:
    """Train a ResNet under a classifier of four turns, which is then thrown away; labels are not used."""
    shape = ImageShape.of(images)
    encoder = build(config, shape)
    model = place(WithHead(encoder, nn.Linear(encoder.dimension, 4)), run).train()
    classify = run.mixed(model)

    def loss(batch: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        seen = crop_flip(batch, config.augmentation, generator, run.memory_format)
        turns = torch.arange(len(seen), device=seen.device) % 4
        turned = torch.stack([image.rot90(int(turn), (1, 2)) for image, turn in zip(seen, turns, strict=True)])
        return F.cross_entropy(classify(turned), turns)

    history = train(model, loss, examples_of(images, run), config.optimizer, run)
    frozen(model)
    return Pretrained(encoder, shape, history=history)
'''

PARADIGM: Edits = {
    "science/paradigms/rotation.py": [("", ROTATION)],
    "science/paradigms/registry.py": [
        ("import contrastive, control,", "import contrastive, control, rotation,"),
        ("    Control.PIXELS: control,\n", "    Paradigm.ROTATION: rotation,\n    Control.PIXELS: control,\n"),
    ],
    "experiment/vocabulary.py": [
        ('    DIFFUSION = "diffusion"\n', '    DIFFUSION = "diffusion"\n    ROTATION = "rotation"\n')
    ],
    "experiment/config/paradigms.py": [
        (
            "ParadigmConfig = SupervisedConfig | ",
            "class RotationConfig(ResNetParadigmConfig):\n"
            '    """Which of four quarter turns was made of an image."""\n\n'
            "    paradigm: Literal[Paradigm.ROTATION] = Paradigm.ROTATION\n"
            "    augmentation: CropFlipConfig\n\n\n"
            "ParadigmConfig = RotationConfig | SupervisedConfig | ",
        ),
        ("    diffusion: DiffusionConfig\n", "    diffusion: DiffusionConfig\n    rotation: RotationConfig\n"),
    ],
    "experiment/presets/paper.py": [
        (
            "from realfeatures.experiment.vocabulary import Norm\n",
            "from realfeatures.experiment.config.paradigms import RotationConfig\n"
            "from realfeatures.experiment.vocabulary import Norm\n",
        ),
        (
            "        contrastive=ContrastiveConfig(\n",
            "        rotation=RotationConfig(\n"
            '            model=ResNetConfig(blocks=(1, 1), width=4), optimizer=sgd.model_copy(update={"epochs": 1}),\n'
            "            augmentation=CropFlipConfig(padding=0, flip=False),\n"
            "        ),\n"
            "        contrastive=ContrastiveConfig(\n",
        ),
    ],
}

EXPERIMENT: Edits = {
    "experiment/vocabulary.py": [
        ('    E6 = "E6"\n', '    E7 = "E7"\n    """Nearest neighbours of natural encoders."""\n    E6 = "E6"\n')
    ],
    "experiment/experiments.py": [
        (
            "_WANTS: dict[Experiment, Callable[[Preset], Iterator[Want]]] = {\n",
            "def _neighbours(preset: Preset) -> Iterator[Want]:\n"
            "    for paradigm in preset.paradigms:\n"
            "        yield Want(matched(paradigm, Features.NATURAL, readout=Readout.KNN))\n\n\n"
            "_WANTS: dict[Experiment, Callable[[Preset], Iterator[Want]]] = {\n    Experiment.E7: _neighbours,\n",
        )
    ],
}

CLAIM: Edits = {
    "experiment/claims.py": [
        ("FAR_ABOVE_CHANCE = ", "from dataclasses import replace\n\nFAR_ABOVE_CHANCE = "),
        (
            "        _poor_elsewhere(),\n",
            '        _poor_elsewhere(),\n        replace(_poor_elsewhere(), id="C8", text="A claim of one\'s own."),\n',
        ),
    ]
}

DATA_SET: Edits = {
    "science/data/named.py": [
        (
            "DATA_SOURCES: dict[str, NamedSource] = {\n    source.name: source\n    for source in (\n",
            "def load_stripes(source: NamedSource) -> Decoded:\n"
            "    import numpy as np\n\n"
            "    labels = np.arange(64, dtype=np.int64) % 2\n"
            "    images = np.zeros((64, 1, 8, 8), dtype=np.uint8)\n"
            "    images[labels == 0, :, ::2] = 255\n"
            "    images[labels == 1, :, :, ::2] = 255\n"
            '    return Decoded(("across", "down"), images, labels, images[:40], labels[:40])\n\n\n'
            "DATA_SOURCES: dict[str, NamedSource] = {\n    source.name: source\n    for source in (\n"
            '        NamedSource(name="stripes", title="Stripes", decode=load_stripes,\n'
            "            whole=Sizes(64, 40, channels=1, height=8, width=8, classes=2)),\n",
        )
    ]
}


def changed_copy(folder: Path, *additions: Edits) -> Path:
    """Return a copy of the checkout's package with the additions made, each to few enough places."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", PACKAGE]
    for name in subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for edits in additions:
        assert len(edits) <= MOST
        for name, replacements in edits.items():
            path = folder / PACKAGE / name
            text = path.read_text() if path.exists() else ""
            for old, new in replacements:
                assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
                text = text.replace(old, new)
            path.write_text(text)
    return folder


def run_copy(copy: Path, settings: Mapping[str, object]) -> tuple[dict, str]:
    """Run the copy on tiny settings; return its results.json and its report."""
    words = [word for path, value in settings.items() for word in ("--set", f"{path}={value}")]
    command = [sys.executable, "-m", "realfeatures.cli.main", "run", "--preset", "digits", "--out", str(copy / "out")]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    done = subprocess.run([*command, *words], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((copy / "out/results.json").read_text()), (copy / "out/report.html").read_text()


@pytest.mark.slow
def test_a_paradigm_takes_at_most_five_places(tmp_path: Path) -> None:
    copy = changed_copy(tmp_path, PARADIGM)
    results, report = run_copy(copy, TINY | {"experiments": "E1,E2,E3,E5,decomposition"})
    rows = {(row["features"], row["attack"]) for row in results["rows"] if row["paradigm"] == "rotation"}
    assert {(name, "none") for name in ("natural", "robust", "non_robust", "non_robust_rotation", "untrained")} <= rows
    assert ("natural", "pgd") in rows
    pairs = {(row["source"], row["target"]) for row in results["transfer"]}
    assert pairs == {(one, other) for one in ("supervised", "rotation") for other in ("supervised", "rotation")}
    assert report.count("rotation") > 10
    assert "non_robust_rotation" in report


@pytest.mark.slow
def test_an_experiment_a_claim_and_a_data_set_take_at_most_five_places(tmp_path: Path) -> None:
    copy = changed_copy(tmp_path, EXPERIMENT, CLAIM, DATA_SET)
    results, report = run_copy(copy, TINY | {"data": "stripes", "paradigms": "supervised", "experiments": "E7"})
    (row,) = results["rows"]
    assert (row["experiments"], row["readout"], row["value"]) == (["E7"], "knn", 1.0)
    assert "C8" in [claim["id"] for claim in results["claims"]]
    assert "Stripes" in report
    assert "A claim of one" in report
