"""Crafted image sets: what they match, their bounds, their labels, and resuming."""

import math

import pytest
import torch
from checks import check_images_have_many_levels
from started_run import started_run

from realfeatures.errors import ConfigError, Interrupted
from realfeatures.experiment.config import MatchingConfig, RelabellingConfig, TargetedConfig
from realfeatures.experiment.presets import load_preset
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.attacks.pgd import Ball, pgd
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.paradigms.base import Pretrained, WithHead, frozen
from realfeatures.science.synthesis import _other_images, match_representations, perturb_towards_targets, relabel


def classifier(trained: Pretrained) -> WithHead:
    return frozen(WithHead(trained.encoder, trained.head))


def accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def test_matching_the_robust_source_removes_at_least_80_percent_of_the_distance(adversarial, digits_train) -> None:
    config = load_preset("digits").robust
    crafted = match_representations(config, adversarial.encoder, digits_train.first(128), started_run())
    summary = crafted.summary
    assert summary["distance_after"] <= 0.2 * summary["distance_before"]
    # Rounding to 256 levels costs little: the synthesis survives being stored as real images are.
    assert summary["distance_quantised"] <= 0.25 * summary["distance_before"]


def test_crafted_images_keep_label_order_and_type_and_start_elsewhere(standard, digits_train) -> None:
    natural = digits_train.first(64)
    config = MatchingConfig(step_size=0.1, steps=10, delta=0.75, batch_size=20)
    crafted = match_representations(config, standard.encoder, natural, started_run()).images
    assert torch.equal(crafted.labels, natural.labels)
    check_images_have_many_levels(crafted)
    assert crafted.images.shape == natural.images.shape
    # Within delta of the start, up to the rounding of 64 pixels by at most half a level each.
    starts = natural.images[_other_images(64, started_run())]
    moved = (to_float(crafted.images) - to_float(starts)).flatten(1).norm(dim=1)
    assert moved.max() <= 0.75 + math.sqrt(64) / 510
    assert moved.min() > 0.1


def test_the_reported_distances_are_the_images_own(standard, digits_train) -> None:
    natural = digits_train.first(48)
    config = MatchingConfig(step_size=0.1, steps=5, batch_size=20)
    crafted = match_representations(config, standard.encoder, natural, started_run())
    with torch.no_grad():
        ours, theirs = (standard.encoder(to_float(s.images)) for s in (crafted.images, natural))
    assert crafted.summary["distance_quantised"] == pytest.approx((ours - theirs).norm(dim=1).mean().item(), rel=1e-4)


def test_no_image_starts_at_itself() -> None:
    starts = _other_images(500, Run(seed=1))
    assert (starts != torch.arange(500)).all()
    assert len(starts.unique()) > 250


def test_targeted_images_are_taken_for_their_new_labels_within_epsilon(standard, digits_train) -> None:
    natural = digits_train.first(200)
    config = TargetedConfig(norm=Norm.L2, epsilon=1.5, step_size=0.1, steps=40, batch_size=64)
    crafted = perturb_towards_targets(config, classifier(standard), natural, started_run())
    moved = (to_float(crafted.images.images) - to_float(natural.images)).flatten(1).norm(dim=1)
    assert moved.max() <= 1.5 + math.sqrt(64) / 510
    found = accuracy(classifier(standard), to_float(crafted.images.images), crafted.images.labels)
    assert found == pytest.approx(crafted.summary["target_rate_quantised"])
    assert found > 0.6
    # Targets are drawn uniformly, the image's own class included.
    assert (crafted.images.labels == natural.labels).float().mean() < 0.25
    assert torch.bincount(crafted.images.labels, minlength=10).min() >= 8


def test_d_det_aims_at_the_class_after_the_images_own(standard, digits_train) -> None:
    natural = digits_train.first(64)
    config = TargetedConfig(norm=Norm.L2, epsilon=1.5, step_size=0.1, steps=40, targets="next")
    crafted = perturb_towards_targets(config, classifier(standard), natural, started_run())
    assert torch.equal(crafted.images.labels, (natural.labels + 1) % 10)
    found = accuracy(classifier(standard), to_float(crafted.images.images), crafted.images.labels)
    assert found == pytest.approx(crafted.summary["target_rate_quantised"])


