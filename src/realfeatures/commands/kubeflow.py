"""The commands that compile the Kubeflow pipeline and run it on a cluster."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realfeatures.commands.options import PresetOption, SetOption, whole_number
from realfeatures.errors import ConfigError

if TYPE_CHECKING:
    from realfeatures.cluster.kubeflow_api import Kubeflow
    from realfeatures.cluster.submit import Version
    from realfeatures.grid import Cell

RUN_FAILED = 1
"""Exit code where a run on Kubeflow ended without success."""
INTERRUPTED = 130
"""As the command line's."""


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
    cache: bool = True,
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
        ClusterError: it does not answer, or is something else.
    """
    from realfeatures.cluster.kubeflow_api import Connection, Kubeflow

    kubeflow = Kubeflow(Connection(host, namespace, token_file, ca_cert))
    kubeflow.version()
    return kubeflow


def submit(
    image: Annotated[
        str | None, typer.Option("--image", help="Container image that every task runs in.", show_default="required")
    ] = None,
    preset: PresetOption = "digits",
    seed: FirstSeedOption = 0,
    repetitions: RepetitionsOption = 1,
    assignments: SetOption = None,
    profile: ProfileOption = None,
    profile_assignments: ProfileSetOption = None,
    overrides: OverridesOption = "{}",
    run_name: Annotated[
        str | None, typer.Option("--run-name", help="Also names the report.", show_default="PRESET-seedN")
    ] = None,
    experiment: ExperimentOption = "realfeatures",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every task, whatever Kubeflow remembers.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Watch the run to its end and fetch the report.")] = False,
    watch: Annotated[str | None, typer.Option("--watch", metavar="RUN_ID", help="Watch a run; start none.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the report.", show_default="runs/RUN_NAME")
    ] = None,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_file: TokenOption = None,
    ca_cert: CaOption = None,
) -> None:
    """Run an experiment on Kubeflow: upload its pipeline as a version, start a run, and with --wait watch it.

    Equal pipelines are one version: submitting twice uploads once. Ctrl-C while waiting leaves the run going.
    The report comes from the object store that REALFEATURES_STORE names. Exit code 1: the run failed.

    [bold]Examples[/bold]

      kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80 &

      realfeatures submit --host http://localhost:8080 --image registry.example/realfeatures@sha256:... --wait

      realfeatures submit --preset digits --image IMAGE --seed 3 --overrides '{"probe.epochs": 5}' --run-name long-probe

      realfeatures submit --watch 5a3c...
    """
    from realfeatures.plan import check_run_name

    name = run_name or f"{preset}-seed{seed}"
    check_run_name(name)
    if watch is None:
        _check_image(image)
        _check_overrides(preset, assignments or (), overrides)
    kubeflow = open_kubeflow(host, namespace, token_file, ca_cert)
    if watch is None:
        watch = _start(
            kubeflow,
            experiment=experiment,
            run_name=name,
            overrides=overrides,
            preset=preset,
            seed=seed,
            repetitions=repetitions,
            assignments=assignments or (),
            image=str(image),
            profile=profile,
            profile_assignments=profile_assignments or (),
            cache=not no_cache,
        )
        typer.echo(f"run {watch}: {kubeflow.host}/#/runs/details/{watch}")
        if not wait:
            typer.echo(f"watch it with: realfeatures submit --watch {watch} --host {kubeflow.host}")
            return
    _follow(kubeflow, watch, out)


def _check_image(image: str | None) -> None:
    if not (image or "").strip():
        raise ConfigError("--image: expected an image, such as registry.example/realfeatures@sha256:...")
    if "@sha256:" not in str(image):
        # Kubeflow's cache takes two images of one tag for the same.
        typer.echo(
            f"warning: {image} is not pinned by its digest (NAME@sha256:...): use --no-cache if the tag moves", err=True
        )


def _check_overrides(preset: str, assignments: Sequence[str], overrides: str) -> None:
    from realfeatures.overrides import override, parse_overrides
    from realfeatures.presets import load_preset

    override(load_preset(preset, assignments), parse_overrides(overrides))


def _start(kubeflow: "Kubeflow", *, experiment: str, run_name: str, overrides: str, seed: int, **pipeline: Any) -> str:
    from realfeatures.cluster.submit import start

    version = upload_version(kubeflow, seed=seed, **pipeline)
    return start(kubeflow, version, experiment=experiment, run_name=run_name, seed=seed, overrides=overrides)


def upload_version(kubeflow: "Kubeflow", **pipeline: Any) -> "Version":
    """Compile what `compile_to` is asked for and upload it; the run form's default seed is always 0.

    Raises:
        ConfigError, DataError: an option or the data set is not usable.
        ClusterError: the server refuses or does not answer.
    """
    from realfeatures.cluster.submit import upload

    with TemporaryDirectory() as folder:
        path = Path(folder) / "paper.yaml"
        # The seed is given with the run: another one is no other version.
        compile_to(path, **{**pipeline, "seed": 0})
        version = upload(kubeflow, path)
    typer.echo(f"pipeline {version.pipeline}, version {version.version}", err=True)
    return version


def _follow(kubeflow: "Kubeflow", run_id: str, out: Path | None) -> None:
    """Show a run until it is finished, then fetch its report."""
    from realfeatures.cluster.submit import RunFailed, require_success
    from realfeatures.cluster.watching import follow

    try:
        state = follow(kubeflow, run_id)
    except KeyboardInterrupt:
        typer.echo(
            f"the run goes on; look again with: realfeatures submit --watch {run_id} --host {kubeflow.host}", err=True
        )
        raise typer.Exit(INTERRUPTED) from None
    try:
        require_success(state)
    except RunFailed as failed:
        typer.echo(f"error: {failed}", err=True)
        raise typer.Exit(RUN_FAILED) from None
    _fetch(state.name, out)


def _fetch(run_name: str, out: Path | None) -> None:
    from realfeatures.store import ObjectStore
    from realfeatures.store.reports import fetch

    store = ObjectStore.from_environment()
    if store is None:
        typer.echo("done; its report is in the UI, at the task `report` (set REALFEATURES_STORE to fetch it)")
        return
    folder = out or Path("runs") / run_name
    fetch(run_name, folder, store)
    typer.echo(f"report: {folder / 'report.html'}")
