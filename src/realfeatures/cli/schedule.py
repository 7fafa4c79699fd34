"""The commands for recurring runs on Kubeflow."""

from typing import Annotated

import typer

from realfeatures.cli.options import grouped, table_console
from realfeatures.cli.pipeline_options import (
    ExperimentOption,
    ImageOption,
    OverridesOption,
    PipelineOptions,
    ServerOptions,
    upload_pipeline,
)
from realfeatures.errors import ConfigError

HELP = """Recurring runs on Kubeflow: the same pinned version again and again, to see whether its numbers hold.

Each run is named NAME-<time in UTC>, and its report compares it with the ones before it."""

app = typer.Typer(help=HELP, rich_markup_mode="rich", pretty_exceptions_enable=False, no_args_is_help=True)

LONGEST_NAME = 63 - len("-20060102150405")
"""A run's name is the schedule's and a time."""

NameArgument = Annotated[str, typer.Argument(help="Of the schedule, and the beginning of its runs' names.")]


@app.command()
@grouped()
def apply(
    *,
    name: NameArgument,
    image: ImageOption,
    cron: Annotated[
        str | None, typer.Option("--cron", help="When, in UTC: six fields, second first; five are taken too.")
    ] = None,
    every: Annotated[str | None, typer.Option("--every", help="Or how often: 12h, 7d, 2w.")] = None,
    pipeline: PipelineOptions,
    overrides: OverridesOption = "{}",
    experiment: ExperimentOption = "realfeatures",
    disabled: Annotated[bool, typer.Option("--disabled", help="Make it, but let it start no run yet.")] = False,
    cache: Annotated[bool, typer.Option("--cache", help="Let tasks take results from Kubeflow's cache.")] = False,
    server: ServerOptions,
) -> None:
    """Make a recurring run, or bring the one of this name into this form; applying twice changes nothing.

    One run at a time, missed ones are not made up for, the cache is off: each run computes everything.

    [bold]Examples[/bold]

      realfeatures schedule apply weekly --cron "0 0 3 * * 1" --image registry.example/realfeatures@sha256:...

      realfeatures schedule apply nightly --every 1d --preset digits --image IMAGE --seed 3
    """
    from realfeatures.kubeflow.server import schedule
    from realfeatures.running.names import check_run_name

    check_run_name(name)
    if len(name) > LONGEST_NAME:
        raise ConfigError(f"{name!r}: expected at most {LONGEST_NAME} characters, since runs add a time")
    timing = schedule.parse_timing(cron=cron, every=every)
    kubeflow, version = upload_pipeline(pipeline, server, image=image, overrides=overrides, cache=cache, scheduled=True)
    wanted = schedule.wanted(
        name,
        version,
        timing,
        experiment_id=kubeflow.experiment_id(experiment),
        seed=pipeline.seed,
        overrides=overrides,
        enabled=not disabled,
    )
    done = schedule.apply(kubeflow, wanted)
    typer.echo(f"{name}: {done.change}; {timing}, version {version.version}")


@app.command("list")
@grouped()
def list_(*, server: ServerOptions) -> None:
    """List the recurring runs: name, when, whether they start runs, and the pinned version's id.

    [bold]Examples[/bold]

      realfeatures schedule list --host http://localhost:8080
    """
    from realfeatures.cli.tables import schedule_table

    table_console().print(schedule_table(server.open().schedules()))


@app.command()
@grouped()
def delete(
    *,
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: ServerOptions,
) -> None:
    """Delete a recurring run; the runs that it started stay.

    [bold]Examples[/bold]

      realfeatures schedule delete weekly --yes
    """
    from realfeatures.kubeflow.server import schedule

    kubeflow = server.open()
    if not any(one.display_name == name for one in kubeflow.schedules()):
        raise ConfigError(f"{name!r}: there is no such schedule; `realfeatures schedule list` shows what there is")
    if not (yes or typer.confirm(f"delete the schedule {name}?")):
        typer.echo(f"{name}: kept")
        return
    schedule.delete(kubeflow, name)
    typer.echo(f"{name}: deleted")