def test_a_synthesis_from_noise_starts_at_no_image(standard, digits_train) -> None:
    natural = digits_train.first(48)
    config = MatchingConfig(step_size=0.1, steps=5, delta=0.75, start="noise", batch_size=20)
    crafted = match_representations(config, standard.encoder, natural, started_run())
    assert crafted.summary["distance_after"] < crafted.summary["distance_before"]
    nearest = torch.cdist(to_float(crafted.images.images).flatten(1), to_float(digits_train.images).flatten(1)).amin(1)
    # Uniform noise stands about 4 away from a digit of 64 pixels (the mean square difference is above 1/12 + 1/16).
    assert nearest.min() > 2


@pytest.mark.parametrize("order", ["kept", "shuffled"])
def test_relabelling_changes_labels_alone(order, digits_train) -> None:
    natural = digits_train.first(200)
    other = ImageSet(natural.images, (natural.labels + 3) % 10, natural.classes)
    found = relabel(RelabellingConfig(order=order), natural, other, started_run())
    assert torch.equal(found.images, natural.images)
    assert torch.equal(found.labels.bincount(minlength=10), other.labels.bincount(minlength=10))
    agreeing = (found.labels == other.labels).float().mean().item()
    # Shuffled labels agree by chance: a tenth, with a standard error of 0.02.
    assert agreeing == 1 if order == "kept" else agreeing < 0.2


@pytest.mark.parametrize("start", ["image", "noise"])
@pytest.mark.parametrize("stop_after", [1, 4, 9])
def test_a_synthesis_stopped_and_resumed_gives_the_same_images(
    tmp_path, standard, digits_train, stop_after, start
) -> None:
    natural = digits_train.first(60)
    config = MatchingConfig(step_size=0.1, steps=4, batch_size=20, start=start)
    expected = match_representations(config, standard.encoder, natural, Run(seed=5))
    polls = iter(range(1000))
    path = tmp_path / "checkpoint.safetensors"
    stopping = Run(seed=5, checkpoint=Checkpoint(path, stop=lambda: next(polls) >= stop_after))
    with pytest.raises(Interrupted):
        match_representations(config, standard.encoder, natural, stopping)
    resumed = match_representations(config, standard.encoder, natural, Run(seed=5, checkpoint=Checkpoint(path)))
    assert torch.equal(resumed.images.images, expected.images.images)
    assert resumed.summary == expected.summary


def test_synthesis_leaves_its_source_as_it_was(standard, digits_train) -> None:
    before = {name: value.clone() for name, value in standard.encoder.state_dict().items()}
    match_representations(MatchingConfig(step_size=0.1, steps=3), standard.encoder, digits_train.first(32), Run(seed=0))
    assert all(torch.equal(value, before[name]) for name, value in standard.encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in standard.encoder.parameters())


def test_adversarial_training_beats_standard_training_under_pgd(standard, adversarial, digits_test) -> None:
    images, labels = to_float(digits_test.images), digits_test.labels
    ball = Ball(Norm.L2, 0.75)
    robust = {}
    for name, trained in (("standard", standard), ("adversarial", adversarial)):
        model = classifier(trained)
        generator = torch.Generator().manual_seed(0)
        attacked = pgd(model, images, labels, ball=ball, step_size=0.15, generator=generator)
        robust[name] = accuracy(model, attacked, labels)
        assert accuracy(model, images, labels) > 0.85
    # 500 images: the difference's standard error is below 0.032, so 0.2 is more than six of them.
    assert robust["adversarial"] > robust["standard"] + 0.2


MATCHING = MatchingConfig(step_size=0.1, steps=1)
TARGETED = TargetedConfig(norm=Norm.L2, epsilon=0.5, step_size=0.1, steps=1)


@pytest.mark.parametrize(
    ("craft", "config"), [(match_representations, MATCHING), (perturb_towards_targets, TARGETED)], ids=["match", "aim"]
)
def test_a_source_in_train_mode_is_refused_as_it_is(craft, config, digits_train) -> None:
    source = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10))
    with pytest.raises(ConfigError, match="Sequential is in train mode"):
        craft(config, source, digits_train.first(8))
    assert source[0].num_batches_tracked == 0


@pytest.mark.parametrize("logits", [9, 11])
def test_a_source_of_other_classes_is_refused(logits, digits_train) -> None:
    source = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, logits)).eval()
    with pytest.raises(ConfigError, match=f"{logits} logits, expected 10, one a class"):
        perturb_towards_targets(TARGETED, source, digits_train.first(8))
