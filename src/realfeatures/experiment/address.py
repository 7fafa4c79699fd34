"""What besides configuration decides an artifact's bytes: the science's source code and library versions.

Imports no torch: versions are read from installed metadata.
"""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

SCIENCE = Path(__file__).parents[1] / "science"
"""Whatever a stage's bytes depend on. Presets, grid and report stand elsewhere: an edit there must not make hours of
training run again; the values that they hold are part of every address."""

SHOWN_DIGITS = 12
"""As much of an address as people are shown; enough to name a cell with."""

LIBRARIES = ("numpy", "pillow", "pyautoattack", "safetensors", "scikit-learn", "torch", "torchvision")
"""Libraries whose version may change the bytes that a stage writes; pillow decodes JPEG."""


@cache
def code_digest() -> str:
    """Return the sha256 of the science's source files, by relative path and content."""
    digest = hashlib.sha256()
    for path in sorted(SCIENCE.rglob("*.py")):
        digest.update(f"{path.relative_to(SCIENCE).as_posix()}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Return the installed version of each library that takes part in a stage's arithmetic."""
    return {name: metadata.version(name) for name in LIBRARIES}
