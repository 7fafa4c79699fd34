"""The weights' file of a classifier from outside, checked and pinned before a run; imports no torch."""

import hashlib
import re
from pathlib import Path

from realfeatures.errors import ConfigError, DataError
from realfeatures.experiment.config import OutsideConfig

ROBUSTBENCH = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
}
"""Block and blocks of each stage of the ResNets that RobustBench and AutoAttack's examples use on CIFAR; their
first stage has 64 channels (RobustBench/robustbench, model_zoo/architectures/resnet.py)."""

LIBRARIES = ("torchvision", "timm")
"""Whose constructors an architecture may name."""

_ARCHITECTURE = re.compile(r"(\w+):([\w.]+)")


def architecture_of(config: OutsideConfig) -> tuple[str, str]:
    """Return the family and the name of an architecture, such as `timm` and `resnet18`.

    Raises:
        ConfigError: not of that form, or of no known family; whether a library has the name is not looked at.
    """
    match = _ARCHITECTURE.fullmatch(config.architecture)
    family, name = match.groups() if match else ("", "")
    if family in LIBRARIES or (family == "robustbench" and name in ROBUSTBENCH):
        return family, name
    known = ", ".join(f"robustbench:{known}" for known in ROBUSTBENCH)
    raise ConfigError(f"architecture {config.architecture!r}: expected {known}, torchvision:NAME or timm:NAME")


def check_outside(config: OutsideConfig, *, channels: int) -> None:
    """Refuse what can be seen to be wrong without reading the weights.

    Args:
        config: the classifier.
        channels: of the data set's images.

    Raises:
        ConfigError: an architecture of no known family, a regular expression that is none, a constructor's
            argument where there is no constructor, or a normalisation for images of other channels.
    """
    family, _ = architecture_of(config)
    if config.options and family not in LIBRARIES:
        raise ConfigError(f"options {dict(config.options)}: {config.architecture} has none; leave them out")
    for pattern, replacement in config.names:
        try:
            re.compile(pattern).sub(replacement, "")
        except (re.error, IndexError) as error:
            raise ConfigError(f"names {pattern!r} -> {replacement!r}: not a regular expression ({error})") from None
    for name, values in (("mean", config.mean), ("std", config.std)):
        if values is not None and len(values) != channels:
            raise ConfigError(f"{name} {list(values)}: expected {channels} numbers, one for each channel of the images")


def pin_outside(config: OutsideConfig) -> OutsideConfig:
    """Return the configuration with the digest of its weights' file.

    Raises:
        DataError: no such file, or not the pinned content.
    """
    return config.model_copy(update={"sha256": hashlib.sha256(read_pinned(config)).hexdigest()})


def read_pinned(config: OutsideConfig) -> bytes:
    """Return the content of the weights' file.

    Raises:
        DataError: no such file, or not the pinned content.
    """
    try:
        content = Path(config.weights).expanduser().read_bytes()
    except OSError as error:
        raise DataError(f"weights {config.weights!r}: {error.strerror}; name a file that can be read") from None
    digest = hashlib.sha256(content).hexdigest()
    if config.sha256 not in (None, digest):
        raise DataError(
            f"weights {config.weights!r}: sha256 is {digest[:12]}..., expected {config.sha256[:12]}...;"
            " name the file that was pinned, or leave sha256 out"
        )
    return content
