"""AutoAttack against the library's own run, under interruption, and on models that its checks should flag."""

import itertools
import sys

import pytest
import torch
from pyautoattack import AutoAttack
from pyautoattack.square import SquareAttack
from sklearn.datasets import load_digits
from torch import Tensor, nn

from realfeatures.errors import ConfigError, DataError, Interrupted
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.attacks.autoattack import RAND, STANDARD, AutoAttackResult, autoattack, suite
from realfeatures.science.attacks.pgd import Ball
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.context import Run

SEED = 3
BATCH = 4
CLASSES = 4
"""The fewest for the standard version: its targeted attacks then have three targets instead of nine."""

LARGE = {Norm.L2: Ball(Norm.L2, 1.5), Norm.LINF: Ball(Norm.LINF, 0.3)}
"""So large that in the end every image is fooled, so that Square ends early."""


def digits(count: int) -> tuple[Tensor, Tensor]:
    """Return images and labels of the classes 0 to 3."""
    data = load_digits()
    images, labels = torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(data.target)
    return images[labels < CLASSES][:count], labels[labels < CLASSES][:count]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A small CNN that has learned the digits 0 to 3."""
    images, labels = digits(500)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, CLASSES)
        )
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[100:]), labels[100:]).backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def masked(model):
    """The CNN without a gradient for some of the images, which only Square can then fool."""

    def predict(images: Tensor) -> Tensor:
        hidden = images.mean((1, 2, 3), keepdim=True) > 0.32
        return model(torch.where(hidden, images.detach(), images))

    return predict


@pytest.fixture(scope="module", params=list(Norm))
def whole(request, masked) -> tuple[Ball, AutoAttackResult]:
    """An uninterrupted run on the masked model, for each norm."""
    return LARGE[request.param], attack(masked, *digits(12), ball=LARGE[request.param])


def attack(model, images, labels, *, ball, checkpoint=None, version="standard") -> AutoAttackResult:
    run = Run(seed=SEED, checkpoint=checkpoint or Checkpoint())
    return autoattack(model, images, labels, ball=ball, version=version, batch_size=BATCH, run=run)


def library(model, images, labels, *, ball) -> Tensor:
    """Return what one call of the library returns."""
    standard = AutoAttack(model, norm=ball.norm.value, eps=ball.epsilon, seed=SEED, device="cpu")
    standard.apgd_targeted.n_target_classes = standard.fab.n_target_classes = CLASSES - 1
    adversarial, _ = standard.run_standard_evaluation(images, labels, batch_size=BATCH)
    return adversarial


def test_the_result_is_the_librarys_image_by_image(masked, whole):
    ball, result = whole
    assert torch.equal(result.adversarial, library(masked, *digits(12), ball=ball))
    # The comparison is worth something: more than one attack found something, in more than one batch.
    assert list(result.accuracy) == ["clean", *STANDARD]
    assert len(set(result.accuracy.values())) > 2
    assert result.accuracy["clean"] * 12 > BATCH


@pytest.mark.slow
@pytest.mark.parametrize("ball", [Ball(Norm.L2, 0.5), Ball(Norm.LINF, 0.1)], ids=["L2", "Linf"])
def test_the_result_is_the_librarys_where_images_stay_robust(masked, ball):
    result = attack(masked, *digits(12), ball=ball)
    assert torch.equal(result.adversarial, library(masked, *digits(12), ball=ball))
    assert result.robust.any()


def test_adversarial_images_are_in_the_ball_and_fool(masked, whole):
    ball, result = whole
    images, labels = digits(12)
    order = 2 if ball.norm is Norm.L2 else float("inf")
    distance = (result.adversarial - images).flatten(1).norm(p=order, dim=1)
    assert (distance <= ball.epsilon + 1e-5).all()
    assert result.adversarial.min() >= 0
    assert result.adversarial.max() <= 1
    assert torch.equal(masked(result.adversarial).argmax(1) == labels, result.robust)


def test_an_attack_that_is_stopped_inside_its_attacks_ends_with_the_same_bytes(masked, whole, tmp_path):
    ball, expected = whole
    # Calls of the model at which a stop is asked for: within each of the attacks, and at once after a start.
    calls, asked = itertools.count(1), {1, 2, 60, 150, 300, 700, 1500, 3000}
    stopping = Checkpoint(tmp_path / "checkpoint.safetensors", stop=lambda: next(calls) in asked)
    stops, resumed = 0, None
    while resumed is None:
        try:
            resumed = attack(masked, *digits(12), ball=ball, checkpoint=stopping)
        except Interrupted:
            stops += 1
    assert stops > len(STANDARD)
    assert torch.equal(resumed.robust, expected.robust)
    assert torch.equal(resumed.adversarial, expected.adversarial)
    assert resumed.accuracy == expected.accuracy
    assert resumed.checks == expected.checks


def test_the_global_generator_and_the_trace_function_are_left_alone(model):
    images, labels = digits(6)

    def trace(*_):
        return None

    before, previous = torch.random.get_rng_state(), sys.gettrace()
    sys.settrace(trace)
    try:
        attack(model, images, labels, ball=LARGE[Norm.LINF])
        assert sys.gettrace() is trace
    finally:
        sys.settrace(previous)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_channels_last_images_are_attacked(model):
    """A model of one's own may want them; the library fails on them."""
    images, labels = digits(6)
    colour = images.expand(-1, 3, -1, -1)

    def grey(x: Tensor) -> Tensor:
        return model(x.mean(1, keepdim=True))

    ball = Ball(Norm.L2, 3)
    last = attack(grey, colour.contiguous(memory_format=torch.channels_last), labels, ball=ball)
    first = attack(grey, colour.contiguous(), labels, ball=ball)
    assert torch.equal(last.adversarial, first.adversarial)
    assert not last.robust.all()


