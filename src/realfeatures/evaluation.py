"""Clean and robust accuracy of a classifier, by PGD and AutoAttack, with the verdict on every single image.

Attacks start from natural test images (protocol `natural`), and run in float32 whatever the training ran in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from realfeatures.artifacts import OutputDir, save_tensors
from realfeatures.attacks.autoattack import autoattack, suite
from realfeatures.attacks.pgd import Classifier, pgd, untargeted
from realfeatures.checkpoint import Checkpoint
from realfeatures.config import AttackConfig, PGDConfig, ThreatModel
from realfeatures.data.images import ImageSet, to_float
from realfeatures.run import ProgressCallback, Run

CLEAN = "clean"

Details = dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What a classifier withstood.

    Attributes:
        measurements: one flat dict an attack: attack (none, pgd or autoattack), norm, epsilon, protocol, metric
            (clean_accuracy or robust_accuracy), correct (of n images), n, and details of the attack.
        flags: for each measurement by its name, such as `clean` or `pgd_L2_0.25`: (n,) uint8, 1 where the image
            is classified correctly and stays so.
    """

    measurements: list[dict[str, Any]]
    flags: dict[str, Tensor]

    def save(self, folder: OutputDir) -> None:
        """Write the flags as `flags.safetensors`.

        Raises:
            StorageError: the file cannot be written.
        """
        save_tensors(folder / "flags.safetensors", self.flags)


def evaluate(config: AttackConfig, model: Classifier, test_set: ImageSet, run: Run) -> Evaluation:
    """Measure clean accuracy on all images, and robust accuracy on the first few, for each threat model.

    Args:
        config: threat models, numbers of images, steps.
        model: maps images (N, C, H, W) float32 in [0, 1] to logits (N, K) in float32; in eval mode, its weights
            frozen.
        test_set: natural images.
        run: its checkpoint keeps every finished attack, and how far AutoAttack is.

    Raises:
        Interrupted: a stop was asked for; the checkpoint is saved.
    """
    state = _State.resume(run.checkpoint)
    target = _Target(config, model, test_set.to(run.device), run)
    measures = _measures(target)
    total = sum(measure.cost for measure in measures)
    done = 0
    for measure in measures:
        if measure.name not in state.flags:
            # Bound now: the attack tells of its own progress while `done` stands still.
            progress = _shifted(run.progress, done, total)
            flags, details = measure.run(state, progress)
            state.finish(measure.name, flags, details)
            run.checkpoint.step(state.content)
        done += measure.cost
        run.progress(done, total)
    measurements = [
        {
            **measure.labels,
            "protocol": "natural",
            "correct": int(state.flags[measure.name].sum()),
            "n": len(state.flags[measure.name]),
            "details": state.details[measure.name],
        }
        for measure in measures
    ]
    return Evaluation(measurements, {measure.name: state.flags[measure.name] for measure in measures})
