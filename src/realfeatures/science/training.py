"""The one training loop: every paradigm and the linear probe bring a module and a loss to it.

The data set stands on the device as one tensor; a batch is an index into it. Nothing waits for the
device inside an epoch. The state that a checkpoint holds is all that the loop depends on, so a
resumed training ends with the bytes of an uninterrupted one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from realfeatures.errors import TrainingError
from realfeatures.experiment.config import OptimizerConfig
from realfeatures.science.context import Run

Loss = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""(batch of inputs, batch of labels, generator for its random choices) -> scalar loss."""

History = list[dict[str, float]]
"""One row an epoch: epoch, loss, learning_rate."""


@dataclass(frozen=True)
class Examples:
    """What is trained on: inputs (N, ...) of any type and labels (N,) int64, both on the run's device."""

    inputs: Tensor
    labels: Tensor


class MovingAverage:
    """The exponential moving average of a module's parameters, updated without waiting for the device.

    Args:
        module: whose parameters are averaged; it has no buffers that change.
        decay: share that the average keeps at each update.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = [parameter.detach().clone() for parameter in module.parameters()]

    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's parameters."""
        with torch.no_grad():
            torch._foreach_lerp_(self.values, list(module.parameters()), 1 - self.decay)

    def copy_to(self, module: nn.Module) -> None:
        """Give a module the averaged parameters."""
        with torch.no_grad():
            torch._foreach_copy_(list(module.parameters()), self.values)


def train(
    module: nn.Module,
    loss: Loss,
    examples: Examples,
    config: OptimizerConfig,
    run: Run,
    *,
    average: MovingAverage | None = None,
) -> History:
    """Minimise a loss over a module's parameters, resuming from the run's checkpoint where there is one.

    Args:
        module: in train mode; every parameter and buffer in it is part of the checkpoint.
        loss: draws its randomness from the generator it is given; runs the network under the run's autocast and
            itself in float32 (see `Run.mixed`).
        examples: on the run's device. The last incomplete batch of an epoch is dropped.
        config: optimiser, schedule, batch size and epochs.
        run: seed, device, checkpoint and progress.
        average: a moving average of the module, updated after every step.

    Returns:
        One row an epoch.

    Raises:
        TrainingError: the loss is not finite.
        Interrupted: a stop was asked for; the state is saved.
    """
    loop = _Loop(module, loss, examples, config, run, average)
    loop.restore(run.checkpoint.load())
    while loop.step < loop.total_steps:
        loop.advance()
        run.progress(loop.step, loop.total_steps)
        run.checkpoint.step(loop.state)
    return loop.history


def learning_rate_at(step: int, *, steps_per_epoch: int, config: OptimizerConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then the schedule, both in steps (never epochs)."""
    warmup_steps = round(min(config.warmup_epochs, config.epochs / 2) * steps_per_epoch)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    if config.schedule == "cosine":
        remaining = max(1, config.epochs * steps_per_epoch - warmup_steps)
        return config.learning_rate * (1 + math.cos(math.pi * (step - warmup_steps) / remaining)) / 2
    if config.schedule == "step":
        passed = sum(step >= milestone * steps_per_epoch for milestone in config.milestones)
        return config.learning_rate / float(10**passed)
    return config.learning_rate


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimiser that a configuration names, in its fused form."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
        )
    adam = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return adam(
        parameters,
        lr=config.learning_rate,
        betas=(config.first_beta, config.second_beta),
        weight_decay=config.weight_decay,
        fused=True,
    )


class _Loop:
    """The state of a training and how it moves by one step."""

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        examples: Examples,
        config: OptimizerConfig,
        run: Run,
        average: MovingAverage | None,
    ) -> None:
        self.module, self.loss, self.examples, self.config, self.run = module, loss, examples, config, run
        self.average = average
        self.optimizer = build_optimizer(module, config)
        self.generator = run.generator("training")
        self.batch_size = min(config.batch_size, len(examples.labels))
        self.steps_per_epoch = len(examples.labels) // self.batch_size
        self.total_steps = config.epochs * self.steps_per_epoch
        self.step = 0
        self.history: History = []
        # Summed on the device and read once an epoch: reading a loss waits for the device.
        self.epoch_loss = torch.zeros((), device=run.device)
        self.order = self._draw_order(0)

    def advance(self) -> None:
        """Take one step, and close the epoch after its last."""
        position = self.step % self.steps_per_epoch
        batch = self.order[position * self.batch_size : (position + 1) * self.batch_size]
        rate = learning_rate_at(self.step, steps_per_epoch=self.steps_per_epoch, config=self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.loss(self.examples.inputs[batch], self.examples.labels[batch], self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.module)
        self.epoch_loss += loss.detach().float()
        self.step += 1
        if self.step % self.steps_per_epoch == 0:
            self._close_epoch(rate)

    def _close_epoch(self, rate: float) -> None:
        epoch = self.step // self.steps_per_epoch
        mean = self.epoch_loss.item() / self.steps_per_epoch
        if not math.isfinite(mean):
            raise TrainingError(
                f"the loss is {mean} in epoch {epoch} at learning rate {rate:.3g}; lower optimizer.learning_rate"
            )
        self.history.append({"epoch": epoch, "loss": mean, "learning_rate": rate})
        self.epoch_loss.zero_()
        self.order = self._draw_order(epoch)

    def _draw_order(self, epoch: int) -> Tensor:
        # A generator an epoch: the order is then known from the epoch alone and needs no place in a checkpoint.
        generator = self.run.generator(f"order/{epoch}")
        return torch.randperm(len(self.examples.labels), generator=generator, device=self.run.device)

    def _device_module(self) -> Any:
        return torch.cuda if self.run.device.type == "cuda" else torch

    def state(self) -> dict[str, Any]:
        """Return all that the remaining steps depend on."""
        return {
            "step": self.step,
            "history": self.history,
            "epoch_loss": self.epoch_loss,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.values,
            "generator": self.generator.get_state(),
            # Dropout draws from torch's own generator of the device.
            "global_generator": self._device_module().get_rng_state(),
        }

    def _match_layouts(self) -> None:
        """Lay the optimiser's state out in memory as its weights are, which a checkpoint does not keep.

        A fused step walks through memory whatever the strides: channels-last weights with a momentum in another
        order would each be moved by another weight's momentum.
        """
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter).copy_(value)

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a saved state; start from the beginning where there is none."""
        if state is None:
            return
        self.step, self.history = state["step"], state["history"]
        self.epoch_loss.copy_(state["epoch_loss"])
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._match_layouts()
        if self.average is not None:
            torch._foreach_copy_(self.average.values, [value.to(self.run.device) for value in state["average"]])
        self.generator.set_state(state["generator"])
        self._device_module().set_rng_state(state["global_generator"])
        self.order = self._draw_order(self.step // self.steps_per_epoch)
