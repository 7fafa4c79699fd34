"""What besides configuration decides an artifact's bytes: the science's source code and library versions.

Imports no torch: versions are read from installed metadata.
"""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parent

NOT_SCIENCE = {
    "__init__.py",
    "claims.py",
    "cli.py",
    "cost.py",
    "errors.py",
    "grid.py",
    "kfp_runtime.py",
    "local_run.py",
    "plan.py",
    "presets.py",
    "progress.py",
    "reporting",
    "run_folder.py",
    "workers.py",
}
"""How cells are chosen, started and told of. An edit there must not make hours of training run again."""

LIBRARIES = ("numpy", "pyautoattack", "scikit-learn", "torch", "torchvision")
"""Libraries whose version changes the bytes that a stage writes."""


@cache
def code_digest() -> str:
    """Return the sha256 of the science's source files, by relative path and content."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        # components/ and pipelines/ stand inside the package when it is installed from a wheel.
        if relative.parts[0] in NOT_SCIENCE | {"components", "pipelines"}:
            continue
        digest.update(f"{relative.as_posix()}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Return the installed version of each library that takes part in a stage's arithmetic."""
    return {name: metadata.version(name) for name in LIBRARIES}
