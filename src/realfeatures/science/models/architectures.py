"""Classifiers by name, for weights from outside: RobustBench's CIFAR ResNets, and torchvision's and timm's models.

RobustBench's are this package's own ResNet under other names; the libraries build theirs.
"""

from typing import Any

from torch import Tensor, nn

from realfeatures.errors import ConfigError
from realfeatures.experiment.config import OutsideConfig, ResNetConfig
from realfeatures.science.models.resnet import ResNet
from realfeatures.science.outside_weights import ROBUSTBENCH, architecture_of

ROBUSTBENCH_NAMES = (
    ("stem.0.", "conv1."),
    ("stem.1.", "bn1."),
    *((f"stages.{stage}.", f"layer{stage + 1}.") for stage in range(4)),
    *((f".residual.{3 * index}.", f".conv{index + 1}.") for index in range(3)),
    *((f".residual.{3 * index + 1}.", f".bn{index + 1}.") for index in range(3)),
    ("head.", "linear."),
)
"""Parts of the names of this package's ResNet, and what RobustBench calls them (its architectures/resnet.py)."""


class NormalisedResNet(ResNet):
    """The ResNet and a linear head, for images that are normalised already: (N, C, H, W) -> logits (N, classes)."""

    def __init__(self, config: ResNetConfig, *, channels: int, classes: int) -> None:
        super().__init__(config, channels=channels)
        self.head = nn.Linear(self.dimension, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        features: Tensor = self.stages(self.stem(images))  # (N, dimension, h, w)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def build_classifier(config: OutsideConfig, *, channels: int, classes: int) -> nn.Module:
    """Return a classifier at its initialisation: normalised images (N, C, H, W) -> logits (N, classes).

    Raises:
        ConfigError: no such architecture, its library is not installed, or it takes no such options.
    """
    family, name = architecture_of(config)
    if family == "robustbench":
        block, blocks = ROBUSTBENCH[name]
        return NormalisedResNet(ResNetConfig(block=block, blocks=blocks), channels=channels, classes=classes)
    options = {"num_classes": classes, **dict(config.options)}
    try:
        return _torchvision(name, options) if family == "torchvision" else _timm(name, options, channels=channels)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"architecture {config.architecture}: {first_line(error)}; use another, or set options"
        ) from None


def outer_name(name: str, config: OutsideConfig) -> str:
    """Return a weight's name as the architecture's own library spells it."""
    if architecture_of(config)[0] == "robustbench":
        for ours, theirs in ROBUSTBENCH_NAMES:
            name = name.replace(ours, theirs)
    return name


def first_line(error: Exception) -> str:
    """Return what a library says is wrong, as part of a one-line error."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:; ") if lines else type(error).__name__


def _torchvision(name: str, options: dict[str, Any]) -> nn.Module:
    from torchvision import models

    if name not in models.list_models(module=models):  # models of other tasks download their backbone's weights
        raise ConfigError(f"architecture torchvision:{name}: torchvision has no such classifier; see its list_models()")
    network: nn.Module = models.get_model(name, weights=None, **options)
    return network


def _timm(name: str, options: dict[str, Any], *, channels: int) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ConfigError(f"architecture timm:{name}: timm is not installed; pip install timm") from None
    network: nn.Module = timm.create_model(name, pretrained=False, in_chans=channels, **options)
    return network
