"""Augmentations: per-image parameters, known values, ranges, and torchvision as an independent version."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from realfeatures.experiment.config import CropFlipConfig, SimCLRAugmentationConfig
from realfeatures.science.data import augment
from realfeatures.science.data.images import to_float, to_uint8

CONTIGUOUS = torch.contiguous_format


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 16, channels: int = 3, side: int = 12) -> torch.Tensor:
    return torch.randint(256, (count, channels, side, side), generator=seeded(7), dtype=torch.uint8)


def test_every_crop_is_a_window_of_the_padded_image_or_of_its_mirror() -> None:
    batch = pictures(64, 1, 6)
    moved = augment.crop_flip(batch, CropFlipConfig(padding=2, flip=True), seeded(), CONTIGUOUS)
    positions = set()
    for image, result in zip(batch, to_uint8(moved), strict=True):
        windows = {
            (mirror, row, column): torch.nn.functional.pad(image.flip(2) if mirror else image, (2,) * 4)[
                :, row : row + 6, column : column + 6
            ]
            for mirror in (False, True)
            for row in range(5)
            for column in range(5)
        }
        found = [place for place, window in windows.items() if torch.equal(window, result)]
        assert found
        positions.update(found)
    # 64 draws of 50 places: all images moved alike would give one.
    assert len(positions) > 25


def test_no_padding_and_no_flip_changes_nothing() -> None:
    batch = pictures()
    same = augment.crop_flip(batch, CropFlipConfig(padding=0, flip=False), seeded(), CONTIGUOUS)
    assert torch.equal(same, to_float(batch))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_results_come_in_the_asked_memory_format(memory_format: torch.memory_format) -> None:
    batch = pictures()
    for result in (
        augment.crop_flip(batch, CropFlipConfig(), seeded(), memory_format),
        augment.simclr_view(batch, SimCLRAugmentationConfig(), seeded(), memory_format),
    ):
        assert result.is_contiguous(memory_format=memory_format)
        assert result.shape == batch.shape


@settings(deadline=None, max_examples=25)
@given(channels=st.sampled_from([1, 3]), side=st.integers(4, 33), seed=st.integers(0, 1000), scale=st.floats(0.05, 1))
def test_a_simclr_view_stays_in_range_and_repeats_by_its_seed(channels, side, seed, scale) -> None:
    batch = pictures(4, channels, side)
    config = SimCLRAugmentationConfig(min_scale=scale)
    view = augment.simclr_view(batch, config, seeded(seed), CONTIGUOUS)
    assert view.shape == batch.shape
    assert view.min() >= 0
    assert view.max() <= 1 + 1e-6
    assert torch.equal(view, augment.simclr_view(batch, config, seeded(seed), CONTIGUOUS))


def test_a_crop_of_the_whole_image_is_the_image() -> None:
    images = to_float(pictures())
    config = SimCLRAugmentationConfig(min_scale=1.0, flip=False)
    ratios = augment.ASPECT_RATIOS
    try:
        augment.ASPECT_RATIOS = (1.0, 1.0)
        cropped = augment._resized_crop(images, config, seeded())
    finally:
        augment.ASPECT_RATIOS = ratios
    torch.testing.assert_close(cropped, images, atol=1e-5, rtol=0)


def test_crops_have_the_asked_area_and_lie_inside_the_image() -> None:
    # A picture whose values are its coordinates: the crop's place and size can be read off the result.
    side = 64
    ramp = torch.linspace(0, 1, side)
    picture = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side), torch.zeros(side, side)])
    images = picture.expand(2000, -1, -1, -1)
    cropped = augment._resized_crop(images, SimCLRAugmentationConfig(min_scale=0.2, flip=True), seeded())
    width = (cropped[:, 0, 0, -1] - cropped[:, 0, 0, 0]).abs()
    height = cropped[:, 1, -1, 0] - cropped[:, 1, 0, 0]
    areas = width * height
    assert areas.min() > 0.18
    assert areas.max() <= 1.0
    # Uniform in [0.2, 1] but for the few that are cut to the image's sides.
    assert areas.mean().item() == pytest.approx(0.6, abs=0.04)
    mirrored = (cropped[:, 0, 0, -1] < cropped[:, 0, 0, 0]).float().mean()
    assert mirrored.item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.0, 0.1, 0.5])
def test_hue_shift_agrees_with_torchvision(turn: float) -> None:
    images = to_float(pictures(8))
    ours = augment.shift_hue(images, torch.full((8,), turn))
    torch.testing.assert_close(ours, tv.adjust_hue(images, turn), atol=1e-5, rtol=0)


def test_grey_agrees_with_torchvision() -> None:
    images = to_float(pictures(4))
    torch.testing.assert_close(augment.grey(images), tv.rgb_to_grayscale(images), atol=1e-3, rtol=0)


def test_jitter_and_grey_happen_as_often_as_configured() -> None:
    images = to_float(pictures(3000, 3, 4))
    only_jitter = SimCLRAugmentationConfig(grey_probability=0.0, jitter_probability=0.8)
    changed = (augment._jitter(images, only_jitter, seeded()) != images).flatten(1).any(1).float().mean()
    assert changed.item() == pytest.approx(0.8, abs=0.03)
    only_grey = SimCLRAugmentationConfig(grey_probability=0.2, jitter_probability=0.0)
    result = augment._jitter(images, only_grey, seeded())
    turned = (result[:, 0] == result[:, 1]).flatten(1).all(1).float().mean()
    assert turned.item() == pytest.approx(0.2, abs=0.03)


def test_blur_keeps_a_flat_image_and_lowers_the_contrast_of_another() -> None:
    flat = torch.full((4, 3, 16, 16), 0.3)
    torch.testing.assert_close(augment._blur(flat, 1.0, seeded()), flat)
    images = to_float(pictures(16, 3, 32))
    assert (augment._blur(images, 1.0, seeded()).flatten(1).std(1) <= images.flatten(1).std(1) + 1e-6).all()


def test_blur_agrees_with_torchvision_for_one_sigma() -> None:
    images = to_float(pictures(2, 3, 32))
    sigmas = augment.BLUR_SIGMAS
    try:
        augment.BLUR_SIGMAS = (0.9, 0.9)
        ours = augment._blur(images, 1.0, seeded())
    finally:
        augment.BLUR_SIGMAS = sigmas
    theirs = tv.gaussian_blur(images, [3, 3], [0.9, 0.9])
    torch.testing.assert_close(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], atol=1e-5, rtol=0)


def test_quantising_gives_back_every_level() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    assert torch.equal(to_uint8(torch.tensor([-0.1, 1.2, 0.5])), torch.tensor([0, 255, 128], dtype=torch.uint8))
