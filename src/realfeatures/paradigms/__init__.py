"""The paradigms by name: how an encoder is pretrained, kept and read back."""

from pathlib import Path
from typing import cast

from pydantic import TypeAdapter
from torch import nn

from realfeatures.artifacts import load_tensors, read_manifest
from realfeatures.config import PretrainConfig
from realfeatures.data.images import ImageSet
from realfeatures.errors import ArtifactError
from realfeatures.models.resnet import fold_batch_norm
from realfeatures.paradigms import contrastive, control, diffusion, masked, supervised
from realfeatures.paradigms.base import ENCODER_FILE, ImageShape, ParadigmModule, Pretrained, frozen, place
from realfeatures.run import Run
from realfeatures.vocabulary import Control, Paradigm

PARADIGMS: dict[str, ParadigmModule] = {
    Paradigm.SUPERVISED: cast(ParadigmModule, supervised),
    "adversarial": cast(ParadigmModule, supervised),
    Paradigm.CONTRASTIVE: cast(ParadigmModule, contrastive),
    Paradigm.MASKED: cast(ParadigmModule, masked),
    Paradigm.DIFFUSION: cast(ParadigmModule, diffusion),
    Control.PIXELS: cast(ParadigmModule, control),
    Control.UNTRAINED: cast(ParadigmModule, control),
}
"""A new paradigm is one module, one configuration and one entry here."""


def pretrain(config: PretrainConfig, images: ImageSet, run: Run) -> Pretrained:
    """Train the encoder that a configuration names on an image set."""
    return PARADIGMS[config.paradigm].pretrain(config, images, run)


def load_encoder(folder: Path, run: Run) -> nn.Module:
    """Return the encoder of an artifact, frozen, in eval mode and with its BatchNorms folded, on the run's device.

    Raises:
        ArtifactError: not an encoder, changed, or its weights do not fit its configuration.
    """
    manifest = read_manifest(folder, kind="encoder")
    config: PretrainConfig = TypeAdapter(PretrainConfig).validate_python(manifest["config"])
    encoder = PARADIGMS[config.paradigm].build(config, ImageShape(*manifest["attributes"]["image_shape"]))
    try:
        encoder.load_state_dict(load_tensors(folder / ENCODER_FILE))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"{folder.name}/{ENCODER_FILE}: does not fit its configuration: {reason}") from None
    return place(fold_batch_norm(frozen(encoder)), run)
