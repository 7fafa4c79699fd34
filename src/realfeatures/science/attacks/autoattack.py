"""AutoAttack, resumable batch by batch, with its sanity checks as fields of the result (Croce and Hein 2020).

The attacks and checks are the authors' own, from the package `pyautoattack`, or `autoattack` where that is
installed. Only the loop around them is written here (its result is theirs, image by image): it can stop and
resume, leaves torch's global generator alone, and knows when an attack of a version cannot run.
Source: arXiv 2003.01690; github.com/fra31/auto-attack, flags_doc.md for the checks.
"""

import inspect
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from realfeatures.errors import ConfigError, DataError
from realfeatures.experiment.config import ThreatModel
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.attacks.autoattack_checks import (
    is_dynamic,
    is_flagged,
    is_probability,
    is_randomized,
    square_improved,
)
from realfeatures.science.attacks.pgd import Classifier
from realfeatures.science.context import ProgressCallback, no_progress

try:
    from pyautoattack import AutoAttack
except ImportError:  # the same authors' code under its older name
    from autoattack import AutoAttack  # type: ignore[import-not-found, no-redef, unused-ignore]

logger = logging.getLogger(__name__)

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
"""The attacks of the standard version, in the order in which they run."""

RAND = ("apgd-ce", "apgd-dlr")
"""The attacks of the version for random models; both average the gradient over 20 passes (EOT)."""

Version = Literal["standard", "rand"]
"""standard: for a deterministic model. rand: for one that is random by design, as a defence or as it was trained."""

TARGET_CLASSES = 9
"""How many wrong classes, likeliest first, the standard version's targeted attacks aim at."""


class ResumePoint(Protocol):
    """Where the state of a running AutoAttack is kept: a Checkpoint, or a part of one."""

    def load(self) -> Any | None:
        """Return the saved state, or None."""

    def step(self, state: Callable[[], Any]) -> None:
        """Save the state if it is time to, and raise Interrupted if a stop was asked for."""


@dataclass(frozen=True)
class AutoAttackResult:
    """What AutoAttack found on N images.

    Attributes:
        robust: (N,) bool: classified correctly, and by every attack left so.
        adversarial: (N, C, H, W) float32 in [0, 1]: a misclassified image of the threat model where one was
            found, the image itself elsewhere.
        accuracy: robust accuracy in [0, 1] after each attack, in the order that they ran in, from `clean` on.
        checks: what makes the result doubtful, true where it was found: `randomized` logits (to be expected in
            version rand), outputs that are a `probability`, gradients computed within the model (`dynamic`), a
            `zero_gradient` of the margin loss, `square_improved` where the black-box attack beat the white-box
            ones, and `not_standard` where an attack of the version does not exist for such images (see `suite`).
    """

    robust: Tensor
    adversarial: Tensor
    accuracy: dict[str, float]
    checks: dict[str, bool]


@dataclass(frozen=True)
class _Job:
    """What is attacked."""

    model: Classifier
    images: Tensor
    labels: Tensor
    batch_size: int

    def correct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return which images the model classifies correctly, (N,) bool; the first of equal logits counts."""
        return self.model(images).max(dim=1)[1] == labels


class _Watched:
    """The model, with a look at the checkpoint at every call: one attack on one batch may take minutes.

    Interrupted leaves through the library; the state holds the batch as still to be tried.
    """

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self.watch: Callable[[], None] = lambda: None

    def __call__(self, images: Tensor) -> Tensor:
        self.watch()
        return self.model(images)


@dataclass
class _State:
    """How far an AutoAttack is; what its checkpoint holds."""

    robust: Tensor
    adversarial: Tensor
    accuracy: dict[str, float]
    checks: dict[str, bool]
    pending: Tensor | None = None
    """Indices of the images that the attack in progress has not tried yet; None between two attacks."""


def autoattack(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    threat: ThreatModel,
    classes: int,
    seed: int,
    batch_size: int,
    checkpoint: ResumePoint,
    progress: ProgressCallback = no_progress,
    version: Version = "standard",
) -> AutoAttackResult:
    """Run a version of AutoAttack, each attack on the images that the earlier ones left robust.

    Args:
        model: in eval mode, its weights frozen; logits (N, `classes`) out. Unless version is rand, deterministic;
            if random, then by torch's global generator, which is seeded here.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64.
        threat: norm and epsilon; for an epsilon of zero there is nothing to attack.
        classes: K, at least 2.
        seed: of every attack; the library starts each batch from it anew.
        batch_size: images attacked together; the result depends on it, as it does in the library.
        checkpoint: asked for a state at the start, and given one whenever the model is called.
        progress: told the number of attacks that are done, and of all.
        version: which attacks; see `Version`.

    Raises:
        ConfigError: fewer than two classes, or another number of logits.
        DataError: pixels outside [0, 1].
        Interrupted: a stop was asked for; the state is saved.

    Source: `AutoAttack.run_standard_evaluation` of the library.
    """
    attacks = suite(threat, classes=classes, shape=images.shape[-2:], version=version)
    _check_range(images)
    # Contiguous: the library calls .view on what it computes from the images.
    watched = _Watched(model)
    job = _Job(watched, images.contiguous(), labels, batch_size)
    devices = [images.device] if images.is_cuda else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        torch.manual_seed(seed)  # what a random model draws, in the checks and to classify the clean images
        state = _resume(checkpoint, images.device) or _start(job, classes=classes)
        watched.watch = partial(checkpoint.step, lambda: vars(state))
        library = _library(watched, threat, version=version, classes=classes, seed=seed, device=images.device)
        for done, attack in enumerate(attacks):
            progress(done, len(attacks))
            if attack not in state.accuracy:
                _run(attack, library, job=job, state=state, checkpoint=checkpoint)
        progress(len(attacks), len(attacks))
    state.checks["not_standard"] = attacks not in (STANDARD, RAND, ())
    state.checks["square_improved"] = square_improved(state.accuracy)
    return AutoAttackResult(state.robust, state.adversarial, state.accuracy, state.checks)


def suite(
    threat: ThreatModel, *, classes: int, shape: torch.Size | tuple[int, int], version: Version = "standard"
) -> tuple[str, ...]:
    """Return the attacks of a version that exist for so many classes and such an image (H, W).

    With fewer than four classes there is no targeted DLR loss: three classes get the untargeted one, two need
    none, since their cross-entropy already orders images by the margin (fra31/auto-attack issue 70).

    Raises:
        ConfigError: fewer than two classes.
    """
    if classes < 2:
        raise ConfigError(f"AutoAttack: {classes} class, expected at least 2; use images of two classes or more")
    if threat.epsilon == 0:
        return ()
    if version == "rand":
        return RAND if classes > 2 else RAND[:1]
    targeted_dlr = {2: (), 3: ("apgd-dlr",)}.get(classes, ("apgd-t",))
    square = ("square",) if threat.norm is not Norm.L2 or _square_tiles(*shape) else ()
    return ("apgd-ce", *targeted_dlr, "fab-t", *square)


def _square_tiles(height: int, width: int) -> bool:
    """Return whether Square's L2 start fits the image; the library fails for heights 12, 14, 18, 19 and 24.

    Square lays tiles of a fifth of the height, from the middle of what five tiles leave over.
    """
    tile = height // 5
    if tile < 2:
        return tile == 1
    start = (height - 5 * tile) // 2
    return all(start + size // tile * tile <= size for size in (height, width))


def _library(
    model: Classifier, threat: ThreatModel, *, version: Version, classes: int, seed: int, device: torch.device
) -> Any:
    """Return the library's version, its targeted attacks set to classes that exist."""
    options = {"norm": threat.norm.value, "eps": threat.epsilon, "seed": seed, "device": device}
    if "verbose" in inspect.signature(AutoAttack).parameters:  # only the older package's, which prints
        options["verbose"] = False
    library = AutoAttack(model, version=version, **options)
    library.apgd_targeted.n_target_classes = min(TARGET_CLASSES, classes - 1)
    library.fab.n_target_classes = min(TARGET_CLASSES, classes - 1)
    library.apgd.logger = library.apgd_targeted.logger = None  # then its checks warn, which `_run` counts
    return library


