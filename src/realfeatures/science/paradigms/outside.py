"""A classifier that was trained elsewhere: weights from a file, its last linear layer split off as the head."""

import io
import re
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from realfeatures.errors import ConfigError, DataError
from realfeatures.experiment.config import OutsideConfig
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.models.architectures import build_classifier, first_line, outer_name
from realfeatures.science.models.encoder import Encoder
from realfeatures.science.outside_weights import read_pinned
from realfeatures.science.paradigms.base import ImageShape, Pretrained, frozen

SAMPLE = 2
"""chosen: how many of the data set's images are classified to see that a classifier works and can be split."""

COUNTER = "num_batches_tracked"
"""BatchNorm's count of training steps; older files lack it, and no frozen model reads it."""

ROUNDING = 1e-4
"""chosen: how far, relative and absolute, a head applied by itself may be from the whole classifier."""


class OutsideEncoder(Encoder):
    """What the classifier's last linear layer takes, of images that are normalised as the configuration says."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, dimension: int, config: OutsideConfig) -> None:
        super().__init__()
        self.network = network
        self.dimension = dimension
        for name, values in (("mean", config.mean or (0.0,)), ("std", config.std or (1.0,))):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return representations (N, dimension)."""
        representations: Tensor = self.network((images - self.mean) / self.std)
        return representations


def build(config: OutsideConfig, shape: ImageShape) -> OutsideEncoder:
    """Return the encoder at its initialisation; the weights' file is not read.

    Raises:
        ConfigError: an unknown architecture, or one without a linear layer.
    """
    # How many classes does not matter: the head is thrown away.
    network = build_classifier(config, channels=shape.channels, classes=1)
    name, head = _last_linear(network, config)
    network.set_submodule(name, nn.Identity())
    return OutsideEncoder(network, dimension=head.in_features, config=config)


def pretrain(config: OutsideConfig, images: ImageSet, run: Run) -> Pretrained:  # noqa: ARG001 - nothing is trained
    """Return the encoder and the head with the weights of the file.

    Raises:
        ConfigError: the architecture is unknown, does not take such images, or does not end in a linear layer.
        DataError: the file is missing or changed, or its weights do not fit.
    """
    shape = ImageShape.of(images)
    network = frozen(build_classifier(config, channels=shape.channels, classes=len(images.classes)))
    name, head = _last_linear(network, config)
    _load(network, _renamed(read_weights(config), config), config=config, head=name)
    encoder = OutsideEncoder(network, dimension=head.in_features, config=config)
    sample = to_float(images.images[:SAMPLE])
    logits = _classify(encoder, sample, config)
    network.set_submodule(name, nn.Identity())
    if not _is_linear_on(encoder, head, images=sample, logits=logits):
        raise ConfigError(f"architecture {config.architecture}: does not end in one linear layer, a head; use another")
    _check_rebuilt(encoder, build(config, shape), config)
    return Pretrained(frozen(encoder), shape, head)


