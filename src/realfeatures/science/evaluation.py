"""Clean and robust accuracy of a classifier, by PGD and AutoAttack, with the verdict on every single image.

Attacks run in float32 whatever the training ran in. They start from natural test images (protocol `natural`), or
from the images of the robust set (`robust_set`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from realfeatures.experiment.config import AttackConfig, KNNConfig, ThreatModel
from realfeatures.experiment.vocabulary import Attack, Protocol, measurement_name
from realfeatures.science.artifacts import OutputDir, save_tensors
from realfeatures.science.attacks.autoattack import Version, autoattack, suite
from realfeatures.science.attacks.autoattack_checks import unseen_draws
from realfeatures.science.attacks.gradient_masking import check_gradient_masking
from realfeatures.science.attacks.pgd import Ball, away_from, maximise, untargeted
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.inputs import require_logits
from realfeatures.science.probe import ProbedEncoder, nearest_neighbours

CLEAN = "clean"


@dataclass(frozen=True)
class Evaluation:
    """What a classifier withstood.

    Attributes:
        measurements: one flat row for each: attack, norm and epsilon ("none" and 0 for clean accuracy), protocol,
            metric (clean_accuracy or robust_accuracy), correct (of n images), n, and the attack's details.
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
        test_set: what attacks start from, of K classes.
        run: its checkpoint keeps every finished measurement, and how far a running AutoAttack is.

    Raises:
        ConfigError: AutoAttack on fewer than two classes, or another number of logits than of classes.
        Interrupted: a stop was asked for; the checkpoint is saved.
    """
    evaluator = _Evaluator(config, model, test_set.to(run.device), run)
    measured = list(evaluator.measurements())
    rows, flags = [row for _, row, _ in measured], {name: flags for name, _, flags in measured}
    return Evaluation(rows, flags, evaluator.kept.predictions, evaluator.masking(rows))


def evaluate_neighbours(
    config: KNNConfig, encoder: nn.Module, train_set: ImageSet, test_set: ImageSet, run: Run
) -> Evaluation:
    """Measure clean accuracy of the nearest training images' vote; see `probe.nearest_neighbours`."""
    predictions = nearest_neighbours(config, encoder, train_set, test_set.images, run).to("cpu")
    row, flags = _counted(Attack.NONE, None, Protocol.NATURAL, predictions == test_set.labels, {})
    return Evaluation([row], {CLEAN: flags}, predictions.to(torch.int16))


