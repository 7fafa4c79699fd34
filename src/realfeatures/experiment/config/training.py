"""On what a cell runs, and how weights are updated."""

from typing import Literal

from pydantic import model_validator

from realfeatures.experiment.config.bounds import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from realfeatures.experiment.vocabulary import Config


class RuntimeConfig(Config):
    """On what a cell runs; part of every cell's address, since bytes depend on it."""

    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: training and synthesis run under autocast; representations and attacks stay in float32."""
    threads: PositiveInt = 1
    """CPU threads of one cell; one, so that `--jobs` scales and bytes do not depend on it."""


class OptimizerConfig(Config):
    """How weights are updated: optimiser, schedule and length."""

    name: Literal["sgd", "adam", "adamw"]
    learning_rate: PositiveFloat
    batch_size: PositiveInt
    epochs: PositiveInt
    momentum: Fraction = 0.9
    """SGD's."""
    first_beta: Fraction = 0.9
    """Adam's, the decay of its mean gradient."""
    second_beta: Fraction = 0.999
    """Adam's, the decay of its mean squared gradient."""
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine", "step"] = "constant"
    """After warm-up: constant, cosine to zero, or divided by ten at `milestones`."""
    milestones: tuple[PositiveInt, ...] = ()
    """Epochs at which the step schedule divides the learning rate by ten."""
    warmup_epochs: NonNegativeFloat = 0.0
    """Linear warm-up from zero; at most half of the training, so that `epochs` alone can be shortened."""
    gradient_clip: PositiveFloat | None = None
    """Bound on the gradient's global L2 norm."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> "OptimizerConfig":
        if bool(self.milestones) is not (self.schedule == "step"):
            raise ValueError("milestones belong to the step schedule, and it needs them")
        return self
