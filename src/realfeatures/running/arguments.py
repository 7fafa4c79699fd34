"""What a person gives to the front door, refused in one line where it is not usable; imports no torch."""

import os
from pathlib import Path
from typing import Any

from realfeatures.errors import ConfigError, one_line
from realfeatures.experiment.config import Preset
from realfeatures.running.plan import whole_number
from realfeatures.store.client import ObjectStore


def check_preset(preset: Any) -> None:
    """Refuse what is no preset.

    Raises:
        ConfigError: such as a preset's name.
    """
    if not isinstance(preset, Preset):
        raise ConfigError(f"preset {_shown(preset)}: expected what load_preset returns; use load_preset('digits')")


def check_jobs(jobs: Any) -> int:
    """Return a number of jobs as Python's own.

    Raises:
        ConfigError: no whole number of at least 1.
    """
    number = whole_number(jobs)
    if number is None or number < 1:
        raise ConfigError(f"--jobs {_shown(jobs)}: expected a whole number of at least 1")
    return number


def check_folder(folder: Any, *, argument: str) -> Path:
    """Return the absolute path of a folder, be it there or not.

    Args:
        folder: its path, as a str or a Path.
        argument: what the caller calls it, for the error.

    Raises:
        ConfigError: no path.
    """
    if not isinstance(folder, str | os.PathLike):
        raise ConfigError(f"{argument} {_shown(folder)}: expected a folder, such as 'runs/demo'")
    return Path(folder).absolute()


def opened_store(store: Any) -> ObjectStore | None:
    """Return an object store, opened where only its location is given; None stays None.

    Raises:
        ConfigError: neither, or what the store needs from the environment is missing.
    """
    if store is None or isinstance(store, ObjectStore):
        return store
    if not isinstance(store, str):
        raise ConfigError(f"store {_shown(store)}: expected an object store, such as 's3://BUCKET/PREFIX'")
    return ObjectStore.from_location(store)


def _shown(value: Any) -> str:
    return one_line(repr(value))
