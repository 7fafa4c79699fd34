"""The stages: the only entry into the science, each written once.

A stage is `stage(config, *, run, <input ports>, <one output port>) -> Outcome`. The command line, the
one-machine run, the Kubeflow components and the tests all call these functions, by way of
execution.py, which verifies the inputs and seals the output.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import nn

from realfeatures.experiment.config import (
    AttackConfig,
    DataConfig,
    KNNConfig,
    LossCurvesConfig,
    MatchingConfig,
    PretrainConfig,
    ProbeConfig,
    RelabellingConfig,
    TargetedConfig,
    TimestepConfig,
    TransferConfig,
)
from realfeatures.experiment.vocabulary import Paradigm, Protocol
from realfeatures.science import evaluation, paradigms, synthesis
from realfeatures.science import loss_curves as curves
from realfeatures.science import probe as probing
from realfeatures.science import transfer as transfer_matrix
from realfeatures.science.artifacts import (
    InputDir,
    OutputDir,
    read_manifest,
)
from realfeatures.science.context import Run
from realfeatures.science.data.images import (
    ImageSet,
    Split,
    load_split,
    save_split,
)
from realfeatures.science.data.sources import load_source


@dataclass(frozen=True)
class Outcome:
    """What a stage says of the artifact that it wrote."""

    kind: str
    """image_set, encoder, probe, attack, transfer or loss_curves."""
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
    return Outcome("encoder", paradigms.attributes_of(config, trained.shape), {"history": trained.history})


def at_timestep(config: TimestepConfig, *, run: Run, encoder: InputDir, moved: OutputDir) -> Outcome:  # noqa: ARG001
    """Read a diffusion encoder at another timestep."""
    return Outcome("encoder", paradigms.at_timestep(encoder, config.timestep, moved))


def match_representations(
    config: MatchingConfig, *, run: Run, source: InputDir, natural: InputDir, images: OutputDir
) -> Outcome:
    """Make D_R or D_NR: other images with the source's representations of the natural ones."""
    encoder = paradigms.load_encoder(source, run)
    return _save(synthesis.match_representations(config, encoder, _images(natural, "train"), run), images)


def perturb_towards_targets(
    config: TargetedConfig, *, run: Run, source: InputDir, natural: InputDir, images: OutputDir
) -> Outcome:
    """Make D_rand or D_det: natural images perturbed towards, and labelled with, other classes."""
    classifier = probing.load_classifier(source, source, run)
    return _save(synthesis.perturb_towards_targets(config, classifier, _images(natural, "train"), run), images)


def relabel(
    config: RelabellingConfig, *, run: Run, natural: InputDir, labelled: InputDir, images: OutputDir
) -> Outcome:
    """Give natural images another set's labels, or their own, shuffled."""
    found = synthesis.relabel(config, _images(natural, "train"), _images(labelled, "train"), run)
    save_split(images, "train", found)
    return Outcome("image_set", {"classes": list(found.classes)})


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
    """Measure clean and robust accuracy of a probed encoder, on natural test images or on a robust set's."""
    model = probing.load_classifier(encoder, probe, run)
    split: Split = "test" if config.protocol is Protocol.NATURAL else "train"
    measured = evaluation.evaluate(config, model, _images(test_set, split), run)
    measured.save(result)
    return Outcome("attack", {}, measured.record)


def nearest_neighbours(
    config: KNNConfig, *, run: Run, encoder: InputDir, train_set: InputDir, test_set: InputDir, result: OutputDir
) -> Outcome:
    """Measure clean accuracy by the nearest training images, without any training."""
    measured = evaluation.evaluate_neighbours(
        config, paradigms.load_encoder(encoder, run), _images(train_set, "train"), _images(test_set, "test"), run
    )
    measured.save(result)
    return Outcome("attack", {}, measured.record)


def transfer(
    config: TransferConfig,
    *,
    run: Run,
    test_set: InputDir,
    result: OutputDir,
    supervised: InputDir | None = None,
    contrastive: InputDir | None = None,
    contrastive_probe: InputDir | None = None,
    masked: InputDir | None = None,
    masked_probe: InputDir | None = None,
    diffusion: InputDir | None = None,
    diffusion_probe: InputDir | None = None,
) -> Outcome:
    """Attack each paradigm's classifier and count what the others make of its adversarial images."""
    given = {
        Paradigm.SUPERVISED: (supervised, supervised),
        Paradigm.CONTRASTIVE: (contrastive, contrastive_probe),
        Paradigm.MASKED: (masked, masked_probe),
        Paradigm.DIFFUSION: (diffusion, diffusion_probe),
    }
    models: dict[str, nn.Module] = {
        paradigm: probing.load_classifier(encoder, probe, run)
        for paradigm, (encoder, probe) in given.items()
        if encoder is not None and probe is not None
    }
    found = transfer_matrix.measure(config, models, _images(test_set, "test"), run)
    found.save(result)
    return Outcome("transfer", {}, {"transfer": found.rows})


def loss_curves(
    config: LossCurvesConfig, *, run: Run, encoder: InputDir, probe: InputDir, test_set: InputDir, result: OutputDir
) -> Outcome:
    """Attack a contrastive encoder's loss and watch cross-entropy, and the other way round."""
    model = probing.load_classifier(encoder, probe, run)
    head = paradigms.load_projection_head(encoder, cast(nn.Linear, model.head).in_features, run)
    found = curves.measure(config, model, head, _images(test_set, "test"), run)
    found.save(result)
    return Outcome("loss_curves", {}, {"loss_curves": found.rows})


STAGES: dict[str, Callable[..., Outcome]] = {
    stage.__name__: stage
    for stage in (
        prepare_data,
        pretrain,
        match_representations,
        perturb_towards_targets,
        relabel,
        at_timestep,
        linear_probe,
        nearest_neighbours,
        attack,
        transfer,
        loss_curves,
    )
}
"""Every stage by the name that a cell calls it by."""


def _images(folder: Path, split: Split) -> ImageSet:
    classes = tuple(read_manifest(folder, kind="image_set")["attributes"]["classes"])
    return load_split(folder, split, classes=classes)


def _save(crafted: synthesis.Crafted, folder: OutputDir) -> Outcome:
    save_split(folder, "train", crafted.images)
    return Outcome("image_set", {"classes": list(crafted.images.classes)}, {"synthesis": crafted.summary})
