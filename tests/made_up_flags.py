"""Verdicts on single images that are made up: of classifiers that agree on which images are hard."""

import math

import numpy as np
from scipy import stats


def correlated(probabilities: list[float], hardness: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return verdicts (K, n) of classifiers that agree, more than chance would, on which images are hard."""
    noise = generator.normal(size=(len(probabilities), len(hardness)))
    latent = math.sqrt(0.7) * hardness + math.sqrt(0.3) * noise
    return latent < stats.norm.ppf(np.array(probabilities))[:, None]
