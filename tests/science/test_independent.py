"""Losses, noise schedule, averages and learning rates against independent versions: slow loops, diffusers, torch."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from realfeatures.experiment.config import OptimizerConfig
from realfeatures.experiment.presets import load_preset
from realfeatures.science import paradigms
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet
from realfeatures.science.models.vit import patchify
from realfeatures.science.paradigms import masked as masked_paradigm
from realfeatures.science.paradigms.contrastive import nt_xent_loss
from realfeatures.science.paradigms.diffusion import alphas_cumprod, noise_prediction_loss, q_sample
from realfeatures.science.paradigms.masked import masked_reconstruction_loss, random_shuffle
from realfeatures.science.training import Examples, MovingAverage, learning_rate_at, train

UNLIKELY = 1e-3
"""p-value below which a distribution is called wrong; the seeds are fixed, so a test passes always or never."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# NT-Xent


@pytest.mark.parametrize("views", ["all the same", "all orthogonal"])
@pytest.mark.parametrize(("pairs", "temperature"), [(2, 0.1), (5, 0.5), (8, 1.0)])
def test_nt_xent_is_the_log_of_the_number_of_others_where_nothing_tells_them_apart(views, pairs, temperature) -> None:
    projections = torch.ones(2 * pairs, 3) if views == "all the same" else torch.eye(2 * pairs)
    loss = nt_xent_loss(projections[:pairs], projections[pairs:], temperature)
    assert loss.item() == pytest.approx(math.log(2 * pairs - 1), rel=1e-5)


def test_nt_xent_of_opposite_partners_has_its_analytic_value() -> None:
    # Each partner is the opposite (-1), each other image orthogonal (0): -log(e^(-1/t) / (e^(-1/t) + 2N - 2)).
    views, temperature = torch.eye(3), 0.5
    expected = -math.log(math.exp(-2) / (math.exp(-2) + 4))
    assert nt_xent_loss(views, -views, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_nt_xents_gradient_is_that_of_the_equation_term_by_term() -> None:
    first, second = torch.randn(2, 4, 5, generator=seeded(), dtype=torch.float64).requires_grad_().unbind()
    views, temperature, terms = [*first, *second], 0.3, []
    for i, anchor in enumerate(views):
        similar = [torch.cosine_similarity(anchor, other, dim=0) / temperature for other in views]
        others = torch.stack([value for k, value in enumerate(similar) if k != i])
        terms.append(others.exp().sum().log() - similar[(i + 4) % 8])
    slow = torch.autograd.grad(torch.stack(terms).mean(), (first, second), retain_graph=True)
    ours = torch.autograd.grad(nt_xent_loss(first, second, temperature), (first, second))
    torch.testing.assert_close(ours, slow)


# DDPM


@pytest.fixture(scope="module")
def levels() -> Tensor:
    return alphas_cumprod(load_preset("paper").diffusion, torch.device("cpu"))


@pytest.mark.parametrize("timestep", [1, 11, 500, 999])
def test_a_step_of_diffusers_from_the_true_noise_draws_from_bayes_posterior(levels: Tensor, timestep: int) -> None:
    """Our noised image and schedule, given to diffusers' sampler, lead to q(x_(t-1) | x_t, x_0).

    The posterior is written from the two Gaussians themselves: x_(t-1) given x_0, and x_t given x_(t-1).
    """
    diffusers = pytest.importorskip("diffusers")
    clean, noise = torch.randn(2, 2, 3, 4, 4, generator=seeded())
    before, now = levels[timestep - 1].double(), levels[timestep].double()
    alpha = now / before
    noised = q_sample(clean, noise, levels[timestep : timestep + 1])
    precision = 1 / (1 - before) + alpha / (1 - alpha)
    mean = (before.sqrt() * clean / (1 - before) + alpha.sqrt() * noised / (1 - alpha)) / precision

    scheduler = diffusers.DDPMScheduler(1000, beta_schedule="linear", variance_type="fixed_small", clip_sample=False)
    stepped = scheduler.step(noise, timestep, noised, generator=seeded(3))
    drawn = torch.randn(clean.shape, generator=seeded(3))
    expected = mean + drawn / precision.sqrt()
    torch.testing.assert_close(stepped.pred_original_sample, clean, rtol=1e-3, atol=5e-4)
    torch.testing.assert_close(stepped.prev_sample, expected.float(), rtol=1e-3, atol=5e-4)


def test_the_ddpm_loss_of_the_best_predictor_of_gaussian_images_is_analytic(levels: Tensor) -> None:
    # x_0 ~ N(0, s^2) makes (x_t, e) jointly Gaussian: E[e | x_t] = sqrt(1 - a) x_t / v with v = a s^2 + 1 - a,
    # and what is left of e's variance is a s^2 / v.
    deviation, timestep, count = 0.5, 300, 400
    clean, noise = torch.randn(2, count, 3, 8, 8, generator=seeded())
    level = levels[timestep].item()
    total = level * deviation**2 + 1 - level
    best = noise_prediction_loss(
        lambda noised, _: math.sqrt(1 - level) / total * noised,
        deviation * clean,
        noise,
        torch.full((count,), timestep),
        levels,
    )
    # 76 800 squares: their mean's relative error is sqrt(2 / 76 800) = 0.5 %.
    assert best.item() == pytest.approx(level * deviation**2 / total, rel=0.02)


def test_noising_in_one_step_has_the_moments_of_noising_step_by_step(levels: Tensor) -> None:
    config = load_preset("paper").diffusion
    clean = torch.full((20_000,), 0.7)
    noised, generator = clean.clone(), seeded()
    for beta in torch.linspace(config.beta_start, config.beta_end, config.timesteps)[:200]:
        noised = (1 - beta).sqrt() * noised + beta.sqrt() * torch.randn(clean.shape, generator=generator)
    at_once = q_sample(clean.view(-1, 1, 1, 1), torch.zeros(1, 1, 1, 1), levels[199:200])
    assert noised.mean().item() == pytest.approx(at_once.mean().item(), abs=0.02)
    assert noised.var().item() == pytest.approx(1 - levels[199].item(), rel=0.04)


# Moving average, schedules, the loop


def test_the_moving_average_agrees_with_diffusers() -> None:
    training_utils = pytest.importorskip("diffusers.training_utils")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    ours = MovingAverage(net, 0.9)
    # min_decay: without it theirs starts at a lower decay. Its first step copies, ours is made as a copy.
    theirs = training_utils.EMAModel(net.parameters(), decay=0.9, min_decay=0.9)
    theirs.step(net.parameters())
    for _ in range(12):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += torch.randn(parameter.shape)
        ours.update(net)
        theirs.step(net.parameters())
    torch.testing.assert_close(ours.values, list(theirs.shadow_params))
    ours.copy_to(net)
    torch.testing.assert_close([*net.parameters()], list(theirs.shadow_params))


def optimizer(**changes: object) -> OptimizerConfig:
    values = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 8, "epochs": 6}
    return OptimizerConfig.model_validate(values | changes)


