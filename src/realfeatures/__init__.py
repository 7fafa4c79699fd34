"""Which features of an image are real: usefulness and robustness of features across learning paradigms.

    from realfeatures import load_preset, open_results, run_experiment

    results = run_experiment(load_preset("digits"), out="runs/demo")
    print(results.accuracy(paradigm="masked", features="robust").value)
    print(results.table("usefulness"), results.report)
    results = open_results("runs/demo")  # the same later, without computing anything

What `__all__` names is the library; each is imported when it is first asked for, so that `import realfeatures`, a
plan and a compiled pipeline need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realfeatures.errors import RealFeaturesError
    from realfeatures.experiment.measurement import Measurement
    from realfeatures.experiment.presets import load_preset
    from realfeatures.results.results import Results
    from realfeatures.running.local import run_experiment
    from realfeatures.running.opening import open_results
    from realfeatures.science.attacks.autoattack import autoattack
    from realfeatures.science.attacks.pgd import Ball, pgd
    from realfeatures.science.data.images import ImageSet
    from realfeatures.science.paradigms import load_encoder
    from realfeatures.science.paradigms.contrastive import nt_xent_loss
    from realfeatures.science.probe import fit as fit_probe
    from realfeatures.science.synthesis import match_representations, perturb_towards_targets

__version__ = "0.1.0"

__all__ = [
    "Ball",
    "ImageSet",
    "Measurement",
    "RealFeaturesError",
    "Results",
    "__version__",
    "autoattack",
    "fit_probe",
    "load_encoder",
    "load_preset",
    "match_representations",
    "nt_xent_loss",
    "open_results",
    "perturb_towards_targets",
    "pgd",
    "run_experiment",
]

_PLACES = {
    "Ball": "science.attacks.pgd.Ball",
    "ImageSet": "science.data.images.ImageSet",
    "Measurement": "experiment.measurement.Measurement",
    "RealFeaturesError": "errors.RealFeaturesError",
    "Results": "results.results.Results",
    "autoattack": "science.attacks.autoattack.autoattack",
    "fit_probe": "science.probe.fit",
    "load_encoder": "science.paradigms.load_encoder",
    "load_preset": "experiment.presets.load_preset",
    "match_representations": "science.synthesis.match_representations",
    "nt_xent_loss": "science.paradigms.contrastive.nt_xent_loss",
    "open_results": "running.opening.open_results",
    "perturb_towards_targets": "science.synthesis.perturb_towards_targets",
    "pgd": "science.attacks.pgd.pgd",
    "run_experiment": "running.local.run_experiment",
}
"""Where each name stands."""


def __getattr__(name: str) -> Any:
    """Return one of the library's names, imported now (PEP 562).

    Raises:
        AttributeError: there is no such name.
    """
    if name not in _PLACES:
        raise AttributeError(f"module 'realfeatures' has no attribute {name!r}; it has: {', '.join(__all__)}")
    module, _, attribute = _PLACES[name].rpartition(".")
    return getattr(import_module(f"realfeatures.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__
