"""SimCLR's augmentation against torchvision with the same factors, and its random choices against their distributions.

The factors are read off the pixels of the results, so that nothing here depends on how they were drawn.
"""

import colorsys
import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from realfeatures.experiment.config import SimCLRAugmentationConfig
from realfeatures.science.data import augment

UNLIKELY = 1e-3
"""p-value below which a distribution is called wrong; the seeds are fixed, so a test passes always or never."""
STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grey_probability": 0.0}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def muted_pictures(count: int) -> Tensor:
    """Colours so far from black and white that a factor of up to 1.8 clamps none of them."""
    return 0.2 + 0.3 * torch.rand(count, 3, 4, 4, generator=seeded(7))


def uniform(values: Tensor, low: float, high: float) -> float:
    """The p-value of the values being uniform in [low, high]."""
    return float(stats.kstest(values.double().numpy(), stats.uniform(low, high - low).cdf).pvalue)


def jittered(images: Tensor, **strength: float) -> Tensor:
    config = SimCLRAugmentationConfig.model_validate(STILL | {"jitter_probability": 1.0} | strength)
    return augment._jitter(images, config, seeded())


def slopes(before: Tensor, after: Tensor) -> Tensor:
    """Return (N,), the factor by which each image's deviations from its mean were stretched."""
    before, after = (images.flatten(1) - images.flatten(1).mean(1, keepdim=True) for images in (before, after))
    return (before * after).sum(1) / before.square().sum(1)


def saturation_of(before: Tensor, after: Tensor) -> Tensor:
    return slopes(before - tv.rgb_to_grayscale(before), after - tv.rgb_to_grayscale(after))


@pytest.mark.parametrize(
    ("part", "factor_of", "theirs"),
    [
        ("brightness", slopes, tv.adjust_brightness),
        ("contrast", slopes, tv.adjust_contrast),
        ("saturation", saturation_of, tv.adjust_saturation),
    ],
)
@pytest.mark.parametrize("strength", [0.4, 0.8])
def test_a_jitter_is_torchvisions_with_a_uniform_factor_of_each_images_own(
    part: str, factor_of: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor], strength: float
) -> None:
    images = muted_pictures(1000)
    changed = jittered(images, **{part: strength})
    factors = factor_of(images, changed)
    assert uniform(factors, 1 - strength, 1 + strength) > UNLIKELY
    expected = torch.stack([theirs(image, factor) for image, factor in zip(images, factors.tolist(), strict=True)])
    # torchvision's weights of red, green and blue have four digits.
    torch.testing.assert_close(changed, expected, atol=1e-3, rtol=0)


def test_a_jitter_clamps_as_torchvision_does() -> None:
    images = torch.rand(300, 3, 4, 4, generator=seeded(1))
    config = SimCLRAugmentationConfig.model_validate(STILL | {"jitter_probability": 1.0, "brightness": 0.8})
    changed = augment._jitter(images, config, seeded())
    assert (changed == 1).any()
    darkest = images.flatten(1).argmin(1, keepdim=True)  # bright only in an image that is bright everywhere
    factors = changed.flatten(1).gather(1, darkest) / images.flatten(1).gather(1, darkest)
    expected = torch.stack([tv.adjust_brightness(image, f.item()) for image, f in zip(images, factors, strict=True)])
    torch.testing.assert_close(changed, expected, atol=1e-4, rtol=0)