STEPS_PER_EPOCH = 5


def torchs_schedule(config: OptimizerConfig) -> list[float]:
    """The learning rate of every step, by torch's own schedulers."""
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=config.learning_rate)
    warmup, total = round(config.warmup_epochs * STEPS_PER_EPOCH), config.epochs * STEPS_PER_EPOCH
    following: torch.optim.lr_scheduler.LRScheduler
    if config.schedule == "cosine":
        following = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=total - warmup)
    else:
        # Milestones count from the training's start, torch's after a warm-up from the warm-up's end.
        milestones = [milestone * STEPS_PER_EPOCH - warmup for milestone in config.milestones]
        following = torch.optim.lr_scheduler.MultiStepLR(sgd, milestones=milestones, gamma=0.1)
    scheduler = following
    if warmup:
        linear = torch.optim.lr_scheduler.LinearLR(sgd, 1 / warmup, total_iters=warmup - 1)
        scheduler = torch.optim.lr_scheduler.SequentialLR(sgd, [linear, following], milestones=[warmup])
    rates = []
    for _ in range(total):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup_epochs", [0, 2])
@pytest.mark.parametrize("schedule", [{"schedule": "cosine"}, {"schedule": "step", "milestones": (3, 5)}])
def test_every_steps_learning_rate_is_torchs_and_is_the_one_that_moves_the_weights(schedule, warmup_epochs) -> None:
    config = optimizer(warmup_epochs=warmup_epochs, **schedule)
    expected = torchs_schedule(config)
    rates = [
        learning_rate_at(step, steps_per_epoch=STEPS_PER_EPOCH, config=config)
        for step in range(config.epochs * STEPS_PER_EPOCH)
    ]
    assert rates == pytest.approx(expected, abs=1e-12)

    # A weight of gradient 1 under plain descent falls by the learning rate of each step.
    weight, seen = nn.Linear(1, 1, bias=False).double(), []

    def loss(batch: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001
        seen.append(weight.weight.item())
        return weight.weight.sum()

    train(weight, loss, Examples(torch.zeros(40, 1), torch.zeros(40, dtype=torch.int64)), config, Run(seed=0))
    falls = [before - after for before, after in zip(seen, [*seen[1:], weight.weight.item()], strict=True)]
    assert falls == pytest.approx(expected, abs=1e-12)


def test_the_loop_takes_the_steps_of_a_plain_torch_loop() -> None:
    config = optimizer(momentum=0.9, weight_decay=1e-2, gradient_clip=0.5, schedule="cosine", epochs=3)
    inputs, labels = torch.randn(40, 4, generator=seeded()), torch.arange(40) % 3
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    batches: list[tuple[Tensor, Tensor]] = []

    def loss(batch: Tensor, wanted: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001
        batches.append((batch, wanted))
        return nn.functional.cross_entropy(ours(batch), wanted)

    train(ours, loss, Examples(inputs, labels), config, Run(seed=0))
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2, foreach=False)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=15)
    for batch, wanted in batches:
        sgd.zero_grad()
        nn.functional.cross_entropy(theirs(batch), wanted).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        sgd.step()
        cosine.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


