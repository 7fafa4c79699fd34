"""The experiment's configuration as frozen models; imports neither torch nor kfp.

Units: pixels and epsilon in [0, 1]; durations end in _epochs or _steps. Numbers are set in
presets/, each with its source; here stand only types, bounds and the meaning of a field.
"""

from realfeatures.experiment.config.attacks import (
    AttackConfig,
    LossCurvesConfig,
    PGDConfig,
    ThreatModel,
    TransferConfig,
)
from realfeatures.experiment.config.data import (
    CropFlipConfig,
    DataConfig,
    GaussianNoiseConfig,
    SimCLRAugmentationConfig,
)
from realfeatures.experiment.config.outside import OutsideConfig
from realfeatures.experiment.config.paradigms import (
    AdversarialConfig,
    ContrastiveConfig,
    DiffusionConfig,
    MaskedConfig,
    ParadigmConfig,
    PixelsConfig,
    PretrainConfig,
    ResNetConfig,
    ResNetParadigmConfig,
    SupervisedConfig,
    UntrainedConfig,
)
from realfeatures.experiment.config.preset import Preset
from realfeatures.experiment.config.readout import KNNConfig, ProbeConfig, TimestepConfig
from realfeatures.experiment.config.synthesis import MatchingConfig, RelabellingConfig, TargetedConfig
from realfeatures.experiment.config.training import OptimizerConfig, RuntimeConfig

__all__ = [
    "AdversarialConfig",
    "AttackConfig",
    "ContrastiveConfig",
    "CropFlipConfig",
    "DataConfig",
    "DiffusionConfig",
    "GaussianNoiseConfig",
    "KNNConfig",
    "LossCurvesConfig",
    "MaskedConfig",
    "MatchingConfig",
    "OptimizerConfig",
    "OutsideConfig",
    "PGDConfig",
    "ParadigmConfig",
    "PixelsConfig",
    "Preset",
    "PretrainConfig",
    "ProbeConfig",
    "RelabellingConfig",
    "ResNetConfig",
    "ResNetParadigmConfig",
    "RuntimeConfig",
    "SimCLRAugmentationConfig",
    "SupervisedConfig",
    "TargetedConfig",
    "ThreatModel",
    "TimestepConfig",
    "TransferConfig",
    "UntrainedConfig",
]
