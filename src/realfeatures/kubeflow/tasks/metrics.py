"""What Kubeflow shows of an attack: scalars under stable names, and the confusion matrix of the clean images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from realfeatures.kubeflow.tasks.records import KFPArtifact
from realfeatures.science.artifacts import Artifact, write_json


class ConfusionMatrix(KFPArtifact, Protocol):
    """What is used of kfp's ClassificationMetrics."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Take the matrix, by true class and predicted class."""


def log_metrics(metrics: KFPArtifact, measurements: Sequence[Mapping[str, Any]]) -> None:
    """Set one scalar for each measurement; Kubeflow compares runs by these names."""
    for row in measurements:
        metrics.metadata[metric_name(row)] = row["correct"] / row["n"]
    _write(metrics)


def metric_name(row: Mapping[str, Any]) -> str:
    """Return a name such as `clean_accuracy` or `robust_accuracy_pgd_L2_0.5`, the same in every run."""
    if row["attack"] == "none":
        return str(row["metric"])
    return f"{row['metric']}_{row['attack']}_{row['norm']}_{row['epsilon']:g}"


def log_confusion(artifact: ConfusionMatrix, *, result: Artifact, test_set: Artifact) -> None:
    """Set the confusion matrix of the clean test images.

    Args:
        artifact: receives it.
        result: the attack's artifact.
        test_set: the image set that was attacked.
    """
    classes = list(test_set.require("image_set").attributes["classes"])
    # A crafted set has no test images: an attack that starts at it starts at its training images.
    split = next(file for file in ("test.safetensors", "train.safetensors") if file in test_set.manifest["files"])
    predicted = result.tensors("predictions.safetensors")["clean"].long()
    labels = test_set.tensors(split)["labels"].long()[: len(predicted)]
    counts = (labels * len(classes) + predicted).bincount(minlength=len(classes) ** 2)
    artifact.log_confusion_matrix(classes, counts.reshape(len(classes), len(classes)).tolist())
    _write(artifact)


def _write(artifact: KFPArtifact) -> None:
    # Without a file Kubeflow's local cache takes the task for not done.
    write_json(Path(artifact.path), artifact.metadata)