class _Evaluator:
    """Takes the measurements of one classifier, each of them once however often it is interrupted."""

    def __init__(self, config: AttackConfig, model: ProbedEncoder, test_set: ImageSet, run: Run) -> None:
        self.config, self.model, self.test_set, self.run = config, model, test_set, run
        self.kept = _Kept(run.checkpoint)
        self.done = 0
        self.total = sum(self._steps(attack, threat) for attack, threat in self.planned())

    def planned(self) -> Iterator[tuple[Attack, ThreatModel | None]]:
        """Yield what is to be measured, cheapest first; the same threat model twice is measured once."""
        config = self.config
        yield Attack.NONE, None
        yield from ((Attack.PGD, threat) for threat in dict.fromkeys(config.pgd))
        yield from ((Attack.PGD_REPRESENTATION, threat) for threat in dict.fromkeys(config.representation))
        yield from ((Attack.AUTOATTACK, threat) for threat in dict.fromkeys(config.autoattack))

    def measurements(self) -> Iterator[tuple[str, dict[str, Any], Tensor]]:
        """Yield name, row and flags of each measurement once it is taken, or at once where the checkpoint has it."""
        for attack, threat in self.planned():
            name = measurement_name(_labels(attack, threat, self.config.protocol))
            if name not in self.kept.finished:
                with unseen_draws(self.run.device):
                    # An encoder that is random by design draws the same in every run, interrupted before or not.
                    torch.manual_seed(self.run.generator(name).initial_seed())
                    flags, details = self._measure(attack, threat)
                self.kept.finish(name, *_counted(attack, threat, self.config.protocol, flags, details))
            self.done += self._steps(attack, threat)
            self.run.progress(self.done, self.total)
            yield name, self.kept.finished[name]["row"], self.kept.finished[name]["flags"]

    def masking(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the signs of gradient masking at the largest PGD epsilon of each norm, and AutoAttack's own."""
        config = self.config
        if not config.masking_images or not config.pgd:
            return {}
        images = self.test_set.first(config.masking_images)
        checks: dict[str, bool] = {}
        details: dict[str, float] = {}
        for norm in dict.fromkeys(threat.norm for threat in config.pgd):
            threat = max((threat for threat in config.pgd if threat.norm is norm), key=lambda threat: threat.epsilon)
            masking = check_gradient_masking(
                self.model,
                to_float(images.images),
                images.labels,
                threat=threat,
                steps=config.pgd_steps,
                step_size=config.pgd_relative_step_size * threat.epsilon,
                generator=self.run.generator(f"masking/{norm.value}"),
                batch_size=config.batch_size,
            )
            checks |= {f"{norm.value} {name}": raised for name, raised in masking.checks.items()}
            details |= {f"{norm.value} {name}": value for name, value in masking.details.items()}
        for row in (row for row in rows if row["attack"] == Attack.AUTOATTACK):
            name = f"{row['norm']} square_below_apgd"
            checks[name] = checks.get(name, False) | row["details"]["checks"]["square_improved"]
        return {"checks": checks, "details": details}

    def _measure(self, attack: Attack, threat: ThreatModel | None) -> tuple[Tensor, dict[str, Any]]:
        """Return the flags, (n,) bool, and details of the attack for the report."""
        if threat is None:
            return self._clean(), {}
        return self._autoattack(threat) if attack is Attack.AUTOATTACK else self._pgd(attack, threat)

    def _clean(self) -> Tensor:
        batches = torch.split(self.test_set.images, self.config.batch_size)
        predictions = torch.cat([self._predict(to_float(images)) for images in batches])
        self.kept.predictions = predictions.to("cpu", torch.int16)
        return predictions == self.test_set.labels

    def _pgd(self, attack: Attack, threat: ThreatModel) -> tuple[Tensor, dict[str, Any]]:
        """Attack only images that are classified correctly: the others are not robust to begin with."""
        config, chosen = self.config, self.test_set.first(self.config.images)
        steps, step_size = config.pgd_steps, config.pgd_relative_step_size * threat.epsilon
        details = {"steps": steps, "step_size": step_size}
        flags = self.kept.finished[CLEAN]["flags"][: len(chosen)].bool().to(chosen.images.device)
        if threat.epsilon == 0:
            return flags, details
        generator = self.run.generator(f"{attack}/{threat.norm}/{threat.epsilon:g}")
        for batch in torch.split(flags.nonzero().squeeze(1), config.batch_size):
            if len(batch) == 0:  # an empty tensor splits into one empty batch, which not every network takes
                break
            images, labels = to_float(chosen.images[batch]), chosen.labels[batch]
            adversarial = maximise(
                untargeted(self.model, labels) if attack is Attack.PGD else away_from(self.model.encoder, images),
                images,
                ball=Ball(threat.norm, threat.epsilon),
                steps=steps,
                step_size=step_size,
                generator=generator,
            )
            flags[batch] = self._predict(adversarial) == labels
        return flags, details

    def _autoattack(self, threat: ThreatModel) -> tuple[Tensor, dict[str, Any]]:
        chosen = self.test_set.first(self.config.autoattack_images)
        result = autoattack(
            self.model,
            to_float(chosen.images),
            chosen.labels,
            ball=Ball(threat.norm, threat.epsilon),
            version=self._version,
            batch_size=self.config.batch_size,
            run=replace(self.run, checkpoint=self.kept, progress=self._progress_within),
        )
        details = {"version": self._version, "accuracy_after": result.accuracy, "checks": result.checks}
        return result.robust, details

    @property
    def _version(self) -> Version:
        """Which AutoAttack the model asks for: an encoder that is random by design says so."""
        return "rand" if self.model.encoder.randomised else "standard"

    def _steps(self, attack: Attack, threat: ThreatModel | None) -> int:
        """Return the steps of progress of a measurement: one, or the attacks of AutoAttack."""
        if threat is None or attack is not Attack.AUTOATTACK:
            return 1
        ball, classes = Ball(threat.norm, threat.epsilon), len(self.test_set.classes)
        attacks = suite(ball, classes=classes, shape=self.test_set.images.shape[-2:], version=self._version)
        return max(1, len(attacks))  # nothing runs for an epsilon of zero

    def _progress_within(self, done: int, _attacks: int) -> None:
        self.run.progress(self.done + done, self.total)

    def _predict(self, images: Tensor) -> Tensor:
        """Return the class that each float image is taken for, (N,) int64, still on the device."""
        with torch.no_grad():
            logits = self.model(images)
        require_logits(logits, len(self.test_set.classes))
        return logits.argmax(dim=1)


class _Kept(Checkpoint):
    """What the stage's one checkpoint holds; to the AutoAttack in progress it is a checkpoint of its own.

    Attributes:
        finished: for each measurement by its name: `row` and `flags`.
        predictions: of the clean images.
        running: state of the AutoAttack in progress.
    """

    def __init__(self, stage: Checkpoint) -> None:
        super().__init__(stop=stage.stop)
        self.stage = stage
        saved = stage.load() or {}
        self.finished: dict[str, Any] = saved.get("finished", {})
        self.predictions: Tensor = saved.get("predictions", torch.empty(0, dtype=torch.int16))
        self.running: Any = saved.get("running")

    def load(self) -> Any | None:
        return self.running

    def step(self, running: Callable[[], Any]) -> None:
        self.stage.step(lambda: {"finished": self.finished, "predictions": self.predictions, "running": running()})

    def finish(self, name: str, row: dict[str, Any], flags: Tensor) -> None:
        """Note a measurement, after which no attack is in progress."""
        self.finished[name] = {"row": row, "flags": flags}
        self.running = None
        self.step(lambda: None)


def _labels(attack: Attack, threat: ThreatModel | None, protocol: Protocol) -> dict[str, Any]:
    """Return what a row says of what was measured."""
    return {
        "attack": attack.value,
        "norm": threat.norm.value if threat else "none",
        "epsilon": threat.epsilon if threat else 0.0,
        "protocol": protocol.value,
        "metric": "robust_accuracy" if threat else "clean_accuracy",
    }


def _counted(
    attack: Attack, threat: ThreatModel | None, protocol: Protocol, flags: Tensor, details: dict[str, Any]
) -> tuple[dict[str, Any], Tensor]:
    """Return a measurement's row, and its flags as uint8; here the host waits for the device, once."""
    flags = flags.to("cpu", torch.uint8)
    counts = {"correct": int(flags.sum()), "n": len(flags), "details": details}
    return _labels(attack, threat, protocol) | counts, flags
