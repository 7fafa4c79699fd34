"""A whole experiment as data."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from realfeatures.experiment.config.attacks import AttackConfig, LossCurvesConfig, TransferConfig
from realfeatures.experiment.config.bounds import NonNegativeInt, PositiveInt
from realfeatures.experiment.config.data import DataConfig, GaussianNoiseConfig
from realfeatures.experiment.config.outside import OutsideConfig
from realfeatures.experiment.config.paradigms import AdversarialConfig, ParadigmSections
from realfeatures.experiment.config.readout import KNNConfig, ProbeConfig
from realfeatures.experiment.config.synthesis import MatchingConfig, TargetedConfig
from realfeatures.experiment.config.training import RuntimeConfig
from realfeatures.experiment.vocabulary import MAIN_FEATURES, Experiment, Features, Paradigm


class Preset(ParadigmSections):
    """A whole experiment as data: one section for each kind of cell, and which cells there are."""

    name: str
    runtime: RuntimeConfig
    data: DataConfig
    experiments: tuple[Experiment, ...] = Field(tuple(Experiment), min_length=1)
    paradigms: tuple[Paradigm, ...] = Field(tuple(Paradigm), min_length=1)
    features: tuple[Features, ...] = Field(MAIN_FEATURES, min_length=1)
    """The sets that every paradigm is trained on; experiments add others."""
    standard: OutsideConfig | None = None
    """A trained classifier in place of the supervised encoder as the source of non-robust features."""
    adversarial: Annotated[AdversarialConfig | OutsideConfig, Field(discriminator="paradigm")]
    robust: MatchingConfig
    non_robust: MatchingConfig
    d_rand: TargetedConfig
    d_det: TargetedConfig
    probe: ProbeConfig
    probe_views: PositiveInt
    """How many augmented copies of each image E4's probes are fitted to."""
    probe_noise: GaussianNoiseConfig
    """E4's noise; its crops and flips are the supervised paradigm's, its SimCLR views the contrastive one's."""
    knn: KNNConfig
    timesteps: tuple[NonNegativeInt, ...]
    """Timesteps at which the natural diffusion encoder is read besides its own."""
    attack: AttackConfig
    transfer: TransferConfig
    loss_curves: LossCurvesConfig

    @field_validator("experiments", "paradigms", "features", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """Accept `supervised,masked`, which is what a person writes on a command line."""
        if isinstance(value, str):
            return tuple(value.replace(",", " ").split())
        return value

    @model_validator(mode="after")
    def _selections_are_sets(self) -> "Preset":
        for name in ("experiments", "paradigms", "features", "timesteps"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: {', '.join(map(str, values))} names one twice")
        if Features.NATURAL not in self.features:
            raise ValueError("features must contain natural: every other set is made from it")
        others = [features for features in self.features if features not in MAIN_FEATURES]
        if others:
            raise ValueError(
                f"features: {', '.join(others)} comes with an experiment (E3 or E6); expected some of"
                f" {', '.join(MAIN_FEATURES)}"
            )
        return self

    @model_validator(mode="after")
    def _timesteps_exist(self) -> "Preset":
        beyond = [step for step in self.timesteps if step >= self.diffusion.timesteps]
        if beyond:
            raise ValueError(f"timesteps: {beyond[0]} must be below diffusion.timesteps ({self.diffusion.timesteps})")
        return self
