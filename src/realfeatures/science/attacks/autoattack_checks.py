"""AutoAttack's own checks of a model, as booleans in place of warnings, and how many classes it attacks.

Source: github.com/fra31/auto-attack, flags_doc.md.
"""

import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from pyautoattack import checks as library_checks
from torch import Tensor

from realfeatures.science.attacks.pgd import Classifier
from realfeatures.science.inputs import require_classes


def count_classes(model: Classifier, images: Tensor, labels: Tensor) -> int:
    """Return the number of logits; refuse labels out of their range."""
    with torch.no_grad(), unseen_draws(images.device):
        classes = model(images[:1]).shape[1]
    require_classes(labels, classes)
    return classes


def unseen_draws(device: torch.device) -> AbstractContextManager[None]:
    """Give torch's global generator back as it was."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def is_probability(model: Classifier, images: Tensor) -> bool:
    """Return whether the outputs (N, K) look like probabilities, which attacks on logits mistake."""
    return _warns(lambda: library_checks.check_range_output(model, images))


def is_randomized(model: Classifier, images: Tensor, labels: Tensor) -> bool:
    """Return whether the model answers differently when asked again."""
    return _warns(lambda: library_checks.check_randomized(model, images, labels))


def square_improved(accuracy: dict[str, float]) -> bool:
    """Return whether Square, which sees no gradient, lowered the accuracy that the attacks before it had left."""
    return _warns(lambda: library_checks.check_square_sr(accuracy))


def is_dynamic(model: Classifier, images: Tensor) -> bool:
    """Return whether the model calls for gradients while it predicts, and give the trace function back.

    The library's check counts such calls in a global that it never resets, and leaves no trace function set,
    which would end a debugger or a coverage measurement.
    """
    library_checks.funcs.update(dict.fromkeys(library_checks.funcs, 0))
    trace = sys.gettrace()
    try:
        return _warns(lambda: library_checks.check_dynamic(model, images))
    finally:
        sys.settrace(trace)


def _warns(check: Callable[[], object]) -> bool:
    """Return whether one of the library's checks, called without a logger, warns of something."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check()
    return is_flagged(caught)


def is_flagged(caught: list[warnings.WarningMessage]) -> bool:
    """Return whether one of these warnings is the library's."""
    # The library warns with the bare class, which nobody else does; torch's own warnings are subclasses.
    return any(warning.category is Warning for warning in caught)
