"""What besides configuration decides an artifact's bytes: the science's source code and library versions.

Imports no torch: versions are read from installed metadata.
"""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

from realfeatures.errors import ConfigError

PACKAGE = Path(__file__).parent

SCIENCE = (
    "artifacts.py",
    "attacks",
    "checkpoint.py",
    "curves.py",
    "data",
    "evaluation.py",
    "execution.py",
    "models",
    "outside_weights.py",
    "paradigms",
    "probe.py",
    "run.py",
    "stages.py",
    "synthesis.py",
    "training.py",
    "transfer_matrix.py",
)
"""The modules that a stage's bytes depend on. Presets, grid and report are left out: an edit there must not make
hours of training run again. config.py is, too, since the values themselves are part of every address."""

LIBRARIES = ("numpy", "pillow", "safetensors", "scikit-learn", "torch", "torchvision")
"""Libraries whose version may change the bytes that a stage writes; pillow decodes JPEG."""

AUTOATTACK = ("pyautoattack", "autoattack")
"""Two packages of the same authors' code; either will do."""


@cache
def code_digest() -> str:
    """Return the sha256 of the science's source files, by relative path and content."""
    digest = hashlib.sha256()
    for path in science_files():
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def science_files() -> list[Path]:
    """Return the source files that the code digest covers, sorted."""
    return sorted(
        path for name in SCIENCE for path in [PACKAGE / name, *(PACKAGE / name).rglob("*.py")] if path.is_file()
    )


@cache
def library_versions() -> dict[str, str]:
    """Return the installed version of each library that takes part in a stage's arithmetic.

    Raises:
        ConfigError: AutoAttack is not installed.
    """
    installed = {distribution.name for distribution in metadata.distributions()}
    autoattack = next((name for name in AUTOATTACK if name in installed), None)
    if autoattack is None:
        raise ConfigError(f"neither {' nor '.join(AUTOATTACK)} is installed; pip install {AUTOATTACK[0]}")
    return {name: metadata.version(name) for name in (*LIBRARIES, autoattack)}
