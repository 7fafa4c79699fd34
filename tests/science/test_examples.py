"""The example in the docstring of everything that is usable alone, on a model of one's own, says what happens."""

import doctest
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

from realfeatures.science.attacks.autoattack import autoattack
from realfeatures.science.attacks.pgd import maximise, pgd
from realfeatures.science.paradigms.contrastive import nt_xent_loss
from realfeatures.science.paradigms.diffusion import noise_prediction_loss
from realfeatures.science.paradigms.masked import masked_reconstruction_loss
from realfeatures.science.probe import fit
from realfeatures.science.synthesis import match_representations, perturb_towards_targets

USABLE_ALONE = (
    pgd,
    maximise,
    autoattack,
    nt_xent_loss,
    masked_reconstruction_loss,
    noise_prediction_loss,
    fit,
    match_representations,
    perturb_towards_targets,
)


@pytest.mark.parametrize("function", USABLE_ALONE, ids=lambda function: function.__name__)
def test_the_example_of_a_function_runs_and_needs_nothing_but_its_own_imports(function: Callable[..., Any]) -> None:
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(function) or "", {}, function.__name__, None, None)
    assert test.examples
    with torch.random.fork_rng():
        torch.manual_seed(0)
        results = doctest.DocTestRunner().run(test)
    assert results.failed == 0
