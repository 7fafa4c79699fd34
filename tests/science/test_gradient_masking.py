"""The gradient-masking checks: an honest model raises none, and each planted way of masking raises its own."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from realfeatures.experiment.config import ThreatModel
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.attacks.gradient_masking import GradientMasking, check_gradient_masking

THREATS = {Norm.L2: ThreatModel(norm=Norm.L2, epsilon=0.6), Norm.LINF: ThreatModel(norm=Norm.LINF, epsilon=0.1)}
"""At which PGD fools some of the images and leaves some."""


def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(data.target)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A small CNN that has learned the digits."""
    images, labels = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        for _ in range(80):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[200:]), labels[200:]).backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def examples(model) -> tuple[Tensor, Tensor]:
    """Images that the model classifies correctly."""
    images, labels = digits()
    correct = model(images).argmax(1) == labels
    return images[correct][:64], labels[correct][:64]


def check(model, images, labels, *, threat: ThreatModel, batch_size: int = 64, seed: int = 0) -> GradientMasking:
    return check_gradient_masking(
        model,
        images,
        labels,
        threat=threat,
        steps=10,
        step_size=0.25 * threat.epsilon,
        generator=torch.Generator().manual_seed(seed),
        batch_size=batch_size,
    )


def with_gradient(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return the value, with the gradient of the surrogate."""
    return value.detach() + surrogate - surrogate.detach()


def raised(masking: GradientMasking) -> set[str]:
    return {name for name, suspicious in masking.checks.items() if suspicious}


@pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)
def test_an_honest_model_raises_nothing(model, examples, threat):
    masking = check(model, *examples, threat=threat)
    assert raised(masking) == set()
    # The attacks had something to order.
    assert 0 < masking.details["accuracy_pgd"] < masking.details["accuracy_half_epsilon"]
    assert masking.details["accuracy_double_epsilon"] < masking.details["accuracy_pgd"]
    assert masking.details["accuracy_clean"] == 1
    assert masking.details["n"] == 64


@pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)
def test_a_saturated_model_raises_nothing_since_pgd_unsaturates_it(model, examples, threat):
    assert raised(check(lambda x: 1e6 * model(x), *examples, threat=threat)) == set()


@pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)
def test_one_image_without_a_gradient_is_seen(model, examples, threat):
    brightest = examples[0].mean((1, 2, 3)).max()

    def predict(x: Tensor) -> Tensor:
        return model(torch.where(x.mean((1, 2, 3), keepdim=True) >= brightest, x.detach(), x))

    masking = check(predict, *examples, threat=threat)
    assert "zero_gradient" in raised(masking)
    assert masking.details["zero_gradient_share"] == pytest.approx(1 / 64, abs=1e-4)


@pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)
def test_a_shattered_gradient_is_seen(model, examples, threat):
    """A ripple far below what an image shows has a slope that is all that the gradient is."""
    phases = torch.arange(64.0).view(1, 1, 8, 8)  # else the many black pixels would all slope upwards
    masking = check(lambda x: model(x + 1e-4 * torch.sin(1e7 * x + phases)), *examples, threat=threat)
    assert {"flat_loss", "unbounded_fails"} <= raised(masking)
    assert masking.details["linearity_error"] > 0.9


@pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)
def test_a_gradient_that_is_right_at_the_images_only_is_seen(model, examples, threat):
    """One step from the image fools, and steps from a random start lead away: the hallmark of obfuscation."""

    def predict(x: Tensor) -> Tensor:
        real = ((x * 16).round() == x * 16).flatten(1).all(1)
        return with_gradient(model(x), torch.where(real[:, None], model(x), -model(x)))

    assert "not_monotone_in_steps" in raised(check(predict, *examples, threat=threat))


@pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)
def test_a_gradient_that_turns_round_further_out_is_seen(model, examples, threat):
    order = 2 if threat.norm is Norm.L2 else float("inf")

    def predict(x: Tensor) -> Tensor:
        far = torch.cdist(x.flatten(1), examples[0].flatten(1), p=order).amin(1) > threat.epsilon * 1.01
        return with_gradient(model(x), torch.where(far[:, None], -model(x), model(x)))

    masking = check(predict, *examples, threat=threat)
    assert "not_monotone_in_epsilon" in raised(masking)
    assert "not_monotone_in_steps" not in raised(masking)


def test_what_is_seen_repeats_by_the_seed_and_hardly_depends_on_batches(model, examples):
    threat = THREATS[Norm.LINF]
    first, again = (check(model, *examples, threat=threat) for _ in range(2))
    assert first == again
    halves = check(model, *examples, threat=threat, batch_size=20)
    assert halves.checks == first.checks
    assert halves.details["accuracy_one_step"] == first.details["accuracy_one_step"]
    assert halves.details["accuracy_pgd"] == pytest.approx(first.details["accuracy_pgd"], abs=0.05)


def test_the_linearity_error_is_the_curvature_of_a_known_loss():
    """Two classes on a linear margin m: the loss log(1 + exp(-m)) is promised to rise by its slope there."""
    images, labels = torch.full((8, 1, 4, 4), 0.6), torch.zeros(8, dtype=torch.long)
    threat = ThreatModel(norm=Norm.LINF, epsilon=0.2)
    masking = check(lambda x: x.mean((1, 2, 3))[:, None] * torch.tensor([2.0, -2.0]), images, labels, threat=threat)
    margin, moved = torch.tensor(4 * 0.6), torch.tensor(4 * 0.4)
    rise = nn.functional.softplus(-moved) - nn.functional.softplus(-margin)
    promised = torch.sigmoid(-margin) * (margin - moved)
    assert masking.details["linearity_error"] == pytest.approx(((rise - promised) / rise).item(), abs=1e-3)
    assert masking.details["flat_share"] == 0


def test_misclassified_images_are_left_out(model, examples):
    images, labels = examples
    threat = THREATS[Norm.L2]
    wrong = (labels[:10] + 1) % 10
    mixed = check(model, torch.cat([images[:10], images[10:30]]), torch.cat([wrong, labels[10:30]]), threat=threat)
    assert mixed.details["accuracy_clean"] == pytest.approx(20 / 30, abs=1e-4)
    none = check(model, images[:10], wrong, threat=threat)
    assert raised(none) == set()
    assert none.details["accuracy_clean"] == 0


def test_an_epsilon_of_zero_has_nothing_to_look_for(model, examples):
    assert check(model, *examples, threat=ThreatModel(norm=Norm.L2, epsilon=0)) == GradientMasking({}, {})
