"""Clean and robust accuracy of a classifier, by PGD and AutoAttack, with the verdict on every single image.

Attacks run in float32 whatever the training ran in. They start from natural test images (protocol `natural`), or
from the images of the robust set (`robust_set`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from realfeatures.experiment.config import (
    AttackConfig,
    KNNConfig,
    PGDConfig,
    ThreatModel,
)
from realfeatures.experiment.vocabulary import Protocol, measurement_name
from realfeatures.science.artifacts import OutputDir, save_tensors
from realfeatures.science.attacks.autoattack import Version, autoattack, suite
from realfeatures.science.attacks.masking import check_masking
from realfeatures.science.attacks.pgd import Objective, pgd, untargeted
from realfeatures.science.attacks.representation import away_from
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.context import ProgressCallback, Run
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.probe import ProbedEncoder, nearest_neighbours

CLEAN = "clean"


@dataclass(frozen=True)
class Evaluation:
    """What a classifier withstood.

    Attributes:
        measurements: one flat dict for each: attack (none, pgd, pgd_representation or autoattack), norm, epsilon,
            protocol, metric (clean_accuracy or robust_accuracy), correct (of n images), n, and the attack's details.
        flags: for each measurement by its name, such as `clean` or `pgd_L2_0.25`: (n,) uint8, 1 where the
            image is classified correctly and the attack left it so.
        predictions: (n,) int16, the class that each clean image is taken for.
        masking: signs of gradient masking, for each norm; empty where they were not looked for.
    """

    measurements: list[dict[str, Any]]
    flags: dict[str, Tensor]
    predictions: Tensor
    masking: dict[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """What the report needs of it."""
        return {"measurements": self.measurements, **({"masking": self.masking} if self.masking else {})}

    def save(self, folder: OutputDir) -> None:
        """Write the flags as `flags.safetensors` and the predictions as `predictions.safetensors`.

        Raises:
            StorageError: a file cannot be written.
        """
        save_tensors(folder / "flags.safetensors", self.flags)
        save_tensors(folder / "predictions.safetensors", {CLEAN: self.predictions})


def evaluate(config: AttackConfig, model: ProbedEncoder, test_set: ImageSet, run: Run) -> Evaluation:
    """Measure clean accuracy on all images, and robust accuracy on the first few for each threat model.

    Args:
        config: threat models, numbers of images, steps.
        model: maps images (N, C, H, W) float32 in [0, 1] to logits (N, K), in float32; in eval mode, its
            weights frozen. Its `encoder` is what an attack on the representation moves.
        test_set: what attacks start from.
        run: its checkpoint keeps every finished measurement, and how far a running AutoAttack is.

    Raises:
        ConfigError: AutoAttack on fewer than two classes.
        Interrupted: a stop was asked for; the checkpoint is saved.
    """
    ledger = _Ledger.resume(run.checkpoint)
    subject = _Subject(config, model, test_set.to(run.device), run)
    measures = _measures(subject)
    total = sum(measure.cost for measure in measures)
    done = 0
    for measure in measures:
        if measure.name not in ledger.finished:
            progress = partial(_shift, run.progress, done, total)
            with _seeded(run, measure.name):
                flags, details = measure.take(subject, ledger, progress)
            ledger.finish(measure, flags=flags, details=details)
        done += measure.cost
        run.progress(done, total)
    entries = [ledger.finished[measure.name] for measure in measures]
    flags_by_name = {measure.name: entry["flags"] for measure, entry in zip(measures, entries, strict=True)}
    assert ledger.predictions is not None  # noqa: S101 - narrows the type: the clean measurement is always taken
    taken = [entry["measurement"] for entry in entries]
    return Evaluation(taken, flags_by_name, ledger.predictions, _masking(subject, taken))


def evaluate_neighbours(
    config: KNNConfig, encoder: nn.Module, train_set: ImageSet, test_set: ImageSet, run: Run
) -> Evaluation:
    """Measure clean accuracy of the nearest training images' vote; see `probe.nearest_neighbours`."""
    predictions = nearest_neighbours(config, encoder, train_set, test_set.images, run).to("cpu")
    flags = (predictions == test_set.labels).to(torch.uint8)
    measurement = {**_CLEAN_LABELS, "protocol": Protocol.NATURAL.value, **_counts(flags), "details": {}}
    return Evaluation([measurement], {CLEAN: flags}, predictions.to(torch.int16))


@dataclass(frozen=True)
class _Subject:
    """What is measured."""

    config: AttackConfig
    model: ProbedEncoder
    test_set: ImageSet
    run: Run

    @property
    def version(self) -> Version:
        """Which AutoAttack the model asks for: an encoder that is random by design says so."""
        return "rand" if self.model.encoder.randomised else "standard"

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
    """attack, norm, epsilon, metric and protocol."""
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
        measurement = {**measure.labels, **_counts(flags), "details": details}
        self.finished[measure.name] = {"flags": flags, "measurement": measurement}
        self.running = None
        self.step(lambda: None)


