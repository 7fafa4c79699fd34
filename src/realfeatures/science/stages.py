"""The stages: the only entry into the science, each written once.

A stage is `stage(config, *, run, <input ports>, <one output port>) -> Outcome`. The command line, the
one-machine run, the Kubeflow components and the tests all call these functions, by way of
execution.py, which seals the output; an input was verified when it was opened.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
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
from realfeatures.experiment.vocabulary import Protocol
from realfeatures.science import evaluation, paradigms, synthesis
from realfeatures.science import loss_curves as curves
from realfeatures.science import probe as probing
from realfeatures.science import transfer as transfer_matrix
from realfeatures.science.artifacts import Artifact, OutputDir
from realfeatures.science.context import Run
from realfeatures.science.data.images import Split, load_split, save_split
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
    sets = load_source(config)
    for split, found in sets.items():
        save_split(images, split, found)
    return Outcome("image_set", {"classes": list(sets["train"].classes)})


def pretrain(config: PretrainConfig, *, run: Run, train_set: Artifact, encoder: OutputDir) -> Outcome:
    """Train an encoder in the paradigm that its configuration names."""
    trained = paradigms.pretrain(config, load_split(train_set, "train"), run)
    trained.save(encoder)
    return Outcome("encoder", paradigms.attributes_of(config, trained.shape), {"history": trained.history})


def at_timestep(config: TimestepConfig, *, run: Run, encoder: Artifact, moved: OutputDir) -> Outcome:  # noqa: ARG001
    """Read a diffusion encoder at another timestep."""
    return Outcome("encoder", paradigms.at_timestep(encoder, config.timestep, moved))


def match_representations(
    config: MatchingConfig, *, run: Run, source: Artifact, natural: Artifact, images: OutputDir
) -> Outcome:
    """Make D_R or D_NR: other images with the source's representations of the natural ones."""
    encoder = paradigms.load_encoder(source, run)
    return _save(synthesis.match_representations(config, encoder, load_split(natural, "train"), run), images)


def perturb_towards_targets(
    config: TargetedConfig, *, run: Run, source: Artifact, natural: Artifact, images: OutputDir
) -> Outcome:
    """Make D_rand or D_det: natural images perturbed towards, and labelled with, other classes."""
    classifier = probing.load_classifier(source, run)
    return _save(synthesis.perturb_towards_targets(config, classifier, load_split(natural, "train"), run), images)


def relabel(
    config: RelabellingConfig, *, run: Run, natural: Artifact, labelled: Artifact, images: OutputDir
) -> Outcome:
    """Give natural images another set's labels, or their own, shuffled."""
    found = synthesis.relabel(config, load_split(natural, "train"), load_split(labelled, "train"), run)
    save_split(images, "train", found)
    return Outcome("image_set", {"classes": list(found.classes)})


def linear_probe(config: ProbeConfig, *, run: Run, encoder: Artifact, train_set: Artifact, probe: OutputDir) -> Outcome:
    """Fit a linear classifier on a frozen encoder's representations of a labelled set."""
    trained = probing.fit(config, paradigms.load_encoder(encoder, run), load_split(train_set, "train"), run)
    trained.save(probe)
    return Outcome("probe", {}, {"history": trained.history})


def attack(
    config: AttackConfig, *, run: Run, encoder: Artifact, probe: Artifact, test_set: Artifact, result: OutputDir
) -> Outcome:
    """Measure clean and robust accuracy of a probed encoder, on natural test images or on a robust set's."""
    model = probing.load_classifier(encoder, run, probe=probe)
    split: Split = "test" if config.protocol is Protocol.NATURAL else "train"
    measured = evaluation.evaluate(config, model, load_split(test_set, split), run)
    measured.save(result)
    return Outcome("attack", {}, measured.record)


def nearest_neighbours(
    config: KNNConfig, *, run: Run, encoder: Artifact, train_set: Artifact, test_set: Artifact, result: OutputDir
) -> Outcome:
    """Measure clean accuracy by the nearest training images, without any training."""
    measured = evaluation.evaluate_neighbours(
        config, paradigms.load_encoder(encoder, run), load_split(train_set, "train"), load_split(test_set, "test"), run
    )
    measured.save(result)
    return Outcome("attack", {}, measured.record)


def transfer(
    config: TransferConfig, *, run: Run, test_set: Artifact, result: OutputDir, **classifiers: Artifact
) -> Outcome:
    """Attack each paradigm's classifier and count what the others make of its adversarial images."""
    # encoder_1, encoder_2 and so on in the report's order; probe_1, probe_2 of those without a head of their own.
    models: dict[str, nn.Module] = {}
    for number in range(1, 1 + sum(port.startswith("encoder_") for port in classifiers)):
        encoder, probe = classifiers[f"encoder_{number}"], classifiers.get(f"probe_{number}")
        models[paradigms.paradigm_of(encoder)] = probing.load_classifier(encoder, run, probe=probe)
    found = transfer_matrix.measure(config, models, load_split(test_set, "test"), run)
    found.save(result)
    return Outcome("transfer", {}, {"transfer": found.rows})


def loss_curves(
    config: LossCurvesConfig, *, run: Run, encoder: Artifact, probe: Artifact, test_set: Artifact, result: OutputDir
) -> Outcome:
    """Attack a contrastive encoder's loss and watch cross-entropy, and the other way round."""
    model = probing.load_classifier(encoder, run, probe=probe)
    head = paradigms.load_projection_head(encoder, cast(nn.Linear, model.head).in_features, run)
    found = curves.measure(config, model, head, load_split(test_set, "test"), run)
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


def _save(crafted: synthesis.Crafted, folder: OutputDir) -> Outcome:
    save_split(folder, "train", crafted.images)
    return Outcome("image_set", {"classes": list(crafted.images.classes)}, {"synthesis": crafted.summary})
