"""The label-free attack against a linear encoder, whose largest stretch is known, and its invariants."""

import pytest
import torch
from torch import nn

from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.attacks.pgd import Ball, away_from, maximise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_encoder(weight: torch.Tensor) -> nn.Sequential:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight, torch.ones(len(weight))
    return nn.Sequential(nn.Flatten(), layer).eval().requires_grad_(False)


def test_it_finds_the_largest_stretch_of_a_linear_encoder():
    """Around grey the box is far: W moves a perturbation of length epsilon by at most epsilon times its norm."""
    weight = torch.randn(6, 27, generator=generator()).double().float()
    images, ball = torch.full((5, 3, 3, 3), 0.5), Ball(Norm.L2, 0.3)
    objective = away_from(linear_encoder(weight), images)
    moved = objective(maximise(objective, images, ball=ball, steps=400, step_size=0.1, generator=generator(1)))
    largest = ball.epsilon * torch.linalg.matrix_norm(weight, ord=2)
    torch.testing.assert_close(moved, largest.expand(5), rtol=1e-3, atol=0)


@pytest.mark.parametrize("norm", list(Norm))
def test_it_moves_every_representation_further_than_noise_of_the_same_norm(norm):
    encoder = linear_encoder(torch.randn(6, 27, generator=generator()))
    images = torch.rand(16, 3, 3, 3, generator=generator(2))
    objective = away_from(encoder, images)
    noisy, moved = (
        maximise(objective, images, ball=Ball(norm, 0.1), steps=steps, step_size=0.025, generator=generator(3))
        for steps in (0, 10)
    )
    assert (objective(moved) > objective(noisy)).all()


def test_it_starts_at_zero_with_a_gradient_of_zero_and_not_nan():
    """Hence the random start."""
    images = torch.rand(4, 3, 3, 3, generator=generator(), requires_grad=True)
    distances = away_from(linear_encoder(torch.randn(6, 27, generator=generator())), images)(images)
    (gradient,) = torch.autograd.grad(distances.sum(), images)
    assert torch.equal(distances, torch.zeros(4))
    assert torch.equal(gradient, torch.zeros_like(images))