@contextmanager
def _seeded(run: Run, purpose: str) -> Iterator[None]:
    """Let an encoder that is random by design draw the same in every run, interrupted before or not."""
    with torch.random.fork_rng([run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(run.generator(purpose).initial_seed())
        yield


def _measures(subject: _Subject) -> list[_Measure]:
    """Return what is to be measured, cheapest first; the same threat model twice is measured once."""
    config, classes, shape = subject.config, len(subject.test_set.classes), subject.test_set.images.shape[-2:]
    protocol = config.protocol.value
    measures = [_Measure(CLEAN, {**_CLEAN_LABELS, "protocol": protocol}, _measure_clean)]
    for attack, threats, objective in (
        ("pgd", config.pgd, _away_from_labels),
        ("pgd_representation", config.representation, _away_from_representations),
    ):
        take = partial(_measure_pgd, attack, objective)
        measures += [_robust(attack, threat, take, protocol) for threat in dict.fromkeys(threats)]
    for threat in dict.fromkeys(config.autoattack):
        # At least one: nothing runs for an epsilon of zero.
        attacks = max(1, len(suite(threat, classes=classes, shape=shape, version=subject.version)))
        measures.append(_robust("autoattack", threat, _measure_autoattack, protocol, cost=attacks))
    return measures


_CLEAN_LABELS = {"attack": "none", "norm": "none", "epsilon": 0.0, "metric": "clean_accuracy"}


def _counts(flags: Tensor) -> dict[str, int]:
    return {"correct": int(flags.sum()), "n": len(flags)}


def _robust(attack: str, threat: ThreatModel, take: Callable[..., Any], protocol: str, *, cost: int = 1) -> _Measure:
    labels = {
        "attack": attack,
        "norm": threat.norm.value,
        "epsilon": threat.epsilon,
        "metric": "robust_accuracy",
        "protocol": protocol,
    }
    return _Measure(measurement_name(labels), labels, partial(take, threat), cost)


def _measure_clean(subject: _Subject, ledger: _Ledger, _progress: ProgressCallback) -> tuple[Tensor, dict[str, Any]]:
    batches = torch.split(subject.test_set.images, subject.config.batch_size)
    predictions = torch.cat([subject.predict(to_float(images)) for images in batches])
    ledger.predictions = predictions.to("cpu", torch.int16)
    return predictions == subject.test_set.labels, {}


def _away_from_labels(subject: _Subject, images: Tensor, labels: Tensor) -> Objective:  # noqa: ARG001
    return untargeted(subject.model, labels)


def _away_from_representations(subject: _Subject, images: Tensor, labels: Tensor) -> Objective:  # noqa: ARG001
    return away_from(subject.model.encoder, images)


def _measure_pgd(
    name: str,
    objective: Callable[[_Subject, Tensor, Tensor], Objective],
    threat: ThreatModel,
    subject: _Subject,
    ledger: _Ledger,
    _progress: ProgressCallback,
) -> tuple[Tensor, dict[str, Any]]:
    """Attack only images that are classified correctly: the others are not robust to begin with."""
    config, chosen = subject.config, subject.test_set.first(subject.config.images)
    step_size = config.pgd_relative_step_size * threat.epsilon
    details = {"steps": config.pgd_steps, "step_size": step_size}
    flags = ledger.finished[CLEAN]["flags"][: len(chosen)].bool().to(chosen.images.device)
    if threat.epsilon == 0:
        return flags, details
    attack = PGDConfig(norm=threat.norm, epsilon=threat.epsilon, step_size=step_size, steps=config.pgd_steps)
    generator = subject.run.generator(f"{name}/{threat.norm.value}/{threat.epsilon:g}")
    for batch in torch.split(flags.nonzero().squeeze(1), config.batch_size):
        if len(batch) == 0:  # an empty tensor splits into one empty batch, which not every network takes
            break
        images, labels = to_float(chosen.images[batch]), chosen.labels[batch]
        adversarial = pgd(objective(subject, images, labels), images, threat=attack, generator=generator)
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
        version=subject.version,
    )
    details = {"version": subject.version, "accuracy_after": result.accuracy, "checks": result.checks}
    return result.robust, details


def _masking(subject: _Subject, measurements: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the signs of gradient masking at the largest PGD epsilon of each norm, and AutoAttack's own."""
    config = subject.config
    chosen = subject.test_set.first(config.masking_images)
    found: dict[str, Any] = {"checks": {}, "details": {}}
    if not len(chosen) or not config.pgd:
        return {}
    for norm in dict.fromkeys(threat.norm for threat in config.pgd):
        threat = max((one for one in config.pgd if one.norm is norm), key=lambda one: one.epsilon)
        masking = check_masking(
            subject.model,
            to_float(chosen.images),
            chosen.labels,
            threat=threat,
            steps=config.pgd_steps,
            step_size=config.pgd_relative_step_size * threat.epsilon,
            generator=subject.run.generator(f"masking/{norm.value}"),
            batch_size=config.batch_size,
        )
        found["checks"] |= {f"{norm.value} {name}": raised for name, raised in masking.checks.items()}
        found["details"] |= {f"{norm.value} {name}": value for name, value in masking.details.items()}
    for measured in measurements:
        if measured["attack"] == "autoattack":
            name = f"{measured['norm']} square_below_apgd"
            found["checks"][name] = found["checks"].get(name, False) | measured["details"]["checks"]["square_improved"]
    return found


def _shift(progress: ProgressCallback, before: int, total: int, done: int, _of: int) -> None:
    """Tell of an attack's own progress as a part of the whole."""
    progress(before + done, total)
