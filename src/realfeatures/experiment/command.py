"""The command line that computes an experiment again."""

import json
import shlex
from collections.abc import Sequence

from realfeatures.experiment.config import Preset
from realfeatures.experiment.overrides import differences
from realfeatures.experiment.presets import PRESETS


def command_of(preset: Preset, *, seeds: Sequence[int], out: str) -> str:
    """Return the command line that runs these seeds again, with every value that differs from the preset of its name.

    Args:
        preset: the experiment; one that no preset has the name of is told by its name alone.
        seeds: of the repetitions.
        out: the folder to name.
    """
    words = ["realfeatures", "run", "--preset", preset.name]
    for seed in seeds:
        words += ["--seed", str(seed)]
    base = PRESETS[preset.name]() if preset.name in PRESETS else preset
    for path, value in differences(preset, base).items():
        # `assignment` reads a data set's name as it stands, all else as YAML.
        words += ["--set", f"{path}={value if path == 'data.source' else json.dumps(value)}"]
    return shlex.join([*words, "--out", out])