def test_a_plain_model_is_not_flagged(model):
    images, labels = digits(6)
    assert not any(attack(model, images, labels, ball=LARGE[Norm.LINF]).checks.values())


def test_soft_max_outputs_are_flagged(model):
    images, labels = digits(6)
    result = attack(lambda x: model(x).softmax(1), images, labels, ball=LARGE[Norm.LINF])
    assert result.checks["probability"]
    assert not result.checks["randomized"]


def test_a_randomised_model_is_flagged_and_its_result_repeats(model):
    images, labels = digits(6)

    def noisy(x: Tensor) -> Tensor:
        return model(x + 0.1 * torch.randn(x.shape))

    first, second = (attack(noisy, images, labels, ball=LARGE[Norm.LINF]) for _ in range(2))
    assert first.checks["randomized"]
    assert torch.equal(first.adversarial, second.adversarial)


@pytest.fixture(scope="module")
def noisy(model):
    """The CNN behind noise, drawn anew in every pass from torch's global generator."""
    return lambda images: model(images + 0.2 * torch.randn(images.shape))


MEDIUM = {Norm.L2: Ball(Norm.L2, 0.7), Norm.LINF: Ball(Norm.LINF, 0.15)}
"""So large that some images are fooled, and so small that some stay robust."""


@pytest.mark.parametrize("norm", [Norm.LINF, pytest.param(Norm.L2, marks=pytest.mark.slow)])
def test_a_random_models_result_is_the_librarys_image_by_image(noisy, norm):
    images, labels = digits(10)
    ball = MEDIUM[norm]
    result = attack(noisy, images, labels, ball=ball, version="rand")
    random = AutoAttack(noisy, norm=ball.norm.value, eps=ball.epsilon, seed=SEED, device="cpu", version="rand")
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        adversarial, _ = random.run_standard_evaluation(images, labels, batch_size=BATCH)
    assert torch.equal(result.adversarial, adversarial)
    assert list(result.accuracy) == ["clean", *RAND]
    assert result.checks == dict.fromkeys(result.checks, False) | {"randomized": True}
    assert 0 < result.accuracy["apgd-dlr"] < result.accuracy["clean"]


def test_an_attack_on_a_random_model_that_is_stopped_ends_with_the_same_bytes(noisy, tmp_path):
    images, labels = digits(6)
    expected = attack(noisy, images, labels, ball=MEDIUM[Norm.L2], version="rand")
    calls, asked = itertools.count(1), {1, 100, 2500, 5000}
    stopping = Checkpoint(tmp_path / "checkpoint.safetensors", stop=lambda: next(calls) in asked)
    stops, resumed = 0, None
    while resumed is None:
        try:
            resumed = attack(noisy, images, labels, ball=MEDIUM[Norm.L2], version="rand", checkpoint=stopping)
        except Interrupted:
            stops += 1
    assert stops > 2
    assert torch.equal(resumed.adversarial, expected.adversarial)
    assert resumed.accuracy == expected.accuracy
    assert resumed.checks == expected.checks


def test_version_rand_needs_three_classes_for_its_margin_loss():
    ball = MEDIUM[Norm.L2]
    for classes, attacks in ((2, ("apgd-ce",)), (3, RAND), (10, RAND)):
        assert suite(ball, classes=classes, shape=(8, 8), version="rand") == attacks
    assert suite(Ball(Norm.L2, 0), classes=10, shape=(8, 8), version="rand") == ()


