"""AutoAttack, resumable batch by batch, with its sanity checks as fields of the result (Croce and Hein 2020).

The attacks and checks are the authors' own, from the package `pyautoattack`. Only the loop around them is written
here (its result is theirs, image by image): it can stop and resume, leaves torch's global generator alone, and knows
when an attack of a version cannot run.
Source: arXiv 2003.01690; github.com/fra31/auto-attack, flags_doc.md for the checks.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from pyautoattack import AutoAttack
from torch import Tensor

from realfeatures.errors import ConfigError
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.attacks.autoattack_checks import (
    count_classes,
    is_dynamic,
    is_flagged,
    is_probability,
    is_randomized,
    square_improved,
    unseen_draws,
)
from realfeatures.science.attacks.pgd import Ball, Classifier
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.context import Run
from realfeatures.science.inputs import require_attackable, require_count

logger = logging.getLogger(__name__)

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
"""The attacks of the standard version, in the order in which they run."""

RAND = ("apgd-ce", "apgd-dlr")
"""The attacks of the version for random models; both average the gradient over 20 passes (EOT)."""

Version = Literal["standard", "rand"]
"""standard: for a deterministic model. rand: for one that is random by design, as a defence or as it was trained."""

TARGET_CLASSES = 9
"""How many wrong classes, likeliest first, the standard version's targeted attacks aim at."""


BATCH_SIZE = 250
"""Images attacked together where no other number is given, as in the library."""


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


@dataclass(frozen=True)
class _Job:
    """What is attacked, and the surroundings."""

    model: _Watched
    images: Tensor
    labels: Tensor
    batch_size: int
    run: Run

    @property
    def seed(self) -> int:
        """Of every attack; the library's generators take 31 bits."""
        return self.run.seed % 2**31

    def correct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return which images the model classifies correctly, (N,) bool; the first of equal logits counts."""
        return self.model(images).max(dim=1)[1] == labels


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
    ball: Ball,
    version: Version = "standard",
    batch_size: int = BATCH_SIZE,
    run: Run | None = None,
) -> AutoAttackResult:
    """Run a version of AutoAttack, each attack on the images that the earlier ones left robust.

    Args:
        model: images (N, C, H, W) -> logits (N, K), K at least 2; in eval mode; random (by torch's global generator,
            which is seeded here) only for version rand.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64 in [0, K).
        ball: norm and epsilon; for an epsilon of zero there is nothing to attack.
        version: which attacks; see `Version`.
        batch_size: images attacked together; the result depends on it, as it does in the library.
        run: its seed is every attack's; state is kept at every call of the model. None: seed 0, and nothing is kept.

    Raises:
        ConfigError: another version, a batch size below 1, a model in train mode, or fewer than two logits.
        DataError: images or labels of another type, shape or range.
        Interrupted: a stop was asked for; the state is saved.

    Source: `AutoAttack.run_standard_evaluation` of the library.

    Example: a linear model of four classes, each of which is a bright quarter of the image.
        >>> import torch
        >>> from realfeatures.science.attacks.autoattack import autoattack
        >>> from realfeatures.science.attacks.pgd import Ball
        >>> images = torch.full((2, 1, 8, 8), 0.4)
        >>> images[0, :, :4, :4], images[1, :, 4:, 4:] = 0.6, 0.9  # brighter by 0.2 and by 0.5
        >>> model = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten()).eval()
        >>> result = autoattack(model, images, torch.tensor([0, 3]), ball=Ball("Linf", 0.16))
        >>> result.robust.tolist(), result.accuracy["clean"], result.accuracy["square"]
        ([False, True], 1.0, 0.5)
    """
    if version not in get_args(Version):
        raise ConfigError(f"version {version!r}: expected one of {', '.join(get_args(Version))}")
    require_count("batch_size", batch_size)
    require_attackable(model, images, labels)
    run = run or Run(seed=0)
    classes = count_classes(model, images, labels)
    attacks = suite(ball, classes=classes, shape=images.shape[-2:], version=version)
    # Contiguous: the library calls .view on what it computes from the images.
    job = _Job(_Watched(model), images.contiguous(), labels, batch_size, run)
    with torch.no_grad(), unseen_draws(images.device):
        torch.manual_seed(job.seed)  # what a random model draws, in the checks and to classify the clean images
        state = _resume(run.checkpoint, images.device) or _start(job)
        job.model.watch = partial(run.checkpoint.step, lambda: vars(state))
        library = _library(job, ball, version=version, classes=classes)
        for done, attack in enumerate(attacks):
            run.progress(done, len(attacks))
            if attack not in state.accuracy:
                _run(attack, library, job=job, state=state)
        run.progress(len(attacks), len(attacks))
    return _result(state, standard=attacks in (STANDARD, RAND, ()))


def suite(
    ball: Ball, *, classes: int, shape: torch.Size | tuple[int, int], version: Version = "standard"
) -> tuple[str, ...]:
    """Return the attacks of a version that exist for so many classes and such an image (H, W).

    With fewer than four classes there is no targeted DLR loss: three classes get the untargeted one, two need
    none, since their cross-entropy already orders images by the margin (fra31/auto-attack issue 70).

    Raises:
        ConfigError: fewer than two classes.
    """
    if classes < 2:
        raise ConfigError(f"AutoAttack: {classes} class, expected at least 2; use images of two classes or more")
    if ball.epsilon == 0:
        return ()
    if version == "rand":
        return RAND if classes > 2 else RAND[:1]
    targeted_dlr = {2: (), 3: ("apgd-dlr",)}.get(classes, ("apgd-t",))
    square = ("square",) if ball.norm != Norm.L2 or _square_tiles(*shape) else ()
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


def _library(job: _Job, ball: Ball, *, version: Version, classes: int) -> Any:
    """Return the library's version, its targeted attacks set to classes that exist."""
    options = {"norm": str(ball.norm), "eps": ball.epsilon, "seed": job.seed, "device": job.images.device}
    library = AutoAttack(job.model, version=version, **options)
    library.apgd_targeted.n_target_classes = library.fab.n_target_classes = min(TARGET_CLASSES, classes - 1)
    library.apgd.logger = library.apgd_targeted.logger = None  # then its checks warn, which `_run` counts
    return library


