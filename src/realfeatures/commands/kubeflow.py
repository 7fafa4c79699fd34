"""The commands that compile the Kubeflow pipeline and run it on a cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realfeatures.commands.options import PresetOption, SetOption, whole_number
from realfeatures.errors import ConfigError

if TYPE_CHECKING:
    from realfeatures.grid import Cell


def _seed(text: str) -> int:
    return whole_number(text, option="--seed", least=0)


def _repetitions(text: str) -> int:
    return whole_number(text, option="--repetitions", least=1)


ImageOption = Annotated[str, typer.Option("--image", help="Container image that every task runs in.")]
FirstSeedOption = Annotated[
    int,
    typer.Option("--seed", "-s", parser=_seed, metavar="N", help="First repetition's; the run form can change it."),
]
RepetitionsOption = Annotated[
    int,
    typer.Option(
        "--repetitions", parser=_repetitions, metavar="N", help="Repetitions in one run, with consecutive seeds."
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", help="On what the tasks run: cpu or gpu.", show_default="by the preset's device"),
]
ProfileSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--profile-set", metavar="KEY=VALUE", help="Change the profile, such as memory=8Gi or store.location=s3://b."
    ),
]


def compile_(
    image: ImageOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .yaml.")],
    preset: PresetOption = "digits",
    seed: FirstSeedOption = 0,
    repetitions: RepetitionsOption = 1,
    assignments: SetOption = None,
    profile: ProfileOption = None,
    profile_assignments: ProfileSetOption = None,
) -> None:
    """Write the Kubeflow pipeline of the same cells; needs the extra `kubeflow` and no torch.

    Its run form asks for seed, overrides and run name. Which cells there are is fixed here.

    [bold]Examples[/bold]

      realfeatures compile --preset digits --image registry.example/realfeatures@sha256:... -o paper.yaml

      realfeatures compile --preset paper --image IMAGE --profile-set store.location=s3://bucket -o paper.yaml
    """
    if output.suffix not in (".yaml", ".yml") or not output.absolute().parent.is_dir():
        raise ConfigError(f"--output {str(output)!r}: expected a .yaml file in a folder that exists")
    cells = compile_to(
        output,
        preset=preset,
        seed=seed,
        repetitions=repetitions,
        assignments=assignments or (),
        image=image,
        profile=profile,
        profile_assignments=profile_assignments or (),
    )
    typer.echo(f"{output}: {len(cells)} cells")


def compile_to(
    path: Path,
    *,
    preset: str,
    seed: int,
    repetitions: int,
    assignments: Sequence[str],
    image: str,
    profile: str | None,
    profile_assignments: Sequence[str],
) -> "list[Cell]":
    """Write the pipeline that the options ask for; return its cells.

    Raises:
        ConfigError, DataError: an option or the data set is not usable.
        StorageError: the file cannot be written.
    """
    if not image.strip():
        raise ConfigError("--image '': expected an image, such as registry.example/realfeatures@sha256:...")
    from realfeatures.pipelines.paper import compile_pipeline
    from realfeatures.pipelines.profiles import load_profile
    from realfeatures.plan import make_plan
    from realfeatures.presets import load_preset

    checked = make_plan(load_preset(preset, assignments), seeds=range(seed, seed + repetitions)).preset
    chosen = load_profile(profile or ("gpu" if checked.runtime.device == "cuda" else "cpu"), profile_assignments)
    cells: list[Cell] = compile_pipeline(
        checked, seed=seed, repetitions=repetitions, image=image, profile=chosen, path=path
    )
    return cells
