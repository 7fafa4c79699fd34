"""The transfer matrix: whom adversarial images fool besides the model that they were made for, and resuming."""

import pytest
import torch
from torch import nn

from realfeatures.errors import Interrupted
from realfeatures.experiment.config import ThreatModel, TransferConfig
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.artifacts import OutputDir, load_tensors
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet
from realfeatures.science.transfer import measure

CONFIG = TransferConfig(
    images=40,
    threats=(ThreatModel(norm=Norm.L2, epsilon=0.8), ThreatModel(norm=Norm.LINF, epsilon=0.2)),
    steps=10,
    relative_step_size=0.25,
    batch_size=16,
)


def columns(first: int) -> nn.Module:
    """A classifier of 4x4 images that looks at two columns alone: class 0 where the left one is brighter."""
    linear = nn.Linear(16, 2, bias=False)
    weight = torch.zeros(2, 4, 4)
    weight[0, :, first] = weight[1, :, first + 1] = 1.0
    linear.weight.data = weight.flatten(1)
    return nn.Sequential(nn.Flatten(), linear).eval().requires_grad_(False)


MODELS = {"left": columns(0), "same": columns(0), "right": columns(2)}


def images() -> ImageSet:
    """Images of both classes, which every model classifies correctly, by a small margin."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    pixels = torch.full((40, 1, 4, 4), 120) + torch.randint(-5, 6, (40, 1, 4, 4), generator=generator)
    for column in range(4):
        pixels[labels == column % 2, :, :, column] += 25
    return ImageSet(pixels.to(torch.uint8), labels, ("0", "1"))


@pytest.fixture(scope="module")
def found():
    return measure(CONFIG, MODELS, images(), Run(seed=3))


def row(found, source: str, target: str, norm: str) -> dict:
    (one,) = (r for r in found.rows if (r["source"], r["target"], r["norm"]) == (source, target, norm))
    return one


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_an_equal_model_shares_every_mistake_and_one_of_other_pixels_none(found, norm) -> None:
    own, same, other = (row(found, "left", target, norm) for target in ("left", "same", "right"))
    assert own["n"] == own["transferred"] == own["same_mistake"] == 40
    assert {**same, "target": "left"} == own
    assert other["n"] == 40
    # What the random start of an Linf attack leaves on pixels that the source does not look at fools a few.
    assert other["transferred"] <= (0 if norm == "L2" else 10)


def test_there_is_a_row_for_every_source_target_and_threat(found) -> None:
    assert len(found.rows) == 3 * 3 * 2
    assert all(r["transferred"] == r["same_mistake"] + r["different_mistake"] <= r["n"] <= 40 for r in found.rows)


def test_what_every_model_said_of_every_image_is_kept(found, tmp_path) -> None:
    found.save(OutputDir(tmp_path))
    kept = load_tensors(tmp_path / "predictions.safetensors")
    assert kept["clean"].shape == (3, 40)
    assert (kept["clean"] == images().labels).all()
    assert (kept["left_L2_0.8"][0] != images().labels).all()
    assert set(kept) == {"clean", *(f"{name}_{threat}" for name in MODELS for threat in ("L2_0.8", "Linf_0.2"))}


def test_a_matrix_stopped_and_resumed_is_the_same(found, tmp_path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    polls = iter(range(100))
    with pytest.raises(Interrupted):
        measure(CONFIG, MODELS, images(), Run(seed=3, checkpoint=Checkpoint(path, stop=lambda: next(polls) >= 2)))
    resumed = measure(CONFIG, MODELS, images(), Run(seed=3, checkpoint=Checkpoint(path)))
    assert resumed.rows == found.rows
    assert all(torch.equal(resumed.predictions[name], value) for name, value in found.predictions.items())
