"""What the functions that a person calls with a model and tensors of their own refuse, before they compute anything.

A tensor is a DataError, a parameter a ConfigError. Tensors' values are read, for which the host waits: not for loops.
"""

import math
from numbers import Integral, Real

import torch
from torch import Tensor

from realfeatures.errors import ConfigError, DataError


def require_eval(model: object) -> None:
    """Refuse a module in train mode, whose BatchNorm would change and whose dropout would draw; functions have none."""
    if getattr(model, "training", False):
        raise ConfigError(f"{type(model).__name__} is in train mode, expected eval mode; call its .eval() first")


def require_attackable(model: object, images: Tensor, labels: Tensor) -> None:
    """Refuse what an attack would mistake, but for labels out of range, which only the model's logits tell."""
    require_eval(model)
    require_images(images)
    require_labels(labels, len(images))


def require_count(name: str, value: object) -> None:
    """Refuse what is not a whole number of at least 1."""
    if not (isinstance(value, Integral) and int(value) >= 1):
        raise ConfigError(f"{name} {value!r}: expected a whole number of 1 or more")


def require_positive(name: str, value: object) -> None:
    """Refuse what is not a finite number above 0; a tensor is none."""
    if not (isinstance(value, Real) and 0 < float(value) < math.inf):
        raise ConfigError(f"{name} {value!r}: expected a finite number above 0")


def require_images(images: Tensor) -> None:
    """Refuse all but images (N, C, H, W), N at least 1, of floats in [0, 1]."""
    if images.ndim != 4 or not len(images) or not images.is_floating_point():
        raise DataError(
            f"images are {_described(images)}, expected floats (N, C, H, W), N at least 1; divide 8-bit images by 255"
        )
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):  # so that NaN is refused
        raise DataError(f"pixels in [{low:g}, {high:g}], expected [0, 1]; divide 8-bit images by 255")


def require_image_bytes(images: Tensor) -> None:
    """Refuse all but images (N, C, H, W) uint8, N at least 1: what is trained on is what a real image could hold."""
    if images.dtype != torch.uint8 or images.ndim != 4 or not len(images):
        raise DataError(
            f"images are {_described(images)}, expected uint8 (N, C, H, W), N at least 1; round to 256 levels first"
        )


def require_labels(labels: Tensor, count: int) -> None:
    """Refuse all but labels (N,) int64, one for each of `count` images."""
    if labels.dtype != torch.int64 or labels.shape != (count,):
        raise DataError(f"labels are {_described(labels)}, expected int64 ({count},); give each image one, by .long()")


def require_views(first: Tensor, second: Tensor) -> None:
    """Refuse all but two views (N, D) of N images, N at least 2; looks at their shapes alone."""
    if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
        raise DataError(
            f"views {tuple(first.shape)} and {tuple(second.shape)}: expected both (N, D), N at least 2; give pairs"
        )


def require_classes(labels: Tensor, classes: int) -> None:
    """Refuse labels (N,), N at least 1, outside [0, classes); torch's cross-entropy passes over one of -100."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"labels from {low} to {high}, of {classes} classes expected 0 to {classes - 1}; number them as the classes"
        )


def require_logits(logits: Tensor, classes: int) -> None:
    """Refuse logits other than (N, classes); looks at their shape alone."""
    if logits.shape[1:] != (classes,):
        raise ConfigError(f"{logits.shape[-1]} logits, expected {classes}, one a class; fit the probe again")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
