"""The named checks that the right code passes and a planted error fails; the tests of each part share them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from realfeatures.experiment.grid import Cell
from realfeatures.experiment.vocabulary import Features
from realfeatures.science.data.images import ImageSet, to_float


def check_attack_raises_loss(
    attack: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor], images: Tensor
) -> None:
    """The attack leaves every single image with a larger loss than it had."""
    before, after = loss(images), loss(attack(images))
    assert (after > before).all(), f"the loss fell or stayed on {int((after <= before).sum())} of {len(images)} images"


def check_probe_leaves_encoder_untouched(encoder: nn.Module, fit: Callable[[], Any]) -> None:
    """Fitting a probe changes no weight and no buffer of the encoder, and leaves it frozen and in eval mode."""
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    fit()
    after = encoder.state_dict()
    assert list(after) == list(before)
    moved = [name for name in before if not torch.equal(after[name], before[name])]
    assert not moved, f"the probe moved {moved}"
    assert not any(module.training for module in encoder.modules()), "the probe left a module in train mode"
    assert not any(parameter.requires_grad for parameter in encoder.parameters()), "the probe unfroze a weight"


def check_cells_read_what_their_names_say(grid: Sequence[Cell]) -> None:
    """Each cell's images are of the features that the report files it under, and D_R's source is the robust one."""
    by_key = {cell.key: cell for cell in grid}
    wrong, checked = [], 0
    for cell in grid:
        for port, named in _named_inputs(cell).items():
            parent = by_key[cell.inputs[port]]
            found = "natural" if parent.role == "data" else parent.features
            checked += 1
            wrong += [cell.key] if found != named else []
        if "source" in cell.inputs:
            robust = by_key[cell.inputs["source"]].paradigm == "adversarial"
            wrong += [cell.key] if robust != (cell.features == Features.ROBUST) else []
    assert checked
    assert not wrong, f"{wrong} read images of other features"


def _named_inputs(cell: Cell) -> dict[str, str]:
    """Return the features of a cell's image inputs, port by port, as what it is about has them."""
    read = cell.measurement
    match cell.role:
        case "encoder" if "train_set" in cell.inputs and cell.features in set(Features):
            return {"train_set": str(cell.features)}
        case "probe" | "knn" if read is not None:
            return {"train_set": str(read.probe_features)}
        case "attack" if read is not None:
            return {"test_set": "robust" if read.protocol == "robust_set" else "natural"}
        case "images":
            return {"natural": "natural"}
    return {}


def check_artifact_has_its_parents(manifest: Mapping[str, Any], cell: Cell, addresses: Mapping[str, str]) -> None:
    """An artifact stands at its cell's planned address, and was made of the planned parents, port by port."""
    planned = {port: addresses[key] for port, key in cell.inputs.items()}
    assert manifest["inputs"] == planned, f"{cell.key} was made of other inputs"
    assert manifest["address"] == addresses[cell.key]


def check_images_carry_the_sources_features(source: nn.Module, natural: ImageSet, crafted: ImageSet) -> None:
    """In the source's own representation each crafted image is nearer to its natural twin than to any other image."""
    with torch.no_grad():
        wanted, found = (source(to_float(images.images)) for images in (natural, crafted))
    nearest = torch.cdist(found, wanted).argmin(dim=1)
    share = (nearest == torch.arange(len(nearest))).float().mean().item()
    assert share == 1, f"only {share:.0%} of the images have the source's features of their twins"


def check_images_have_many_levels(images: ImageSet) -> None:
    """The images, which are bytes by an ImageSet's own check, are not all black and white."""
    levels = len(images.images.unique())
    assert levels > 2, f"the images have {levels} levels"
