"""The options that several commands share, and the console that tables go to."""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realfeatures.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from realfeatures.experiment.config import Preset
    from realfeatures.store import ObjectStore

PIPE_COLUMNS = 160
"""Width of tables that go into a file or a pipe, where there is no window to ask."""


def table_console() -> "Console":
    """Return the console of the standard output."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PIPE_COLUMNS)


def _seed(text: str) -> int:
    return whole_number(text, option="--seed", least=0)


def _jobs(text: str) -> int:
    return whole_number(text, option="--jobs", least=1)


def whole_number(text: str, *, option: str, least: int) -> int:
    """Return an option's value as a number.

    Raises:
        ConfigError: it is none, or below the least.
    """
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r}: expected a whole number of at least {least}") from None
    if value < least:
        raise ConfigError(f"{option} {value}: expected a whole number of at least {least}")
    return value


PresetOption = Annotated[str, typer.Option("--preset", "-p", help="digits, cifar10-small, cifar10-gpu or paper.")]
SeedOption = Annotated[
    list[int] | None,
    typer.Option(
        "--seed",
        "-s",
        parser=_seed,
        metavar="N",
        help="One repetition of the experiment; repeatable.",
        show_default="0",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as probe.epochs=5; repeatable."),
]
ExperimentsOption = Annotated[
    str | None,
    typer.Option(
        "--experiments",
        "-e",
        metavar="E1,E3",
        help="Compute these alone: E1 to E6, decomposition, controls.",
        show_default="the preset's, which is all",
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run.", show_default="runs/PRESET")]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        parser=_jobs,
        metavar="N",
        help="Cells computed side by side.",
        show_default="CPU cores; 1 on a GPU",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", envvar="REALFEATURES_STORE", metavar="S3://BUCKET/PREFIX", help="Object store.", show_envvar=True
    ),
]


def grouped(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take dataclasses of options: typer sees each field as an option of its own.

    Args:
        left_out: fields that the command does not offer; they keep their defaults.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = inspect.signature(command).parameters
        groups: dict[str, Any] = {}
        groups.update((name, one.annotation) for name, one in parameters.items() if is_dataclass(one.annotation))
        options = {
            name: [option for option in inspect.signature(group).parameters.values() if option.name not in left_out]
            for name, group in groups.items()
        }

        @wraps(command)
        def call(**given: Any) -> None:
            filled = {
                name: group(**{option.name: given.pop(option.name) for option in options[name]})
                for name, group in groups.items()
            }
            command(**given, **filled)

        flat = [option for name, one in parameters.items() for option in options.get(name, [one])]
        call.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
        return call

    return decorate


def chosen_preset(name: str, assignments: list[str] | None, experiments: str | None) -> "Preset":
    """Return a preset with what --set and --experiments change.

    Raises:
        ConfigError: one of them is not usable.
    """
    from realfeatures.experiment.presets import load_preset

    return load_preset(name, all_assignments(assignments, experiments))


def all_assignments(assignments: list[str] | None, experiments: str | None) -> list[str]:
    """Return the assignments of --set with --experiments as one of them.

    Raises:
        ConfigError: it names something else than experiments, or nothing.
    """
    if experiments is None:
        return assignments or []
    from realfeatures.experiment.vocabulary import Experiment

    names = experiments.replace(",", " ").split()
    unknown = [name for name in names if name not in list(Experiment)]
    if unknown or not names:
        raise ConfigError(
            f"--experiments {experiments!r}: expected some of {', '.join(Experiment)}, separated by commas"
        )
    return [*(assignments or []), f"experiments={','.join(names)}"]


def open_store(location: str | None) -> "ObjectStore":
    """Return the object store that the option or its variable names.

    Raises:
        ConfigError: none is named, or it is not of its form.
    """
    from realfeatures.store import ObjectStore

    if not location:
        raise ConfigError("no object store is named; use --store s3://BUCKET/PREFIX or set REALFEATURES_STORE")
    return ObjectStore.from_location(location)