def _start(job: _Job) -> _State:
    """Run the library's checks on the first batch, as it does, and find the correctly classified images.

    A random model then draws as in the library: for two checks, and for the clean images. The rest goes first.
    """
    images, labels = job.images[: job.batch_size], job.labels[: job.batch_size]
    with unseen_draws(images.device):
        randomized = is_randomized(job.model, images, labels)
    found = {
        "randomized": randomized,
        "probability": is_probability(job.model, images),
        "dynamic": is_dynamic(job.model, images),
        "zero_gradient": False,
    }
    batches = zip(torch.split(job.images, job.batch_size), torch.split(job.labels, job.batch_size), strict=True)
    robust = torch.cat([job.correct(*batch) for batch in batches])
    return _State(robust, job.images.clone(), {"clean": _accuracy(robust)}, found)


def _run(attack: str, library: Any, *, job: _Job, state: _State) -> None:
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
        job.run.checkpoint.step(lambda: vars(state))
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


def _result(state: _State, *, standard: bool) -> AutoAttackResult:
    checks = {**state.checks, "not_standard": not standard, "square_improved": square_improved(state.accuracy)}
    return AutoAttackResult(state.robust, state.adversarial, state.accuracy, checks)


def _resume(checkpoint: Checkpoint, device: torch.device) -> _State | None:
    saved = checkpoint.load()
    if saved is None:
        return None
    state = _State(**saved)
    state.robust, state.adversarial = state.robust.to(device), state.adversarial.to(device)
    state.pending = None if state.pending is None else state.pending.to(device)
    return state


def _accuracy(robust: Tensor) -> float:
    return int(robust.sum()) / len(robust)
