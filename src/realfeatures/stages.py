"""The stages: the only entry into the science, each written once.

A stage is `stage(config, *, run, <input ports>, <one output port>) -> Outcome`. The command line, the
one-machine run, the Kubeflow components and the tests all call these functions, by way of
execution.py, which verifies the inputs and seals the output.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realfeatures import evaluation, paradigms, synthesis
from realfeatures import probe as probing
from realfeatures.artifacts import InputDir, OutputDir, read_manifest
from realfeatures.config import (
    AttackConfig,
    DataConfig,
    MatchingConfig,
    PretrainConfig,
    ProbeConfig,
    TargetedConfig,
)
from realfeatures.data.images import ImageSet, Split, load_split, save_split
from realfeatures.data.sources import load_source
from realfeatures.run import Run


@dataclass(frozen=True)
class Outcome:
    """What a stage says of the artifact that it wrote."""

    kind: str
    """image_set, encoder, probe or attack."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """What a reader needs to use the tensors."""
    record: dict[str, Any] = field(default_factory=dict)
    """What the report needs: `measurements` (see evaluation.py) and `history` (one dict an epoch)."""


def prepare_data(config: DataConfig, *, run: Run, images: OutputDir) -> Outcome:  # noqa: ARG001 - as every stage
    """Decode a data source once into one uint8 artifact with a train and a test split."""
    splits = load_source(config)
    save_split(images, "train", splits.train)
    save_split(images, "test", splits.test)
    return Outcome("image_set", {"classes": list(splits.train.classes)})


def pretrain(config: PretrainConfig, *, run: Run, train_set: InputDir, encoder: OutputDir) -> Outcome:
    """Train an encoder in the paradigm that its configuration names."""
    trained = paradigms.pretrain(config, _images(train_set, "train"), run)
    trained.save(encoder)
    return Outcome("encoder", trained.attributes, {"history": trained.history})


def match_representations(
    config: MatchingConfig, *, run: Run, source: InputDir, natural: InputDir, images: OutputDir
) -> Outcome:
    """Make D_R or D_NR: other images with the source's representations of the natural ones."""
    encoder = paradigms.load_encoder(source, run)
    return _save(synthesis.match_representations(config, encoder, _images(natural, "train"), run), images)


def perturb_towards_targets(
    config: TargetedConfig, *, run: Run, source: InputDir, natural: InputDir, images: OutputDir
) -> Outcome:
    """Make D_rand: natural images perturbed towards, and labelled with, random classes."""
    classifier = probing.load_classifier(source, source, run)
    return _save(synthesis.perturb_towards_targets(config, classifier, _images(natural, "train"), run), images)


def linear_probe(config: ProbeConfig, *, run: Run, encoder: InputDir, train_set: InputDir, probe: OutputDir) -> Outcome:
    """Fit a linear classifier on a frozen encoder's representations of a labelled set."""
    trained = probing.fit(config, paradigms.load_encoder(encoder, run), _images(train_set, "train"), run)
    trained.save(probe)
    return Outcome("probe", {}, {"history": trained.history})


def attack(
    config: AttackConfig,
    *,
    run: Run,
    encoder: InputDir,
    probe: InputDir,
    test_set: InputDir,
    result: OutputDir,
) -> Outcome:
    """Measure clean and robust accuracy of a probed encoder on the natural test images."""
    model = probing.load_classifier(encoder, probe, run)
    measured = evaluation.evaluate(config, model, _images(test_set, "test"), run)
    measured.save(result)
    return Outcome("attack", {}, {"measurements": measured.measurements})


STAGES: dict[str, Callable[..., Outcome]] = {
    stage.__name__: stage
    for stage in (
        prepare_data,
        pretrain,
        match_representations,
        perturb_towards_targets,
        linear_probe,
        attack,
    )
}
"""Every stage by the name that a cell calls it by."""


def _images(folder: Path, split: Split) -> ImageSet:
    classes = tuple(read_manifest(folder, kind="image_set")["attributes"]["classes"])
    return load_split(folder, split, classes=classes)


def _save(crafted: synthesis.Crafted, folder: OutputDir) -> Outcome:
    save_split(folder, "train", crafted.images)
    return Outcome("image_set", {"classes": list(crafted.images.classes)}, {"synthesis": crafted.summary})
