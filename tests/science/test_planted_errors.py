"""A planted error is found: each named check passes on the right code and fails on the wrong one.

The errors are those that would leave every number plausible: an attack whose sign is turned round, a probe that
trains its encoder, crafted sets in each other's place, images that were never rounded. The checks are those of
checks.py, which the tests of each part use too; test_planted_swaps.py swaps what cells read.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checks import (
    check_attack_raises_loss,
    check_images_carry_the_sources_features,
    check_images_have_many_levels,
    check_probe_leaves_encoder_untouched,
)
from started_run import started_run
from torch import Tensor, nn

from realfeatures.errors import ArtifactError, DataError
from realfeatures.experiment.config import MatchingConfig, ProbeConfig, TargetedConfig
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science import probe, synthesis
from realfeatures.science.artifacts import open_artifact, save_tensors, seal
from realfeatures.science.attacks import pgd as attacks
from realfeatures.science.data.images import ImageSet, load_split
from realfeatures.science.paradigms.base import WithHead, frozen

CLASSES = tuple("abcd")
FAST = ProbeConfig(epochs=2, batch_size=16, learning_rate=1e-2)


def random_network(seed: int, outputs: int = 24) -> nn.Sequential:
    """A small network with BatchNorm, at its initialisation; its features are as good as any for what is checked."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(432, outputs)
        )
    return frozen(network)


def random_images(count: int = 24) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 6, 6), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(count) % len(CLASSES), CLASSES)


# The attack's sign


@pytest.fixture(params=[norm.value for norm in Norm])
def norm(request: pytest.FixtureRequest) -> Norm:
    return Norm(request.param)


