"""Transfer between classifiers: PGD on each of them, and what the others make of its adversarial images (E5).

Source: the split into same and different mistakes is Waseda et al. 2023 (arXiv 2112.14337).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from realfeatures.experiment.config import ThreatModel, TransferConfig
from realfeatures.science.artifacts import OutputDir, save_tensors
from realfeatures.science.attacks.pgd import Ball, maximise, untargeted
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet, to_float


@dataclass(frozen=True)
class TransferMatrix:
    """How far adversarial images transfer.

    Attributes:
        rows: one for each source, target and threat model: their names, norm, epsilon and the counts of
            `transfer_counts`.
        predictions: by name: `clean` (targets, n) and for each source and threat model (targets, n), int16.
    """

    rows: list[dict[str, Any]]
    predictions: dict[str, Tensor]

    def save(self, folder: OutputDir) -> None:
        """Write what every target takes every image for as `predictions.safetensors`.

        Raises:
            StorageError: the file cannot be written.
        """
        save_tensors(folder / "predictions.safetensors", self.predictions)


def measure(config: TransferConfig, models: Mapping[str, nn.Module], test_set: ImageSet, run: Run) -> TransferMatrix:
    """Attack each model by PGD and classify its adversarial images by every model.

    Args:
        config: threat models, steps and how many of the first images.
        models: by name, frozen; images (N, C, H, W) float32 in [0, 1] -> logits (N, K).
        test_set: natural images.
        run: its checkpoint keeps every finished source.

    Raises:
        Interrupted: a stop was asked for; the checkpoint is saved.
    """
    chosen = test_set.first(config.images).to(run.device)
    predictions: dict[str, Tensor] = run.checkpoint.load() or {"clean": _predict(models, [to_float(chosen.images)])}
    pairs = [(source, threat) for threat in config.threats for source in models]
    for done, (source, threat) in enumerate(pairs):
        run.progress(done, len(pairs))
        name = _name(source, threat)
        if name not in predictions:
            adversarial = _attack(config, models[source], chosen, threat, run.generator(name))
            predictions[name] = _predict(models, adversarial)
            run.checkpoint.step(lambda: predictions)
    run.progress(len(pairs), len(pairs))
    labels = chosen.labels.cpu()
    rows = [row for source, threat in pairs for row in _rows(source, threat, list(models), predictions, labels)]
    return TransferMatrix(rows, predictions)


def transfer_counts(
    clean_source: Tensor, clean_target: Tensor, attacked_source: Tensor, attacked_target: Tensor, labels: Tensor
) -> dict[str, int]:
    """Count images by what source and target make of them before and after an attack on the source.

    Args:
        clean_source: (N,) the class that the source takes each clean image for.
        clean_target: (N,) the same of the target.
        attacked_source: (N,) the class that the source takes its own adversarial images for.
        attacked_target: (N,) the class that the target takes these same images for.
        labels: (N,) the right classes.

    Returns:
        n: images that both classify correctly when clean, and whose adversarial image fools the source.
        transferred: of these, fool the target too; the sum of same_mistake (both say the same wrong class) and
        different_mistake.
    """
    counted = (clean_source == labels) & (clean_target == labels) & (attacked_source != labels)
    transferred = counted & (attacked_target != labels)
    same = transferred & (attacked_target == attacked_source)
    return {
        "n": int(counted.sum()),
        "transferred": int(transferred.sum()),
        "same_mistake": int(same.sum()),
        "different_mistake": int((transferred & ~same).sum()),
    }


def _attack(
    config: TransferConfig, model: nn.Module, images: ImageSet, threat: ThreatModel, generator: torch.Generator
) -> list[Tensor]:
    attack = partial(
        maximise,
        ball=Ball(threat.norm, threat.epsilon),
        steps=config.steps,
        step_size=config.relative_step_size * threat.epsilon,
        generator=generator,
    )
    batches = torch.split(images.images, config.batch_size), torch.split(images.labels, config.batch_size)
    return [attack(untargeted(model, labels), to_float(batch)) for batch, labels in zip(*batches, strict=True)]


@torch.no_grad()
def _predict(models: Mapping[str, nn.Module], batches: list[Tensor]) -> Tensor:
    """Return (models, n) int16, the class that each model takes each image for."""
    predicted = [torch.cat([model(batch).argmax(dim=1) for batch in batches]) for model in models.values()]
    return torch.stack(predicted).to("cpu", torch.int16)


def _rows(
    source: str, threat: ThreatModel, names: list[str], predictions: Mapping[str, Tensor], labels: Tensor
) -> list[dict[str, Any]]:
    clean, attacked = predictions["clean"], predictions[_name(source, threat)]
    own = names.index(source)
    return [
        {
            "source": str(source),
            "target": str(target),
            "norm": threat.norm.value,
            "epsilon": threat.epsilon,
            **transfer_counts(clean[own], clean[index], attacked[own], attacked[index], labels),
        }
        for index, target in enumerate(names)
    ]


def _name(source: str, threat: ThreatModel) -> str:
    return f"{source}_{threat.norm.value}_{threat.epsilon:g}"
