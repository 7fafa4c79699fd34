"""results.json of runs whose rows are made up, so that the truth behind them is known."""

import hashlib
from typing import Any

from realfeatures.results.earlier import NamedRun, parse_results
from realfeatures.results.reading import SCHEMA_VERSION
from realfeatures.results.statistics.intervals import wilson_interval

IMAGES = 500
ODD = "<b>|*x*_y`"
"""A name that breaks HTML and Markdown where it is not escaped."""

Correct = dict[tuple[str | float, int], int]
"""Correct answers by paradigm, or of masked by PGD's epsilon, and by seed."""


def row(what: str | float, seed: int, correct: int, *, cell: str, n: int = IMAGES) -> dict[str, Any]:
    accuracy = wilson_interval(correct, n)
    attacked = isinstance(what, float)
    return {
        "experiments": ["E2" if attacked else "E1"],
        "paradigm": "masked" if attacked else what,
        "features": "none" if what == "pixels" else "natural",
        "probe_features": "natural",
        "readout": "own_head" if what == "supervised" else "linear_probe",
        "timestep": None,
        "attack": "pgd" if attacked else "none",
        "norm": "L2" if attacked else "none",
        "epsilon": what if attacked else 0.0,
        "protocol": "natural",
        "metric": "robust_accuracy" if attacked else "clean_accuracy",
        "value": accuracy.value,
        "n": n,
        "low": accuracy.low,
        "high": accuracy.high,
        "seed": seed,
        "seconds": 1.0,
        "cell": cell,
    }


def results(correct: Correct, *, code: str = "a", device: str = "cpu") -> dict[str, Any]:
    """A results.json whose addresses depend on code and seed, as real ones do."""
    addresses = {key: hashlib.sha256(f"{code} {key}".encode()).hexdigest()[:32] for key in correct}
    return {
        "schema_version": SCHEMA_VERSION,
        "preset": {"name": "digits", "config": {"name": "digits", "probe": {"epochs": 50, "batch_size": 128}}},
        "data": {"title": "digits", "classes": ["0", "1"], "train_images": 1000, "test_images": IMAGES},
        "seeds": sorted({seed for _, seed in correct}),
        "device": {"name": device, "precision": "float32", "threads": 1, "processor": "EPYC"},
        "versions": {"torch": "2.13.0", "numpy": "2.4.6"},
        "code": code * 64,
        "rows": [row(*key, value, cell=addresses[key]) for key, value in correct.items()],
        "cells": [],
        "claims": [{"id": "C1", "text": "A claim.", "verdict": "supported"}],
    }


def run(correct: Correct, name: str = "now", **changes: str) -> NamedRun:
    return parse_results(results(correct, **changes), name=name)


def over(seeds: range, **accuracies: int) -> Correct:
    """About equal numbers of correct answers for each seed, one or two apart."""
    return {(name, seed): value + seed % 3 for name, value in accuracies.items() for seed in seeds}
