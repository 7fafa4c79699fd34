"""The paradigms by name: how an encoder is pretrained, kept and read back."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor, nn

from realfeatures.errors import ArtifactError, ConfigError
from realfeatures.experiment.config import ContrastiveConfig, DiffusionConfig, PretrainConfig, UntrainedConfig
from realfeatures.experiment.vocabulary import ADVERSARIAL, Control, Paradigm
from realfeatures.science.artifacts import Artifact, save_tensors
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet
from realfeatures.science.models.encoder import Encoder
from realfeatures.science.models.resnet import fold_batch_norm
from realfeatures.science.paradigms import contrastive, control, diffusion, masked, outside, supervised
from realfeatures.science.paradigms.base import (
    ENCODER_FILE,
    PROJECTION_FILE,
    ImageShape,
    ParadigmModule,
    Pretrained,
    frozen,
    place,
)

PARADIGMS: dict[str, ParadigmModule] = {
    Paradigm.SUPERVISED: supervised,
    ADVERSARIAL: supervised,
    Paradigm.CONTRASTIVE: contrastive,
    Paradigm.MASKED: masked,
    Paradigm.DIFFUSION: diffusion,
    Control.PIXELS: control,
    "outside": outside,
}
"""The module of each paradigm, by the name that its configuration carries; README.md says what a new one takes."""


def pretrain(config: PretrainConfig, images: ImageSet, run: Run) -> Pretrained:
    """Train the encoder that a configuration names on an image set; an untrained one is only built."""
    if isinstance(config, UntrainedConfig):
        shape = ImageShape.of(images)
        return Pretrained(frozen(PARADIGMS[config.encoder.paradigm].build(config.encoder, shape)), shape)
    return PARADIGMS[config.paradigm].pretrain(config, images, run)


def attributes_of(config: PretrainConfig, shape: ImageShape) -> dict[str, Any]:
    """Return what an encoder's manifest says of how to build it: its architecture and the images that it takes."""
    built = config.encoder if isinstance(config, UntrainedConfig) else config
    return {"image_shape": [shape.channels, shape.height, shape.width], "encoder": built.identity()}


def paradigm_of(encoder: Artifact) -> str:
    """Return the paradigm in which an artifact's encoder was pretrained, or of whose architecture it is."""
    return str(encoder.attributes["encoder"]["paradigm"])


def load_encoder(artifact: Artifact, run: Run) -> Encoder:
    """Return an artifact's encoder, frozen, in eval mode and with its BatchNorms folded, on the run's device.

    Raises:
        ArtifactError: not an encoder, or its weights do not fit its configuration.
    """
    config, shape = _description(artifact)
    encoder = PARADIGMS[config.paradigm].build(config, shape)
    _load_weights(encoder, artifact, ENCODER_FILE)
    return place(fold_batch_norm(frozen(encoder)), run)


def load_projection_head(artifact: Artifact, dimension: int, run: Run) -> nn.Module:
    """Return the frozen projection head of a contrastive encoder whose representations have `dimension` values.

    Raises:
        ArtifactError: the encoder is not a contrastive one.
    """
    config, _ = _description(artifact)
    if not isinstance(config, ContrastiveConfig):
        raise ArtifactError(f"{artifact}: a {config.paradigm} encoder; only contrastive ones have a projection head")
    head = contrastive.build_projection_head(config, dimension)
    _load_weights(head, artifact, PROJECTION_FILE)
    return frozen(head).to(run.device)


def at_timestep(artifact: Artifact, timestep: int, destination: Path) -> dict[str, Any]:
    """Write a diffusion encoder that reads its representation at another timestep; return its attributes.

    Raises:
        ArtifactError: the encoder is not a diffusion one.
        ConfigError: it has no such timestep.
    """
    config, shape = _description(artifact)
    if not isinstance(config, DiffusionConfig):
        raise ArtifactError(f"{artifact}: a {config.paradigm} encoder; only diffusion ones have a timestep")
    if timestep >= config.timesteps:
        raise ConfigError(f"timestep {timestep}: expected one below the encoder's {config.timesteps}")
    save_tensors(destination / ENCODER_FILE, artifact.tensors(ENCODER_FILE))
    return attributes_of(config.model_copy(update={"timestep": timestep}), shape)


def _description(artifact: Artifact) -> tuple[PretrainConfig, ImageShape]:
    attributes = artifact.require("encoder").attributes
    config: PretrainConfig = TypeAdapter(PretrainConfig).validate_json(json.dumps(attributes["encoder"]))
    return config, ImageShape(*attributes["image_shape"])


def _load_weights(module: nn.Module, artifact: Artifact, file: str) -> None:
    weights: dict[str, Tensor] = artifact.tensors(file)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"{artifact}/{file}: does not fit its configuration: {reason}") from None