def read_weights(config: OutsideConfig) -> dict[str, Tensor]:
    """Return the state dict of a weights' file, by the names that it has there.

    Raises:
        DataError: missing, not the pinned content, or not readable without running code that is in it.
    """
    content = read_pinned(config)
    where = f"weights {config.weights!r}"
    try:
        # By content, not by suffix: a safetensors file is a length of 8 bytes and then JSON.
        state = load(content) if content[8:9] == b"{" else torch.load(io.BytesIO(content), "cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in whatever way its bytes mean to the reader
        raise DataError(
            f"{where}: not a safetensors file, nor a state dict that can be read without running code"
            f" ({first_line(error)}); save the model's state_dict() again"
        ) from None
    if config.state_key is not None:
        if not isinstance(state, Mapping) or config.state_key not in state:
            raise DataError(f"{where}: has no state_key {config.state_key!r}; it has {_some(_keys(state))}")
        state = state[config.state_key]
    strangers = [key for key in _keys(state) if not isinstance(key, str) or not isinstance(state[key], Tensor)]
    if not _keys(state) or strangers:
        raise DataError(
            f"{where}: expected tensors by name, found {_some(strangers) or type(state).__name__};"
            " set state_key to where the state dict stands, or save the model's state_dict() alone"
        )
    return dict(state)


def _renamed(state: dict[str, Tensor], config: OutsideConfig) -> dict[str, Tensor]:
    """Return the weights under the architecture's names, without those that are renamed to nothing."""
    renamed: dict[str, Tensor] = {}
    for original, tensor in state.items():
        name = original.removeprefix(config.prefix)
        for pattern, replacement in config.names:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise DataError(f"weights {config.weights!r}: {original!r} and another are both renamed to {name!r}")
        if name:
            renamed[name] = tensor
    return renamed


def _load(network: nn.Module, state: dict[str, Tensor], *, config: OutsideConfig, head: str) -> None:
    """Copy weights, by the architecture's own names, into a network."""
    expected = {outer_name(name, config): tensor for name, tensor in network.state_dict().items()}
    where = f"weights {config.weights!r}"
    missing = [name for name in expected if name not in state and not name.endswith(COUNTER)]
    unexpected = [name for name in state if name not in expected]
    if missing:
        raise DataError(
            f"{where}: {config.architecture} needs {_some(missing)}, which is not there;"
            f" there is {_some(unexpected) or 'nothing else'}; set prefix and names"
        )
    if unexpected:
        raise DataError(
            f"{where}: {_some(unexpected)} is no part of {config.architecture};"
            " take another architecture, or rename it to nothing with names"
        )
    _check_classes(state, outer_name(f"{head}.weight", config), expected=expected, where=where)
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise DataError(
                f"{where}: {name!r} has shape {list(tensor.shape)}, {config.architecture} needs"
                f" {list(expected[name].shape)}; take the architecture, and options, that it was trained with"
            )
        expected[name].copy_(tensor)  # state_dict() shares its memory with the network


def _check_classes(state: dict[str, Tensor], head: str, *, expected: dict[str, Tensor], where: str) -> None:
    given, needed = list(state[head].shape), len(expected[head])
    if given[:1] != [needed]:
        raise DataError(
            f"{where}: {head!r} has shape {given}, the data set has {needed} classes;"
            " take a classifier that was trained on the data set's classes"
        )


def _last_linear(network: nn.Module, config: OutsideConfig) -> tuple[str, nn.Linear]:
    """Return the name and the module of the linear layer that was registered last."""
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(f"architecture {config.architecture}: has no linear layer to take as head; use another")
    return linear[-1]


def _classify(classifier: nn.Module, images: Tensor, config: OutsideConfig) -> Tensor:
    try:
        logits: Tensor = classifier(images)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"architecture {config.architecture}: does not take images of {'x'.join(map(str, images.shape[1:]))}"
            f" ({first_line(error)}); use another, or set options"
        ) from None
    if not logits.isfinite().all():
        raise DataError(f"weights {config.weights!r}: the logits are not finite; save the weights again")
    return logits


def _is_linear_on(encoder: nn.Module, head: nn.Linear, *, images: Tensor, logits: Tensor) -> bool:
    """Return whether a classifier's logits are its head's of what is left of it."""
    try:
        repeated = head(encoder(images))
    except RuntimeError:  # what is left does not fit together
        return False
    return repeated.shape == logits.shape and torch.allclose(repeated, logits, rtol=ROUNDING, atol=ROUNDING)


def _check_rebuilt(encoder: nn.Module, rebuilt: nn.Module, config: OutsideConfig) -> None:
    """Refuse an encoder that cannot be built without knowing the number of classes, since it has another head."""
    shapes = {name: weight.shape for name, weight in rebuilt.state_dict().items()}
    for name, weight in encoder.state_dict().items():
        if shapes[name] != weight.shape:
            raise ConfigError(
                f"architecture {config.architecture}: {name.removeprefix('network.')!r} belongs to a second head;"
                " turn it off with options, such as {aux_logits: false}, and rename its weights to nothing with names"
            )


def _keys(state: object) -> list[Any]:
    return list(state) if isinstance(state, Mapping) else []


def _some(names: list[Any]) -> str:
    """Return the first name, and how many more there are."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}" if names else ""
