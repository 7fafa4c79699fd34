"""The presets: `paper` holds the published hyperparameters, the others derive from it.

Every number cites its source or says `chosen:` and why. "Ref" is the paper's released code
(github.com/PKU-ML/AdvNotRealFeatures); "Ilyas" is arXiv 1905.02175; "prototype" are tiny settings tried
beforehand on the same data, chosen by accuracy on natural images alone.
"""

from realfeatures.experiment.presets.loading import PRESETS, load_preset

__all__ = ["PRESETS", "load_preset"]
