"""The commands that compile the Kubeflow pipeline and run it on a cluster."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realfeatures.cli.options import (
    ExperimentsOption,
    PresetOption,
    SetOption,
    all_assignments,
    whole_number,
)
from realfeatures.errors import ConfigError

if TYPE_CHECKING:
    from realfeatures.experiment.grid import Cell
    from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
    from realfeatures.kubeflow.server.submit import Version


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
    experiments: ExperimentsOption = None,
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
        assignments=all_assignments(assignments, experiments),
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
    cache: bool = True,
) -> "list[Cell]":
    """Write the pipeline that the options ask for; return its cells.

    Raises:
        ConfigError, DataError: an option or the data set is not usable.
        StorageError: the file cannot be written.
    """
    if not image.strip():
        raise ConfigError("--image '': expected an image, such as registry.example/realfeatures@sha256:...")
    from realfeatures.experiment.presets import load_preset
    from realfeatures.pipelines.paper import compile_pipeline
    from realfeatures.pipelines.profiles import load_profile
    from realfeatures.running.plan import make_plan

    checked = make_plan(load_preset(preset, assignments), seeds=range(seed, seed + repetitions)).preset
    chosen = load_profile(profile or ("gpu" if checked.runtime.device == "cuda" else "cpu"), profile_assignments)
    cells: list[Cell] = compile_pipeline(
        checked, seed=seed, repetitions=repetitions, image=image, profile=chosen, path=path, cache=cache
    )
    return cells


HostOption = Annotated[
    str | None,
    typer.Option("--host", help="URL of Kubeflow Pipelines.", show_default="$KF_PIPELINES_ENDPOINT, or in-cluster"),
]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Of a person, where Kubeflow serves several.")
]
TokenOption = Annotated[Path | None, typer.Option("--token-file", help="File with a bearer token.")]
CaOption = Annotated[Path | None, typer.Option("--ca-cert", help="File with the server's certificate authority.")]
ExperimentOption = Annotated[str, typer.Option("--experiment", help="That Kubeflow lists runs under.")]
OverridesOption = Annotated[
    str, typer.Option("--overrides", metavar="JSON", help="Of the run form, such as '{\"probe.epochs\": 5}'.")
]


def open_kubeflow(host: str | None, namespace: str | None, token_file: Path | None, ca_cert: Path | None) -> "Kubeflow":
    """Return Kubeflow Pipelines' API server, which answered.

    Raises:
        ConfigError: none is named.
        ClusterError: it does not answer, is something else, or too old.
    """
    from realfeatures.kubeflow.server.connection import Connection
    from realfeatures.kubeflow.server.kubeflow_api import Kubeflow

    kubeflow = Kubeflow(Connection(host, namespace, token_file, ca_cert))
    kubeflow.require_release()
    return kubeflow


def check_image(image: str) -> None:
    """Warn of an image that is not pinned by its digest.

    Raises:
        ConfigError: none is named.
    """
    if not image.strip():
        raise ConfigError("--image: expected an image, such as registry.example/realfeatures@sha256:...")
    if "@sha256:" not in image:
        # No error: an image that was loaded into the nodes, as into kind's, has no digest.
        typer.echo(
            f"warning: {image} is not pinned by its digest (NAME@sha256:...): if its tag moves, Kubeflow's cache"
            " takes the old image's results for the new one's",
            err=True,
        )


def check_overrides(preset: str, assignments: Sequence[str], overrides: str) -> None:
    """Refuse what the first task of a run would refuse.

    Raises:
        ConfigError: no JSON object, an unknown key, or a value that is not usable.
    """
    from realfeatures.experiment.overrides import override, parse_overrides
    from realfeatures.experiment.presets import load_preset

    override(load_preset(preset, assignments), parse_overrides(overrides))


@contextmanager
def compiled(**pipeline: Any) -> Iterator[Path]:
    """Yield the file of what `compile_to` is asked for; it is gone afterwards.

    Raises:
        ConfigError, DataError: an option or the data set is not usable.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "paper.yaml"
        # The seed is given with the run: another one is no other version of the pipeline.
        compile_to(path, seed=0, **pipeline)
        yield path


def upload_version(kubeflow: "Kubeflow", path: Path) -> "Version":
    """Upload a compiled pipeline, unless the server has it, and say which version it is.

    Raises:
        ClusterError: the server refuses or does not answer.
    """
    from realfeatures.kubeflow.server.submit import upload

    version = upload(kubeflow, path)
    typer.echo(f"pipeline {version.pipeline}, version {version.version}", err=True)
    return version