def check_pgd(norm: Norm) -> None:
    model = random_network(0, len(CLASSES))
    images = torch.rand(16, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = model(images).argmax(1)
    ball = attacks.Ball(norm, 0.5 if norm is Norm.L2 else 0.03)

    def attack(natural: Tensor) -> Tensor:
        return attacks.pgd(model, natural, labels, ball=ball, steps=8, step_size=0.01)

    check_attack_raises_loss(attack, lambda x: nn.functional.cross_entropy(model(x), labels, reduction="none"), images)


def test_the_check_of_the_attack_passes(norm: Norm) -> None:
    check_pgd(norm)


def test_an_attack_that_goes_down_the_gradient_is_found(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    steepest = attacks.Ball.steepest
    monkeypatch.setattr(attacks.Ball, "steepest", lambda self, gradient: -steepest(self, gradient))
    with pytest.raises(AssertionError, match="the loss fell or stayed on 16 of 16 images"):
        check_pgd(norm)


def test_an_attack_on_the_negative_loss_is_found(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "untargeted", attacks.targeted)  # which is the reference code's sign
    with pytest.raises(AssertionError, match="the loss fell or stayed on 16 of 16 images"):
        check_pgd(norm)


# The frozen encoder


def check_fit() -> None:
    encoder = random_network(0)
    check_probe_leaves_encoder_untouched(encoder, lambda: probe.fit(FAST, encoder, random_images(), started_run()))


def test_the_check_of_the_frozen_encoder_passes() -> None:
    check_fit()


Extract = Callable[..., Tensor]


def in_train_mode(extract: Extract) -> Extract:
    """Plant: the encoder is in train mode, so that its BatchNorm statistics follow the probe's images."""

    def planted(encoder: nn.Module, *arguments: Any, **options: Any) -> Tensor:
        return extract(encoder.train(), *arguments, **options)

    return planted


def in_train_mode_for_a_moment(extract: Extract) -> Extract:
    def planted(encoder: nn.Module, *arguments: Any, **options: Any) -> Tensor:
        found = extract(encoder.train(), *arguments, **options)
        encoder.eval()
        return found

    return planted


def fine_tuned(extract: Extract) -> Extract:
    """Plant: the encoder's weights take a step, and everything looks frozen afterwards."""

    def planted(encoder: nn.Module, images: ImageSet, *arguments: Any, **options: Any) -> Tensor:
        encoder.requires_grad_(True)
        encoder(images.images / 255).square().mean().backward()
        torch.optim.SGD(encoder.parameters(), lr=1e-3).step()
        frozen(encoder)
        return extract(encoder, images, *arguments, **options)

    return planted


def unfrozen(extract: Extract) -> Extract:
    def planted(encoder: nn.Module, *arguments: Any, **options: Any) -> Tensor:
        return extract(encoder.requires_grad_(True), *arguments, **options)

    return planted


@pytest.mark.parametrize(
    ("plant", "complaint"),
    [
        (in_train_mode, "moved .*running_mean"),
        (in_train_mode_for_a_moment, "moved .*running_mean"),
        (fine_tuned, "moved .*weight"),
        (unfrozen, "unfroze a weight"),
    ],
)
def test_a_probe_that_touches_its_encoder_is_found(plant, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "extract", plant(probe.extract))
    with pytest.raises(AssertionError, match=complaint):
        check_fit()


# Two crafted sets swapped


@pytest.fixture(scope="module")
def matched() -> dict[str, tuple[nn.Module, ImageSet]]:
    """Two sources, and the images that carry the features of each."""
    config = MatchingConfig(step_size=0.3, steps=60, decay=True)
    natural = random_images()
    sources = {name: random_network(seed) for name, seed in (("robust", 1), ("non_robust", 2))}
    return {
        name: (source, synthesis.match_representations(config, source, natural, started_run()).images)
        for name, source in sources.items()
    }


def test_crafted_images_pass_the_check_of_their_own_source(matched) -> None:
    for source, images in matched.values():
        check_images_carry_the_sources_features(source, random_images(), images)


def test_crafted_sets_that_changed_places_are_found(matched) -> None:
    (robust, robust_images), (non_robust, non_robust_images) = matched["robust"], matched["non_robust"]
    for source, images in ((robust, non_robust_images), (non_robust, robust_images)):
        with pytest.raises(AssertionError, match="have the source's features of their twins"):
            check_images_carry_the_sources_features(source, random_images(), images)


def test_crafted_images_in_another_order_than_the_natural_ones_are_found(matched) -> None:
    source, images = matched["robust"]
    shifted = replace(images, images=images.images.roll(1, 0))
    with pytest.raises(AssertionError, match="only 0% of the images have the source's features of their twins"):
        check_images_carry_the_sources_features(source, random_images(), shifted)


def test_a_synthesis_that_goes_away_from_the_features_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    steepest = attacks.Ball.steepest
    monkeypatch.setattr(attacks.Ball, "steepest", lambda self, gradient: -steepest(self, gradient))
    source, natural = random_network(1), random_images()
    config = MatchingConfig(step_size=0.3, steps=60, decay=True)
    images = synthesis.match_representations(config, source, natural, started_run()).images
    with pytest.raises(AssertionError, match="have the source's features of their twins"):
        check_images_carry_the_sources_features(source, natural, images)


# Images that are not rounded


def matched_images() -> ImageSet:
    config = MatchingConfig(step_size=0.1, steps=3)
    return synthesis.match_representations(config, random_network(1), random_images(), started_run()).images


def perturbed_images() -> ImageSet:
    classifier = frozen(WithHead(random_network(1), nn.Linear(24, len(CLASSES))))
    config = TargetedConfig(norm=Norm.L2, epsilon=0.5, step_size=0.1, steps=3)
    return synthesis.perturb_towards_targets(config, classifier, random_images(), started_run()).images


@pytest.mark.parametrize("craft", [matched_images, perturbed_images])
def test_the_check_of_levels_passes(craft: Callable[[], ImageSet]) -> None:
    check_images_have_many_levels(craft())


@pytest.mark.parametrize("craft", [matched_images, perturbed_images])
def test_images_that_are_cut_to_whole_numbers_before_they_are_scaled_are_found(craft, monkeypatch) -> None:
    monkeypatch.setattr(synthesis, "to_uint8", lambda images: images.to(torch.uint8) * 255)
    with pytest.raises(AssertionError, match=r"the images have [12] levels"):
        check_images_have_many_levels(craft())


@pytest.mark.parametrize("craft", [matched_images, perturbed_images])
@pytest.mark.parametrize(
    "unrounded",
    [lambda images: images.clone(), lambda images: images.mul(65_535).round().div(65_535)],
    ids=["floats", "65536 levels"],
)
def test_images_that_were_not_rounded_to_256_levels_are_found(unrounded, craft, monkeypatch) -> None:
    """By the product's own check: there is no image set of them, so that nothing trains on one."""
    monkeypatch.setattr(synthesis, "to_uint8", unrounded)
    with pytest.raises(DataError, match=r"images are float32 .*, expected uint8"):
        craft()


def test_a_stage_reads_no_images_of_more_levels(tmp_path: Path) -> None:
    images = random_images(4)
    save_tensors(tmp_path / "train.safetensors", {"images": images.images / 255, "labels": images.labels})
    seal(tmp_path, kind="image_set", record={}, attributes={"classes": list(CLASSES)}, address="0" * 32)
    with pytest.raises(ArtifactError, match=r"train: images are float32 .*, expected uint8"):
        load_split(open_artifact(tmp_path), "train")