# MAE


@pytest.mark.parametrize("preset", ["digits", "cifar10-small"])
def test_a_training_masks_exactly_the_configured_share_of_every_image(monkeypatch, preset: str) -> None:
    config = load_preset(preset, ["masked.optimizer.epochs=1", "masked.optimizer.batch_size=8"]).masked
    seen: list[tuple[int, Tensor]] = []

    def watched(predicted: Tensor, patches: Tensor, hidden: Tensor) -> Tensor:
        seen.append((patches.shape[1], hidden))
        return masked_reconstruction_loss(predicted, patches, hidden)

    monkeypatch.setattr(masked_paradigm, "masked_reconstruction_loss", watched)
    side = 4 * config.patch_size
    images = torch.randint(256, (16, 3, side, side), generator=seeded(), dtype=torch.uint8)
    paradigms.pretrain(config, ImageSet(images, torch.zeros(16, dtype=torch.int64), ("a",)), Run(seed=0))
    assert len(seen) == 2
    for patches, hidden in seen:
        assert hidden.shape == (8, round(patches * config.mask_ratio))
        assert all(len(image.unique()) == hidden.shape[1] for image in hidden)
    assert not torch.equal(seen[0][1], seen[1][1])


def test_every_patch_and_every_pair_of_patches_is_masked_equally_often() -> None:
    count, patches, hidden = 20_000, 9, 6
    shuffle = random_shuffle(torch.zeros(count, patches, 1), seeded())
    masked = torch.zeros(count, patches).scatter_(1, shuffle[:, patches - hidden :], 1)
    together = (masked.T @ masked) / count
    share, pair = hidden / patches, hidden * (hidden - 1) / (patches * (patches - 1))
    expected = torch.where(torch.eye(patches, dtype=torch.bool), share, pair)
    # Five standard errors of a share of 20 000.
    assert (together - expected).abs().max() < 5 * math.sqrt(0.25 / count)
    places = torch.bincount(shuffle[:, 0], minlength=patches)
    assert stats.chisquare(places.numpy()).pvalue > UNLIKELY


def test_the_masked_loss_is_the_mean_over_masked_patches_and_their_pixels_in_a_slow_loop() -> None:
    images = torch.rand(3, 2, 6, 6, generator=seeded(1))
    patches = patchify(images, 2)
    predicted = torch.randn(patches.shape, generator=seeded(2)).requires_grad_()
    hidden = random_shuffle(patches, seeded(3))[:, 4:]
    squares = [
        (predicted[image, patch, pixel] - patches[image, patch, pixel]).item() ** 2
        for image in range(3)
        for patch in hidden[image].tolist()
        for pixel in range(8)
    ]
    loss = masked_reconstruction_loss(predicted, patches, hidden)
    assert loss.item() == pytest.approx(sum(squares) / len(squares), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, predicted)
    touched = gradient.abs().sum(dim=2) > 0
    assert torch.equal(touched, torch.zeros(3, 9).scatter_(1, hidden, 1).bool())