def _start(job: _Job, *, classes: int) -> _State:
    """Run the library's checks on the first batch, as it does, and find the correctly classified images.

    A random model then draws as in the library: for two checks, and for the clean images. The rest goes first.
    """
    images, labels = job.images[: job.batch_size], job.labels[: job.batch_size]
    with torch.random.fork_rng([images.device] if images.is_cuda else []):
        logits = job.model(images).shape[1]
        randomized = is_randomized(job.model, images, labels)
    if logits != classes:
        raise ConfigError(f"AutoAttack: {logits} logits, expected {classes}, one a class; fit the probe again")
    found = {
        "randomized": randomized,
        "probability": is_probability(job.model, images),
        "dynamic": is_dynamic(job.model, images),
        "zero_gradient": False,
    }
    batches = zip(torch.split(job.images, job.batch_size), torch.split(job.labels, job.batch_size), strict=True)
    robust = torch.cat([job.correct(*batch) for batch in batches])
    return _State(robust, job.images.clone(), {"clean": _accuracy(robust)}, found)


def _run(attack: str, library: Any, *, job: _Job, state: _State, checkpoint: ResumePoint) -> None:
    """Run one attack on what is still robust, a batch at a time, and note in the state what it found."""
    perturb = _perturbation(library, attack)
    if state.pending is None:
        state.pending = state.robust.nonzero().squeeze(1)  # (robust images,)
    while len(state.pending):
        batch = state.pending[: job.batch_size]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            candidates = perturb(job.images[batch], job.labels[batch])
        state.checks["zero_gradient"] |= is_flagged(caught)
        fooled = ~job.correct(candidates, job.labels[batch])
        state.robust[batch[fooled]] = False
        state.adversarial[batch[fooled]] = candidates[fooled]
        state.pending = state.pending[job.batch_size :]
        checkpoint.step(lambda: vars(state))
    state.pending = None
    state.accuracy[attack] = _accuracy(state.robust)
    logger.info("robust accuracy after %s: %.4f", attack, state.accuracy[attack])


def _perturbation(library: Any, attack: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return an attack's function of images and labels, set up as `run_standard_evaluation` does."""
    if attack == "fab-t":
        library.fab.targeted = True
    if attack in ("apgd-ce", "apgd-dlr"):
        library.apgd.loss = attack.removeprefix("apgd-")
    attackers = {"apgd-t": library.apgd_targeted, "fab-t": library.fab, "square": library.square}
    perturb: Callable[[Tensor, Tensor], Tensor] = attackers.get(attack, library.apgd).perturb
    return perturb


def _resume(checkpoint: ResumePoint, device: torch.device) -> _State | None:
    saved = checkpoint.load()
    if saved is None:
        return None
    state = _State(**saved)
    state.robust, state.adversarial = state.robust.to(device), state.adversarial.to(device)
    state.pending = None if state.pending is None else state.pending.to(device)
    return state


def _check_range(images: Tensor) -> None:
    low, high = images.min().item(), images.max().item()
    if low < 0 or high > 1:
        raise DataError(f"AutoAttack: pixels in [{low:g}, {high:g}], expected [0, 1]; divide 8-bit images by 255")


def _accuracy(robust: Tensor) -> float:
    return int(robust.sum()) / len(robust)
