"""Clean and robust accuracy of a classifier, by PGD and AutoAttack, with the verdict on every single image.

Attacks start from natural test images (protocol `natural`), and run in float32 whatever the training ran in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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


@dataclass(frozen=True)
class Evaluation:
    """What a classifier withstood.

    Attributes:
        measurements: one flat dict for each: attack (none, pgd or autoattack), norm, epsilon, protocol,
            metric (clean_accuracy or robust_accuracy), correct (of n images), n, and the attack's details.
        flags: for each measurement by its name, such as `clean` or `pgd_L2_0.25`: (n,) uint8, 1 where the
            image is classified correctly and the attack left it so.
        predictions: (n,) int16, the class that each clean image is taken for.
    """

    measurements: list[dict[str, Any]]
    flags: dict[str, Tensor]
    predictions: Tensor

    def save(self, folder: OutputDir) -> None:
        """Write the flags as `flags.safetensors` and the predictions as `predictions.safetensors`.

        Raises:
            StorageError: a file cannot be written.
        """
        save_tensors(folder / "flags.safetensors", self.flags)
        save_tensors(folder / "predictions.safetensors", {CLEAN: self.predictions})


def evaluate(config: AttackConfig, model: Classifier, test_set: ImageSet, run: Run) -> Evaluation:
    """Measure clean accuracy on all images, and robust accuracy on the first few for each threat model.

    Args:
        config: threat models, numbers of images, steps.
        model: maps images (N, C, H, W) float32 in [0, 1] to logits (N, K), in float32; in eval mode, its
            weights frozen.
        test_set: natural images.
        run: its checkpoint keeps every finished measurement, and how far a running AutoAttack is.

    Raises:
        ConfigError: AutoAttack on fewer than two classes.
        Interrupted: a stop was asked for; the checkpoint is saved.
    """
    ledger = _Ledger.resume(run.checkpoint)
    subject = _Subject(config, model, test_set.to(run.device), run)
    measures = _measures(config, test_set)
    total = sum(measure.cost for measure in measures)
    done = 0
    for measure in measures:
        if measure.name not in ledger.finished:
            progress = partial(_shift, run.progress, done, total)
            flags, details = measure.take(subject, ledger, progress)
            ledger.finish(measure, flags=flags, details=details)
        done += measure.cost
        run.progress(done, total)
    entries = [ledger.finished[measure.name] for measure in measures]
    flags_by_name = {measure.name: entry["flags"] for measure, entry in zip(measures, entries, strict=True)}
    assert ledger.predictions is not None  # noqa: S101 - narrows the type: the clean measurement is always taken
    return Evaluation([entry["measurement"] for entry in entries], flags_by_name, ledger.predictions)


@dataclass(frozen=True)
class _Subject:
    """What is measured."""

    config: AttackConfig
    model: Classifier
    test_set: ImageSet
    run: Run

    def predict(self, images: Tensor) -> Tensor:
        """Return the class that each float image is taken for, (N,) int64, still on the device."""
        with torch.no_grad():
            return self.model(images).argmax(dim=1)


Take = Callable[[_Subject, "_Ledger", ProgressCallback], tuple[Tensor, dict[str, Any]]]
"""Measures: returns the flags (n,) bool, and details of the attack for the report."""


@dataclass(frozen=True)
class _Measure:
    """One measurement to take."""

    name: str
    labels: dict[str, Any]
    """attack, norm, epsilon and metric."""
    take: Take
    cost: int = 1
    """Steps of progress."""


@dataclass
class _Ledger:
    """What the stage's one checkpoint holds; the attack in progress saves its own state by `step`."""

    checkpoint: Checkpoint
    finished: dict[str, Any]
    """For each measurement by name: `flags` and `measurement`."""
    running: Any = None
    """State of the attack in progress."""
    predictions: Tensor | None = None
    """Of the clean images."""

    @classmethod
    def resume(cls, checkpoint: Checkpoint) -> "_Ledger":
        return cls(checkpoint, **(checkpoint.load() or {"finished": {}}))

    def load(self) -> Any | None:
        return self.running

    def step(self, state: Callable[[], Any]) -> None:
        self.checkpoint.step(lambda: {"finished": self.finished, "running": state(), "predictions": self.predictions})

    def finish(self, measure: _Measure, *, flags: Tensor, details: dict[str, Any]) -> None:
        """Note a measurement; here the host waits for the device, once."""
        flags = flags.to("cpu", torch.uint8)
        counts = {"correct": int(flags.sum()), "n": len(flags)}
        measurement = {**measure.labels, "protocol": "natural", **counts, "details": details}
        self.finished[measure.name] = {"flags": flags, "measurement": measurement}
        self.running = None
        self.step(lambda: None)


