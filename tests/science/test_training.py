"""The training loop: schedules, optimisers, resuming, and a loss that diverges."""

import itertools
import math

import pytest
import torch
from torch import nn

from realfeatures.errors import Interrupted, TrainingError
from realfeatures.experiment.config import OptimizerConfig
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.context import Run
from realfeatures.science.training import Examples, MovingAverage, build_optimizer, learning_rate_at, train


def optimizer(**changes: object) -> OptimizerConfig:
    values = {"name": "sgd", "learning_rate": 0.1, "batch_size": 8, "epochs": 4} | changes
    return OptimizerConfig.model_validate(values)


def regression(count: int = 40) -> Examples:
    generator = torch.Generator().manual_seed(0)
    return Examples(torch.randn(count, 6, generator=generator), torch.arange(count) % 3)


def fit(run: Run, config: OptimizerConfig, *, average: bool = False) -> tuple[dict[str, torch.Tensor], list]:
    """Train a net with dropout, batch norm and noise, so that every kind of state matters."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)).train()
    mean = MovingAverage(net, 0.9) if average else None

    def loss(batch: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noise = torch.randn(batch.shape, generator=generator)
        return nn.functional.cross_entropy(net(batch + 0.1 * noise), labels)

    history = train(net, loss, regression(), config, run, average=mean)
    averages = {f"average.{index}": value for index, value in enumerate(mean.values)} if mean else {}
    return {**net.state_dict(), **averages}, history


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("stop_after", [1, 7, 10, 19])
def test_a_training_stopped_anywhere_and_resumed_ends_with_the_same_weights(tmp_path, name, stop_after) -> None:
    config = optimizer(name=name, schedule="cosine", warmup_epochs=1, gradient_clip=1.0, weight_decay=1e-3)
    expected, expected_history = fit(Run(seed=3), config, average=True)
    calls = itertools.count(1)
    path = tmp_path / "checkpoint.safetensors"
    stopped = Run(seed=3, checkpoint=Checkpoint(path, stop=lambda: next(calls) == stop_after))
    with pytest.raises(Interrupted):
        fit(stopped, config, average=True)
    weights, history = fit(Run(seed=3, checkpoint=Checkpoint(path)), config, average=True)
    assert history == expected_history
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_convolutions_in_channels_last_resume_to_the_same_weights(tmp_path, name) -> None:
    """A fused optimiser walks memory as it lies: state that is restored in another layout scrambles it."""

    def fit_images(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(64, 3))
        net = net.to(memory_format=torch.channels_last).train()
        mean = MovingAverage(net, 0.9)
        images = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        examples = Examples(images.contiguous(memory_format=torch.channels_last), torch.arange(32) % 3)

        def loss(batch: torch.Tensor, labels: torch.Tensor, _: torch.Generator) -> torch.Tensor:
            return nn.functional.cross_entropy(net(batch), labels)

        run = Run(seed=3, checkpoint=checkpoint)
        train(net, loss, examples, optimizer(name=name), run, average=mean)
        return dict(enumerate([*net.parameters(), *mean.values]))

    expected = fit_images(Checkpoint())
    calls = itertools.count(1)
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Interrupted):
        fit_images(Checkpoint(path, stop=lambda: next(calls) == 6))
    resumed = fit_images(Checkpoint(path))
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


def test_a_moving_average_is_the_weighted_sum_of_the_weights_that_it_saw() -> None:
    net = nn.Linear(2, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    mean = MovingAverage(net, 0.75)
    for value in (2.0, 6.0):
        nn.init.constant_(net.weight, value)
        mean.update(net)
    mean.copy_to(net)
    # 0.75 (0.75 * 1 + 0.25 * 2) + 0.25 * 6
    assert net.weight.tolist() == [[pytest.approx(2.4375)] * 2]


def test_another_seed_gives_other_weights() -> None:
    first, _ = fit(Run(seed=3), optimizer())
    second, _ = fit(Run(seed=4), optimizer())
    assert not torch.equal(first["0.weight"], second["0.weight"])


def test_an_unreadable_checkpoint_starts_the_stage_over(tmp_path, caplog) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"not a checkpoint")
    weights, _ = fit(Run(seed=3, checkpoint=Checkpoint(path)), optimizer())
    expected, _ = fit(Run(seed=3), optimizer())
    assert torch.equal(weights["0.weight"], expected["0.weight"])
    assert "starts over" in caplog.text


def test_a_diverging_loss_is_one_clear_error() -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch \d+.*lower optimizer.learning_rate"):
        fit(Run(seed=0), optimizer(learning_rate=1e30))


def test_the_schedule_counts_in_steps_warms_up_and_ends_near_zero() -> None:
    config = optimizer(schedule="cosine", warmup_epochs=1, epochs=5)
    rates = [learning_rate_at(step, steps_per_epoch=10, config=config) for step in range(50)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[9] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(0.1)
    assert rates[30] == pytest.approx(0.05)
    assert rates[49] == pytest.approx(0.1 * (1 + math.cos(math.pi * 39 / 40)) / 2)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_shortened_training_warms_up_for_half_of_it() -> None:
    config = optimizer(schedule="cosine", warmup_epochs=30, epochs=2)
    rates = [learning_rate_at(step, steps_per_epoch=10, config=config) for step in range(20)]
    assert rates[9] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01


def test_the_cosine_schedule_agrees_with_torchs() -> None:
    config = optimizer(schedule="cosine", epochs=3)
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=30)
    for step in range(30):
        rate = learning_rate_at(step, steps_per_epoch=10, config=config)
        assert rate == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        sgd.step()
        scheduler.step()


def test_the_step_schedule_divides_by_ten_at_each_milestone() -> None:
    config = optimizer(schedule="step", milestones=(2, 3), epochs=4)
    rates = [learning_rate_at(step, steps_per_epoch=5, config=config) for step in (0, 9, 10, 14, 15, 19)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_every_example_is_seen_once_an_epoch_in_another_order_each_time() -> None:
    seen: list[int] = []
    net = nn.Linear(1, 1)

    def loss(batch: torch.Tensor, labels: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        seen.extend(labels.tolist())
        return net(batch).mean()

    examples = Examples(torch.zeros(24, 1), torch.arange(24))
    train(net, loss, examples, optimizer(epochs=2), Run(seed=0))
    first, second = seen[:24], seen[24:]
    assert sorted(first) == sorted(second) == list(range(24))
    assert first != second
    assert first != list(range(24))


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    net = nn.Linear(6, 3)
    history = train(
        net,
        lambda batch, labels, _: nn.functional.cross_entropy(net(batch), labels),
        regression(5),
        optimizer(batch_size=512, epochs=3),
        Run(seed=0),
    )
    assert [row["epoch"] for row in history] == [1, 2, 3]


def test_optimisers_have_their_configured_form() -> None:
    net = nn.Linear(2, 2)
    adamw = build_optimizer(net, optimizer(name="adamw", second_beta=0.95, weight_decay=0.05))
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.param_groups[0]["betas"] == (0.9, 0.95)
    net.bias.requires_grad_(False)
    assert len(build_optimizer(net, optimizer()).param_groups[0]["params"]) == 1