def test_gradients_within_the_model_are_flagged_and_the_next_model_is_not(model):
    images, labels = digits(6)

    def purifying(x: Tensor) -> Tensor:
        with torch.enable_grad():
            start = x.detach().clone().requires_grad_()
            step = torch.autograd.grad(start.square().sum(), start)[0]
        return model(x - 0.01 * step)

    assert attack(purifying, images, labels, ball=LARGE[Norm.LINF]).checks["dynamic"]
    assert not attack(model, images, labels, ball=LARGE[Norm.LINF]).checks["dynamic"]


def test_masked_gradients_are_flagged(whole):
    _, result = whole
    assert result.checks["zero_gradient"]
    assert result.checks["square_improved"]


@pytest.mark.parametrize(
    ("classes", "attacks"),
    [(2, ("apgd-ce", "fab-t", "square")), (3, ("apgd-ce", "apgd-dlr", "fab-t", "square")), (4, STANDARD)],
)
def test_few_classes_get_the_attacks_that_exist(model, classes, attacks):
    images, labels = digits(30)
    images, labels = images[labels < classes][:6], labels[labels < classes][:6]
    result = attack(lambda x: model(x)[:, :classes], images, labels, ball=LARGE[Norm.LINF])
    assert tuple(result.accuracy) == ("clean", *attacks)
    assert result.checks["not_standard"] == (classes < 4)
    assert result.accuracy["square"] < result.accuracy["clean"]


def test_square_is_left_out_exactly_where_the_library_fails():
    ball = Ball(Norm.L2, 0.5)
    for height in range(3, 34):
        for width in (height, height + 1, 2 * height):
            square = SquareAttack(
                lambda x: torch.tensor([[1.0, 0.0]]).repeat(len(x), 1), norm="L2", n_queries=1, eps=0.5, seed=0
            )
            try:
                square.perturb(torch.full((1, 1, height, width), 0.5), torch.zeros(1, dtype=torch.long))
                works = True
            except (RuntimeError, ZeroDivisionError):
                works = False
            assert ("square" in suite(ball, classes=10, shape=(height, width))) == works, (height, width)


def test_an_image_too_small_for_square_is_still_attacked(model):
    small = digits(6)[0][:, :, 2:6, 2:6]

    def padded(x: Tensor) -> Tensor:
        return model(nn.functional.pad(x, (2, 2, 2, 2)))

    result = attack(padded, small, padded(small).argmax(1), ball=LARGE[Norm.L2])
    assert list(result.accuracy) == ["clean", "apgd-ce", "apgd-t", "fab-t"]
    assert result.checks["not_standard"]
    assert result.accuracy["fab-t"] < result.accuracy["clean"]


def test_an_epsilon_of_zero_is_clean_accuracy(model):
    images, labels = digits(12)
    result = attack(model, images, labels, ball=Ball(Norm.L2, 0))
    assert torch.equal(result.robust, model(images).argmax(1) == labels)
    assert torch.equal(result.adversarial, images)


def test_bad_input_is_refused(model):
    images, labels = digits(6)
    with pytest.raises(DataError, match=r"pixels in \[0, 16\], expected \[0, 1\]"):
        attack(model, images * 16, labels, ball=LARGE[Norm.L2])
    with pytest.raises(DataError, match="labels from 0 to 6, of 4 classes expected 0 to 3"):
        attack(model, images, labels.clamp_min(6) * (labels > 0), ball=LARGE[Norm.L2])
    with pytest.raises(DataError, match="labels from -1 to"):
        attack(model, images, labels - 1, ball=LARGE[Norm.L2])
    with pytest.raises(ConfigError, match="expected at least 2"):
        attack(lambda x: model(x)[:, :1], images, torch.zeros_like(labels), ball=LARGE[Norm.L2])


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"version": "Rand"}, ConfigError, "version 'Rand': expected one of standard, rand"),
        ({"batch_size": 0}, ConfigError, "batch_size 0: expected a whole number of 1 or more"),
        ({"model": nn.Flatten()}, ConfigError, "Flatten is in train mode, expected eval mode"),
        ({"labels": torch.zeros(5, dtype=torch.long)}, DataError, r"labels are int64 \(5,\), expected int64 \(6,\)"),
        ({"labels": torch.zeros(6)}, DataError, r"labels are float32 \(6,\), expected int64 \(6,\)"),
        ({"images": torch.empty(0, 1, 8, 8)}, DataError, r"images are float32 \(0, 1, 8, 8\), expected .* at least 1"),
    ],
)
def test_what_an_attack_would_mistake_is_refused_before_it(changed, error, text):
    def unexpected(_images: Tensor) -> Tensor:
        raise AssertionError("the model was asked")

    given = dict(zip(("images", "labels"), digits(6), strict=True), model=unexpected, ball=LARGE[Norm.L2]) | changed
    with pytest.raises(error, match=text):
        autoattack(**given)