def _measures(config: AttackConfig, test_set: ImageSet) -> list[_Measure]:
    """Return what is to be measured, cheapest first; the same threat model twice is measured once."""
    shape = test_set.images.shape[-2:]
    clean = {"attack": "none", "norm": "none", "epsilon": 0.0, "metric": "clean_accuracy"}
    measures = [_Measure(CLEAN, clean, _measure_clean)]
    measures += [_robust("pgd", threat, _measure_pgd) for threat in dict.fromkeys(config.pgd)]
    for threat in dict.fromkeys(config.autoattack):
        # At least one: nothing runs for an epsilon of zero.
        attacks = max(1, len(suite(threat, classes=len(test_set.classes), shape=shape)))
        measures.append(_robust("autoattack", threat, _measure_autoattack, cost=attacks))
    return measures


def _robust(attack: str, threat: ThreatModel, take: Callable[..., Any], *, cost: int = 1) -> _Measure:
    labels = {
        "attack": attack,
        "norm": threat.norm.value,
        "epsilon": threat.epsilon,
        "metric": "robust_accuracy",
    }
    name = f"{attack}_{threat.norm.value}_{threat.epsilon:g}"
    return _Measure(name, labels, partial(take, threat), cost)


def _measure_clean(subject: _Subject, ledger: _Ledger, _progress: ProgressCallback) -> tuple[Tensor, dict[str, Any]]:
    batches = torch.split(subject.test_set.images, subject.config.batch_size)
    predictions = torch.cat([subject.predict(to_float(images)) for images in batches])
    ledger.predictions = predictions.to("cpu", torch.int16)
    return predictions == subject.test_set.labels, {}


def _measure_pgd(
    threat: ThreatModel, subject: _Subject, ledger: _Ledger, _progress: ProgressCallback
) -> tuple[Tensor, dict[str, Any]]:
    """Attack only images that are classified correctly: the others are not robust to begin with."""
    config, chosen = subject.config, subject.test_set.first(subject.config.images)
    step_size = config.pgd_relative_step_size * threat.epsilon
    details = {"steps": config.pgd_steps, "step_size": step_size}
    flags = ledger.finished[CLEAN]["flags"][: len(chosen)].bool().to(chosen.images.device)
    if threat.epsilon == 0:
        return flags, details
    attack = PGDConfig(norm=threat.norm, epsilon=threat.epsilon, step_size=step_size, steps=config.pgd_steps)
    generator = subject.run.generator(f"pgd/{threat.norm.value}/{threat.epsilon:g}")
    for batch in torch.split(flags.nonzero().squeeze(1), config.batch_size):
        if len(batch) == 0:  # an empty tensor splits into one empty batch, which not every network takes
            break
        images, labels = to_float(chosen.images[batch]), chosen.labels[batch]
        adversarial = pgd(untargeted(subject.model, labels), images, threat=attack, generator=generator)
        flags[batch] = subject.predict(adversarial) == labels
    return flags, details


def _measure_autoattack(
    threat: ThreatModel, subject: _Subject, ledger: _Ledger, progress: ProgressCallback
) -> tuple[Tensor, dict[str, Any]]:
    chosen = subject.test_set.first(subject.config.autoattack_images)
    result = autoattack(
        subject.model,
        to_float(chosen.images),
        chosen.labels,
        threat=threat,
        classes=len(chosen.classes),
        seed=subject.run.seed % 2**31,
        batch_size=subject.config.batch_size,
        checkpoint=ledger,
        progress=progress,
    )
    return result.robust, {"accuracy_after": result.accuracy, "checks": result.checks}


def _shift(progress: ProgressCallback, before: int, total: int, done: int, _of: int) -> None:
    """Tell of an attack's own progress as a part of the whole."""
    progress(before + done, total)
