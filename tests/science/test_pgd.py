"""PGD against its invariants, and against linear models, whose optimum is known."""

import math
from typing import Any

import pytest
import torch
from checks import check_attack_raises_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from realfeatures.errors import ConfigError, DataError
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.attacks.pgd import Ball, ascend, maximise, pgd, targeted, untargeted

NORMS = list(Norm)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_cnn(*, channels: int = 3, classes: int = 5) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128, classes),
        )
    return model.eval().requires_grad_(False)


def config(norm: Norm, epsilon: float, *, steps: int = 10, relative_step: float = 0.25) -> dict[str, Any]:
    return {"ball": Ball(norm, epsilon), "step_size": max(relative_step * epsilon, 1e-6), "steps": steps}


def length(perturbation: Tensor, norm: Norm) -> Tensor:
    order = 2 if norm is Norm.L2 else math.inf
    return torch.linalg.vector_norm(perturbation.flatten(1).double(), ord=order, dim=1)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_raises_the_loss_of_every_image(norm):
    model, images = small_cnn(), torch.rand(16, 3, 8, 8, generator=generator())
    objective = untargeted(model, model(images).argmax(1))
    attack = config(norm, 0.5 if norm is Norm.L2 else 0.03)
    check_attack_raises_loss(lambda x: maximise(objective, x, **attack, generator=generator(1)), objective, images)


@pytest.mark.parametrize("norm", NORMS)
def test_targeted_pgd_lowers_the_loss_of_the_target(norm):
    model, images = small_cnn(), torch.rand(16, 3, 8, 8, generator=generator())
    targets = (model(images).argmax(1) + 1) % 5
    attack = config(norm, 0.5 if norm is Norm.L2 else 0.03)
    adversarial = maximise(targeted(model, targets), images, **attack, generator=None)
    loss = untargeted(model, targets)
    assert (loss(adversarial) < loss(images)).all()


