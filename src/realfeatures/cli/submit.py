"""The commands that compile the Kubeflow pipeline of an experiment and run it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realfeatures.cli.options import grouped
from realfeatures.cli.pipeline_options import (
    ExperimentOption,
    ImageOption,
    OverridesOption,
    PipelineOptions,
    ServerOptions,
    require_image,
    upload_pipeline,
)
from realfeatures.errors import ClusterError, ConfigError, MissingError, RunFailed

if TYPE_CHECKING:
    from realfeatures.kubeflow.server.kubeflow_api import Kubeflow


@grouped()
def compile_(
    *,
    image: ImageOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .yaml.")],
    pipeline: PipelineOptions,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Every run of it computes everything.")] = False,
) -> None:
    """Write the Kubeflow pipeline of the same cells; needs the extra `kubeflow` and no torch.

    Its run form asks for seed, overrides and the report's name. Which cells there are is fixed here. Says how much of a
    workflow it fills, its description and the state at a run's end, and which granularity `auto` chose.

    [bold]Examples[/bold]

      realfeatures compile --preset digits --image registry.example/realfeatures@sha256:... -o paper.yaml

      realfeatures compile --preset paper --image IMAGE --profile-set store.location=s3://bucket -o paper.yaml
    """
    if output.suffix not in (".yaml", ".yml") or not output.absolute().parent.is_dir():
        raise ConfigError(f"--output {str(output)!r}: expected a .yaml file in a folder that exists")
    require_image(image)
    typer.echo(f"{output}: {pipeline.compile_to(output, image=image, cache=not no_cache)}")


@grouped()
def submit(
    *,
    image: Annotated[
        str | None, typer.Option("--image", help="Container image that every task runs in.", show_default="required")
    ] = None,
    pipeline: PipelineOptions,
    overrides: OverridesOption = "{}",
    run_name: Annotated[
        str | None, typer.Option("--run-name", help="Also names the report.", show_default="PRESET-seedN-TIME")
    ] = None,
    experiment: ExperimentOption = "realfeatures",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every task, whatever Kubeflow remembers.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Watch the run to its end and fetch the report.")] = False,
    watch: Annotated[str | None, typer.Option("--watch", metavar="RUN_ID", help="Watch a run; start none.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the report.", show_default="runs/RUN_NAME")
    ] = None,
    server: ServerOptions,
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
    from realfeatures.kubeflow.server.submit import start
    from realfeatures.running.names import RUN_TIME, check_run_name, timed_name

    # With a time: a report of the same name would be written over.
    name = run_name or timed_name(f"{pipeline.preset}-seed{pipeline.seed}-{RUN_TIME}")
    check_run_name(name)
    if watch is not None:
        _follow(server.open(), watch, out)
        return
    kubeflow, version = upload_pipeline(pipeline, server, image=image or "", overrides=overrides, cache=not no_cache)
    run_id = start(kubeflow, version, experiment=experiment, run_name=name, seed=pipeline.seed, overrides=overrides)
    typer.echo(f"run {run_id}: {kubeflow.page_of(run_id)}")
    if wait:
        _follow(kubeflow, run_id, out)
    else:
        typer.echo(f"watch it with: {_watch_command(kubeflow, run_id)}")


def _follow(kubeflow: "Kubeflow", run_id: str, out: Path | None) -> None:
    """Show a run until it is finished, then fetch its report."""
    from realfeatures.cli.watching import follow
    from realfeatures.kubeflow.server.run_state import require_success

    again = f"the run goes on; look again with: {_watch_command(kubeflow, run_id)}"
    try:
        state = follow(kubeflow, run_id)
    except KeyboardInterrupt:
        typer.echo(again, err=True)
        raise
    except MissingError:
        raise
    except ClusterError as error:
        raise ClusterError(f"{error}; {again}") from None
    try:
        require_success(state)
    except RunFailed as failed:
        raise RunFailed(f"{failed}; see {kubeflow.page_of(run_id)}") from None
    _fetch(state.report, out)


def _watch_command(kubeflow: "Kubeflow", run_id: str) -> str:
    connection = kubeflow.connection
    options = {"--host": kubeflow.host, "--token-file": connection.token_file, "--ca-cert": connection.ca_cert}
    given = [word for option, value in options.items() if value for word in (option, str(value))]
    return shlex.join(["realfeatures", "submit", "--watch", run_id, *given])


def _fetch(run_name: str, out: Path | None) -> None:
    from realfeatures.running.names import RUN_TIME
    from realfeatures.store import ObjectStore
    from realfeatures.store.reports import fetch

    store = ObjectStore.from_environment()
    if RUN_TIME in run_name:
        typer.echo(f"done; the report is under runs/{run_name.replace(RUN_TIME, 'TIME')}/: see `realfeatures store ls`")
        return
    if store is None:
        typer.echo(
            f"done; the report is in the UI at the task `report`, and in the pipeline's object store, if it has one,"
            f" under runs/{run_name}/: set REALFEATURES_STORE and AWS_* to fetch it"
        )
        return
    folder = out or Path("runs") / run_name
    fetch(run_name, folder, store)
    typer.echo(f"report: {folder / 'report.html'}")
