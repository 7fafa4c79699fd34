"""The presets by name, with what a person changed of them."""

from collections.abc import Callable, Sequence

from realfeatures.errors import ConfigError, one_line
from realfeatures.experiment.config import Preset
from realfeatures.experiment.overrides import assignment, override
from realfeatures.experiment.presets.cifar10_gpu import cifar10_gpu
from realfeatures.experiment.presets.cifar10_small import cifar10_small
from realfeatures.experiment.presets.digits import digits
from realfeatures.experiment.presets.paper import paper

PRESETS: dict[str, Callable[[], Preset]] = {
    "digits": digits,
    "cifar10-small": cifar10_small,
    "cifar10-gpu": cifar10_gpu,
    "paper": paper,
}


def load_preset(name: str, assignments: Sequence[str] = ()) -> Preset:
    """Return a preset with `key.path=value` assignments applied, all of it validated.

    Raises:
        ConfigError: unknown preset or key, a value of the wrong type or out of range, or no list of assignments.

    Example:
        >>> load_preset("digits", ["probe.epochs=5"]).probe.epochs
        5
    """
    if name not in tuple(PRESETS):
        raise ConfigError(f"preset {name!r} is unknown; expected one of: {', '.join(PRESETS)}")
    if not isinstance(assignments, list | tuple) or not all(isinstance(text, str) for text in assignments):
        raise ConfigError(
            f"assignments {one_line(repr(assignments))}: expected a list of KEY=VALUE, such as ['probe.epochs=5']"
        )
    return override(PRESETS[name](), dict(assignment(text) for text in assignments))