@settings(max_examples=40, deadline=None)
@given(
    norm=st.sampled_from(NORMS),
    epsilon=st.floats(0, 4),
    relative_step=st.floats(0.05, 5),
    shape=st.tuples(st.integers(1, 4), st.just(3), st.integers(4, 9), st.integers(4, 9)),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_pgd_stays_inside_the_ball_and_the_box(norm, epsilon, relative_step, shape, channels_last, seed):
    images = torch.rand(shape, generator=generator(seed))
    images = images.round() if seed % 2 else images  # half of the time on the box's faces
    if channels_last:
        images = images.to(memory_format=torch.channels_last)
    original = images.clone()
    objective = untargeted(small_cnn(), torch.zeros(len(images), dtype=torch.long))
    attack = config(norm, epsilon, steps=3, relative_step=relative_step)
    for start in (None, generator(seed)):
        adversarial = maximise(objective, images, **attack, generator=start)
        assert (length(adversarial - images, norm) <= epsilon * (1 + 1e-5) + 1e-6).all()
        assert adversarial.min() >= 0
        assert adversarial.max() <= 1
        assert not adversarial.requires_grad
        assert adversarial.dtype == torch.float32
    assert torch.equal(images, original)
    assert not images.requires_grad


@pytest.mark.parametrize(("norm", "dual_order"), [(Norm.L2, 2), (Norm.LINF, 1)])
@pytest.mark.parametrize("start", [None, 3], ids=["at the image", "random"])
def test_pgd_finds_the_optimum_of_a_linear_model(norm, dual_order, start):
    """Around grey the box is far: the margin w.x can rise by epsilon times the dual norm of w."""
    weight = torch.randn(3 * 6 * 6, generator=generator(2))
    images = torch.full((4, 3, 6, 6), 0.5)
    epsilon = 0.3
    rise = epsilon * torch.linalg.vector_norm(weight, ord=dual_order)

    def margin(x: Tensor) -> Tensor:
        return x.flatten(1) @ weight

    random_start = None if start is None else generator(start)
    adversarial = maximise(margin, images, **config(norm, epsilon, steps=100), generator=random_start)
    torch.testing.assert_close(margin(adversarial) - margin(images), rise.expand(4), rtol=1e-4, atol=0)


def test_pgd_finds_the_optimum_of_a_linear_model_at_the_box():
    """At a black image an Linf attack can only brighten: the sum of the positive weights is the optimum."""
    weight = torch.randn(3 * 6 * 6, generator=generator(2))
    images = torch.zeros(2, 3, 6, 6)
    adversarial = maximise(lambda x: x.flatten(1) @ weight, images, **config(Norm.LINF, 0.1), generator=generator())
    expected = 0.1 * weight.clamp_min(0).sum()
    torch.testing.assert_close(adversarial.flatten(1) @ weight, expected.expand(2), rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_moves_nothing(norm):
    images = torch.rand(3, 1, 5, 5, generator=generator())
    adversarial = maximise(lambda x: (x * 0).sum((1, 2, 3)), images, **config(norm, 0.5), generator=None)
    assert torch.equal(adversarial, images)


@pytest.mark.parametrize("norm", NORMS)
def test_a_saturated_linear_model_is_broken_like_its_scaled_down_twin(norm):
    """Weights so large that float32's cross-entropy and its gradient are exactly zero hide nothing."""
    weight = torch.randn(4, 12, generator=generator())
    images = torch.rand(32, 3, 2, 2, generator=generator(1)) * 0.2 + 0.4
    labels = (images.flatten(1) @ weight.T).argmax(1)
    attack = config(norm, 0.3)
    broken = {}
    for scale in (1.0, 1e6):

        def model(x, scale=scale):
            return scale * (x.flatten(1) @ weight.T)

        adversarial = pgd(model, images, labels, **attack)
        broken[scale] = (model(adversarial).argmax(1) != labels).float().mean().item()
    assert broken[1.0] > 0.9
    assert broken[1e6] >= broken[1.0] - 0.1


def test_logits_of_an_ordinary_spread_are_not_touched():
    logits = torch.randn(8, 5, generator=generator()) * 10
    labels = torch.arange(8) % 5
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert torch.equal(untargeted(lambda _: logits, labels)(logits), expected)


def test_an_l2_step_has_its_length_even_where_the_gradients_square_underflows():
    gradient = torch.randn(4, 3, 5, 5, generator=generator()) * torch.tensor([1e-30, 1e-10, 1.0, 1e30]).view(4, 1, 1, 1)
    steps = Ball(Norm.L2, 1.0).steepest(gradient)
    torch.testing.assert_close(length(steps, Norm.L2), torch.ones(4, dtype=torch.float64), rtol=1e-5, atol=0)


def test_an_epsilon_of_zero_leaves_the_images_alone():
    images = torch.rand(3, 3, 5, 5, generator=generator())
    for norm in NORMS:
        objective = untargeted(small_cnn(), torch.zeros(3, dtype=torch.long))
        assert torch.equal(maximise(objective, images, **config(norm, 0.0), generator=generator()), images)


def test_the_random_start_is_uniform_in_the_l2_ball():
    """In a d-ball of radius r the mean distance is r d / (d + 1), a coordinate's variance r^2 / (d + 2)."""
    like = torch.empty(20_000, 1, 2, 3)
    dimensions, epsilon = 6, 0.7
    start = Ball(Norm.L2, epsilon).random(like, generator())
    distance = length(start, Norm.L2)
    assert distance.max() <= epsilon * (1 + 1e-6)
    assert distance.mean().item() == pytest.approx(epsilon * dimensions / (dimensions + 1), rel=0.005)
    assert (distance < epsilon / 2).double().mean().item() == pytest.approx(0.5**dimensions, rel=0.25)
    torch.testing.assert_close(start.mean(0), torch.zeros(1, 2, 3), rtol=0, atol=0.01)
    torch.testing.assert_close(start.var(0), torch.full((1, 2, 3), epsilon**2 / (dimensions + 2)), rtol=0.05, atol=0)


def test_the_random_start_is_uniform_in_the_linf_ball():
    start = Ball(Norm.LINF, 0.2).random(torch.empty(2_000, 3, 2, 2), generator())
    assert start.abs().max() <= 0.2
    assert start.mean().item() == pytest.approx(0, abs=0.005)
    assert start.var().item() == pytest.approx(0.4**2 / 12, rel=0.03)


@pytest.mark.parametrize("norm", NORMS)
def test_the_projection_is_the_nearest_point_of_the_ball(norm):
    """No point on the way to any other point of the ball is nearer, so the ball being convex none is."""
    ball = Ball(norm, 0.5)
    outside = torch.randn(50, 1, 3, 3, generator=generator())
    projected = ball.project(outside)
    assert (length(projected, norm) <= 0.5 + 1e-6).all()
    torch.testing.assert_close(ball.project(projected), projected)
    towards = ball.random(outside, generator(1)) - projected
    descent = ((outside - projected) * towards).flatten(1).sum(1)
    assert (descent <= 1e-5).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_same_seed_gives_the_same_bytes_and_leaves_the_global_generator_alone(norm):
    model, images = small_cnn(), torch.rand(4, 3, 8, 8, generator=generator())
    objective = untargeted(model, torch.zeros(4, dtype=torch.long))
    before = torch.random.get_rng_state()
    first, again, other = (
        maximise(objective, images, **config(norm, 0.1), generator=generator(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_gradient_reaches_the_images_only():
    model, images = small_cnn().requires_grad_(True), torch.rand(4, 3, 8, 8, generator=generator())
    objective = untargeted(model, torch.zeros(4, dtype=torch.long))
    with torch.no_grad():  # as in an evaluation
        maximise(objective, images, **config(Norm.L2, 0.5), generator=None)
    assert all(weight.grad is None for weight in model.parameters())


def test_an_unbounded_ascent_may_start_elsewhere_and_decay_its_steps():
    """As representation matching does: from other images, with no bound, towards a known image."""
    goal = torch.rand(3, 3, 5, 5, generator=generator())
    start = torch.rand(3, 3, 5, 5, generator=generator(1))
    steps = [0.1 * (1 - step / 200) for step in range(200)]
    ball = Ball(Norm.L2, math.inf)

    def closeness(x: Tensor) -> Tensor:
        return -(x - goal).flatten(1).norm(dim=1)

    reached = ascend(closeness, start, centre=start, ball=ball, step_sizes=steps)
    assert (closeness(reached) > 0.05 * closeness(start)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_without_settings_reaches_the_boundary_and_is_the_ascent_of_cross_entropy(norm):
    """Twenty steps of an eighth of epsilon, on a module of a user's own."""
    model, images = small_cnn(), torch.rand(8, 3, 8, 8, generator=generator()) * 0.4 + 0.3
    labels, ball = model(images).argmax(1), Ball(norm.value, 0.05 if norm is Norm.LINF else 1.0)
    for start in (None, generator(1)):
        attacked = pgd(model, images, labels, ball=ball, generator=start)
        torch.testing.assert_close(length(attacked - images, norm), torch.full((8,), ball.epsilon).double())
    same = maximise(untargeted(model, labels), images, ball=ball, steps=20, step_size=ball.epsilon / 8)
    assert torch.equal(pgd(model, images, labels, ball=ball), same)


def test_a_ball_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="norm 'l2': expected one of L2, Linf"):
        Ball("l2", 0.5)
    with pytest.raises(ConfigError, match="epsilon -1: expected 0 or more"):
        Ball("L2", -1)
    with pytest.raises(ConfigError, match="epsilon '1': expected 0 or more, as a number"):
        Ball("L2", "1")


def test_a_norm_without_a_geometry_of_its_own_is_not_taken_for_l2():
    ball, images = Ball("L2", 1), torch.rand(2, 3, 4, 4)
    object.__setattr__(ball, "norm", "L1")  # as if it stood in Norm alone
    for geometry in (ball.steepest, ball.project, lambda like: ball.random(like, generator())):
        with pytest.raises(NotImplementedError, match="L1"):
            geometry(images)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"images": torch.zeros(2, 3, 8, 8).byte()}, DataError, r"images are uint8 \(2, 3, 8, 8\), expected floats"),
        ({"images": torch.rand(3, 8, 8)}, DataError, r"images are float32 \(3, 8, 8\), expected floats \(N, C, H, W\)"),
        ({"images": torch.full((2, 3, 8, 8), 255.0)}, DataError, r"pixels in \[255, 255\], expected \[0, 1\]"),
        ({"images": torch.full((2, 3, 8, 8), math.nan)}, DataError, r"pixels in \[nan, nan\], expected \[0, 1\]"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, DataError, r"labels are int64 \(3,\), expected int64 \(2,\)"),
        ({"labels": torch.rand(2, 5)}, DataError, r"labels are float32 \(2, 5\), expected int64 \(2,\)"),
        ({"labels": torch.tensor([0, -100])}, DataError, "labels from -100 to 0, of 5 classes expected 0 to 4"),
        ({"labels": torch.tensor([0, 5])}, DataError, "labels from 0 to 5, of 5 classes expected 0 to 4"),
        ({"steps": 0}, ConfigError, "steps 0: expected a whole number of 1 or more"),
        ({"steps": 2.5}, ConfigError, "steps 2.5: expected a whole number of 1 or more"),
        ({"step_size": 0.0}, ConfigError, "step_size 0.0: expected a finite number above 0"),
        ({"step_size": math.inf}, ConfigError, "step_size inf: expected a finite number above 0"),
        ({"ball": Ball("L2", math.inf)}, ConfigError, "epsilon inf: expected a finite one where no step_size is given"),
        ({"model": small_cnn().train()}, ConfigError, "Sequential is in train mode, expected eval mode"),
    ],
)
def test_what_pgd_would_mistake_is_refused(changed, error, text):
    usable = {"model": small_cnn(), "images": torch.rand(2, 3, 8, 8), "labels": torch.tensor([0, 4])}
    with pytest.raises(error, match=text):
        pgd(**usable | {"ball": Ball("L2", 0.5)} | changed)
