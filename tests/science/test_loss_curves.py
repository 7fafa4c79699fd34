"""E5's loss curves: what is attacked rises, what is watched is the loss of the very images, and batches are fair."""

import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from torch import Tensor, nn

from realfeatures.errors import ConfigError
from realfeatures.experiment.config import LossCurvesConfig, SimCLRAugmentationConfig
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.context import Run
from realfeatures.science.data.augment import simclr_view, simclr_view_of_float
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.loss_curves import LOSSES, measure
from realfeatures.science.paradigms.base import WithHead
from realfeatures.science.paradigms.contrastive import nt_xent_loss

AUGMENTATION = SimCLRAugmentationConfig(min_scale=0.6, blur_probability=0.5)
LINF = {"norm": Norm.LINF, "epsilon": 8 / 255, "step_size": 1 / 255, "steps": 20}
"""The reference protocol, shorter."""

CURVES = ("info_nce", "cross_entropy", "accuracy")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits(count: int) -> tuple[Tensor, Tensor]:
    """Return coloured digits, uint8, and their labels."""
    data = load_digits()
    grey = torch.tensor(data.images[:count] * 15, dtype=torch.uint8).unsqueeze(1)
    return torch.cat([grey, grey // 2 + 20, 255 - grey], dim=1), torch.tensor(data.target[:count])


@pytest.fixture(scope="module")
def model() -> tuple[nn.Module, nn.Module, nn.Linear]:
    """An encoder and a projection head that know the images apart by InfoNCE, and an untrained linear classifier."""
    images, views = to_float(digits(64)[0]), generator()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(144, 16))
        projection_head, linear = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8)), nn.Linear(16, 10)
    learned = nn.Sequential(encoder, projection_head)
    optimizer = torch.optim.Adam(learned.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        pair = [learned(simclr_view_of_float(images, AUGMENTATION, views)) for _ in range(2)]
        nt_xent_loss(*pair, 0.5).backward()
        optimizer.step()
    parts = encoder, projection_head, linear
    for part in parts:
        part.eval().requires_grad_(False)
    return parts


def curves(model, images, labels, *, attacked, seed=1, threat=LINF, batch_size=64, head=True):
    encoder, projection_head, linear = model
    config = LossCurvesConfig(
        **threat, images=64, samples=3, augmentation=AUGMENTATION, temperature=0.5, batch_size=batch_size
    )
    images = ImageSet(images, labels, tuple("0123456789"))
    rows = measure(config, WithHead(encoder, linear), projection_head if head else None, images, Run(seed=seed)).rows
    (row,) = (row for row in rows if row["attacked"] == attacked)
    assert row == {**row, "n": len(images), "step": list(range(config.steps + 1))}
    return {name: row[name] for name in CURVES}


@pytest.mark.parametrize("attacked", LOSSES)
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("head", [True, False], ids=["projections", "representations"])
def test_the_attacked_loss_rises_from_its_clean_value(model, attacked, norm, head):
    images, labels = digits(48)
    threat = LINF if norm is Norm.LINF else {"norm": norm, "epsilon": 1.0, "step_size": 0.1, "steps": 20}
    found = curves(model, images, labels, attacked=attacked, threat=threat, head=head)
    assert {len(curve) for curve in found.values()} == {threat["steps"] + 1}
    curve = found[attacked]
    assert curve[-1] > curve[0] * 1.01
    assert min(curve) == curve[0]


def test_the_first_point_is_measured_at_the_clean_images(model):
    images, labels = digits(48)
    encoder, _, linear = model
    logits = linear(encoder(to_float(images)))
    attacks = [curves(model, images, labels, attacked=attacked) for attacked in LOSSES]
    for found in attacks:
        assert found["cross_entropy"][0] == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
        assert found["accuracy"][0] == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    # Both draw the same views for what they watch.
    assert attacks[0]["info_nce"][0] == attacks[1]["info_nce"][0]


def test_images_that_do_not_move_have_flat_curves(model):
    """InfoNCE is measured on the same views at every step."""
    images, labels = digits(20)
    still = {"norm": Norm.L2, "epsilon": 0.0, "step_size": 0.1, "steps": 4}
    for curve in curves(model, images, labels, attacked="info_nce", threat=still).values():
        assert curve == [curve[0]] * 5


def test_curves_repeat_by_the_seed_and_leave_the_global_generator_alone(model):
    images, labels = digits(20)
    before = torch.random.get_rng_state()
    first, again, other = (curves(model, images, labels, attacked="info_nce", seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert torch.equal(torch.random.get_rng_state(), before)


def test_batches_are_of_one_size_so_that_no_image_is_left_without_negatives(model):
    """Nine images in batches of at most four: three of three, not four, four and one."""
    images, labels = digits(9)
    found = curves(model, images, labels, attacked="cross_entropy", batch_size=4)
    whole = curves(model, images, labels, attacked="cross_entropy", batch_size=9)
    assert found["cross_entropy"] == pytest.approx(whole["cross_entropy"], rel=1e-5)
    # Three pairs: an anchor has one positive and four negatives, so that a blind encoder has the loss log 5.
    blind = nn.Sequential(nn.Flatten(), nn.Linear(192, 16)).requires_grad_(False)
    blind[1].weight.zero_()
    found = curves((blind, *model[1:]), images, labels, attacked="info_nce", batch_size=4)
    assert found["info_nce"] == pytest.approx([torch.tensor(5.0).log().item()] * (LINF["steps"] + 1), rel=1e-5)


def test_one_image_has_nothing_to_be_compared_with(model):
    images, labels = digits(4)
    with pytest.raises(ConfigError, match="1 image, expected at least 2"):
        curves(model, images[:1], labels[:1], attacked="info_nce")
    with pytest.raises(ValidationError, match=r"batch_size\n.*greater than or equal to 2"):
        curves(model, images, labels, attacked="info_nce", batch_size=1)


def test_a_view_of_floats_is_the_view_of_their_bytes():
    images, _ = digits(16)
    expected = simclr_view(images, AUGMENTATION, generator(), torch.contiguous_format)
    assert torch.equal(simclr_view_of_float(to_float(images), AUGMENTATION, generator()), expected)


def test_a_views_gradient_is_the_slope_of_the_view():
    """Against finite differences, in float64; pixels of no colour, where hue has no derivative, give no NaN."""
    images = torch.rand(4, 3, 6, 6, generator=generator(5), dtype=torch.float64) * 0.8 + 0.1
    weights = torch.randn(4, 3, 6, 6, generator=generator(6), dtype=torch.float64)
    direction = torch.randn(4, 3, 6, 6, generator=generator(7), dtype=torch.float64)

    def value(x: Tensor) -> Tensor:
        return (simclr_view_of_float(x.float(), AUGMENTATION, generator()).double() * weights).sum()

    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    step = 1e-3
    slope = (value(images + step * direction) - value(images - step * direction)) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=0.05)
    grey = torch.full((4, 3, 6, 6), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(simclr_view_of_float(grey, AUGMENTATION, generator()).sum(), grey)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