def test_a_hue_jitter_is_torchvisions_by_a_uniform_angle() -> None:
    # The first pixel is red, so that its hue is the turn.
    images = muted_pictures(1000)
    images[:, :, 0, 0] = torch.tensor([0.5, 0.2, 0.2])
    changed = jittered(images, hue=0.2)
    hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in changed[:, :, 0, 0].tolist()]
    turns = torch.tensor([hue - 1 if hue > 0.5 else hue for hue in hues])
    assert uniform(turns, -0.2, 0.2) > UNLIKELY
    expected = torch.stack([tv.adjust_hue(image, turn) for image, turn in zip(images, turns.tolist(), strict=True)])
    torch.testing.assert_close(changed, expected, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def crops() -> dict[str, Tensor]:
    """Width, height and centre of 4000 crops, in shares of the image, read off a picture of its own coordinates."""
    side = 64
    place = (torch.arange(side) + 0.5) / side
    picture = torch.stack([place.expand(side, side), place[:, None].expand(side, side), torch.zeros(side, side)])
    batch = picture.expand(4000, -1, -1, -1)
    cropped = augment._resized_crop(batch, SimCLRAugmentationConfig(min_scale=0.2, flip=False), seeded())
    # From the middle columns, which no border pads: a step of one pixel there is the crop's share of one pixel.
    x, y = cropped[:, 0, side // 2], cropped[:, 1, :, side // 2]
    middle = slice(side // 4, 3 * side // 4)
    width, height = (((line[:, middle][:, -1] - line[:, middle][:, 0]) * side / (side // 2 - 1)) for line in (x, y))
    centre = [line[:, side // 2 - 1 : side // 2 + 1].mean(1) for line in (x, y)]
    return {"width": width, "height": height, "x": centre[0], "y": centre[1]}


def test_a_crops_area_is_uniform_and_its_aspect_ratio_uniform_in_its_logarithm(crops: dict[str, Tensor]) -> None:
    area, aspect = crops["width"] * crops["height"], (crops["width"] / crops["height"]).log()
    # Up to 3/4 of the area no aspect ratio makes a crop wider or higher than the image.
    whole = area < 0.74
    assert uniform(area[whole], 0.2, 0.74) > UNLIKELY
    assert uniform(aspect[whole], math.log(3 / 4), math.log(4 / 3)) > UNLIKELY
    assert abs(stats.spearmanr(area[whole], aspect[whole]).statistic) < 5 / math.sqrt(len(area))
    assert crops["width"].max() <= 1 + 1e-4
    assert crops["height"].max() <= 1 + 1e-4


def test_a_crop_lies_anywhere_inside_the_image_with_equal_chance(crops: dict[str, Tensor]) -> None:
    for centre, size in (("x", "width"), ("y", "height")):
        room = 1 - crops[size]
        free = room > 0.1
        shift = (crops[centre] - crops[size] / 2)[free] / room[free]
        assert uniform(shift, 0, 1) > UNLIKELY


def test_crops_have_the_sizes_of_torchvisions(crops: dict[str, Tensor]) -> None:
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    drawn = [RandomResizedCrop.get_params(torch.zeros(1, 640, 640), (0.2, 1.0), (3 / 4, 4 / 3)) for _ in range(4000)]
    heights, widths = (torch.tensor([size[index] for size in drawn]) / 640 for index in (2, 3))
    small_ours, small_theirs = crops["width"] * crops["height"] < 0.74, widths * heights < 0.74
    for name, theirs in (("width", widths), ("height", heights)):
        assert stats.ks_2samp(crops[name][small_ours], theirs[small_theirs]).pvalue > UNLIKELY
    # Larger ones differ: theirs draws again where a side is too long, ours cuts it, and so has a few more of them.
    assert small_ours.float().mean().item() == pytest.approx(small_theirs.float().mean().item(), abs=0.15)


def test_the_blurs_width_is_uniform_and_blurs_as_many_images_as_configured() -> None:
    dot = torch.zeros(6000, 1, 32, 32)
    dot[:, :, 16, 16] = 1
    blurred = augment._blur(dot, 0.5, seeded())
    centre, beside = blurred[:, 0, 16, 16], blurred[:, 0, 16, 17]
    changed = beside > 1e-6  # sigmas below 0.19 leave their neighbours less than that
    sigmas = (-1 / (2 * (beside / centre)[changed].log())).sqrt()
    assert uniform(sigmas, 0.19, 2.0) > UNLIKELY
    # Half of the images, and of those all but the narrowest blurs.
    share = 0.5 * (2.0 - 0.19) / (2.0 - 0.1)
    assert changed.float().mean().item() == pytest.approx(share, abs=5 * math.sqrt(0.25 / 6000))


def test_flip_jitter_and_grey_are_chosen_independently_and_anew_for_each_view() -> None:
    count, colour = 4000, torch.tensor([200, 100, 50], dtype=torch.uint8)
    ramp = torch.linspace(60, 190, 8).to(torch.uint8).expand(count, 3, 8, -1)
    flat = colour.view(1, 3, 1, 1).expand(count, -1, 8, 8)
    config = SimCLRAugmentationConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.5)

    def read_choices(generator: torch.Generator) -> list[Tensor]:
        # The same draws on two pictures: a ramp shows the flip, one flat colour the others, also in grey.
        state = generator.get_state()
        across = augment.simclr_view(ramp, config, generator, torch.contiguous_format)
        flipped = across[:, 0, :, -1].mean(1) < across[:, 0, :, 0].mean(1)
        generator.set_state(state)
        seen = augment.simclr_view(flat, config, generator, torch.contiguous_format)[:, :, 4, 4]
        grey = seen.amax(1) - seen.amin(1) < 1e-4
        plain = torch.where(grey[:, None], tv.rgb_to_grayscale(flat[:, :, :1, :1] / 255)[:, :, 0, 0], colour / 255)
        return [flipped, (seen - plain).abs().amax(1) > 1e-3, grey]

    generator = seeded()
    choices = torch.stack(read_choices(generator) + read_choices(generator)).float()
    # Four standard errors, and a few turns too small to be seen.
    for share, expected in zip(choices.mean(1).tolist(), [0.5, 0.8, 0.2] * 2, strict=True):
        assert share == pytest.approx(
            expected, abs=0.03
        )  # more than three standard errors, and a little for small turns
    correlations = torch.corrcoef(choices) - torch.eye(len(choices))
    assert correlations.abs().max() < 5 / math.sqrt(count)
