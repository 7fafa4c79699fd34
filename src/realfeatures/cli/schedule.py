"""The commands for recurring runs on Kubeflow."""

from typing import Annotated

import typer

from realfeatures.cli.kubeflow import (
    CaOption,
    ExperimentOption,
    FirstSeedOption,
    HostOption,
    ImageOption,
    NamespaceOption,
    OverridesOption,
    ProfileOption,
    ProfileSetOption,
    RepetitionsOption,
    TokenOption,
    check_image,
    check_overrides,
    compiled,
    open_kubeflow,
    upload_version,
)
from realfeatures.cli.options import (
    ExperimentsOption,
    PresetOption,
    SetOption,
    all_assignments,
    table_console,
)
from realfeatures.errors import ConfigError

HELP = """Recurring runs on Kubeflow: the same pinned version again and again, to see whether its numbers hold.

Each run is named NAME-<time in UTC>, and its report compares it with the ones before it."""

app = typer.Typer(help=HELP, rich_markup_mode="rich", pretty_exceptions_enable=False, no_args_is_help=True)

LONGEST_NAME = 63 - len("-20060102150405")
"""A run's name is the schedule's and a time."""

NameArgument = Annotated[str, typer.Argument(help="Of the schedule, and the beginning of its runs' names.")]


@app.command()
def apply(
    name: NameArgument,
    image: ImageOption,
    cron: Annotated[
        str | None, typer.Option("--cron", help="When, in UTC: six fields, second first; five are taken too.")
    ] = None,
    every: Annotated[str | None, typer.Option("--every", help="Or how often: 12h, 7d, 2w.")] = None,
    preset: PresetOption = "digits",
    seed: FirstSeedOption = 0,
    repetitions: RepetitionsOption = 1,
    experiments: ExperimentsOption = None,
    assignments: SetOption = None,
    profile: ProfileOption = None,
    profile_assignments: ProfileSetOption = None,
    overrides: OverridesOption = "{}",
    experiment: ExperimentOption = "realfeatures",
    disabled: Annotated[bool, typer.Option("--disabled", help="Make it, but let it start no run yet.")] = False,
    cache: Annotated[bool, typer.Option("--cache", help="Let tasks take results from Kubeflow's cache.")] = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_file: TokenOption = None,
    ca_cert: CaOption = None,
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
    check_image(image)
    check_overrides(preset, all_assignments(assignments, experiments), overrides)
    with compiled(
        preset=preset,
        repetitions=repetitions,
        assignments=all_assignments(assignments, experiments),
        image=image,
        profile=profile,
        profile_assignments=profile_assignments or (),
        cache=cache,
    ) as path:
        kubeflow = open_kubeflow(host, namespace, token_file, ca_cert)
        version = upload_version(kubeflow, path)
    wanted = schedule.wanted(
        name,
        version,
        timing,
        experiment_id=kubeflow.experiment_id(experiment),
        seed=seed,
        overrides=overrides,
        enabled=not disabled,
    )
    done = schedule.apply(kubeflow, wanted)
    typer.echo(f"{name}: {done.change}; {timing}, version {version.version}")


@app.command("list")
def list_(
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_file: TokenOption = None,
    ca_cert: CaOption = None,
) -> None:
    """List the recurring runs: name, when, whether they start runs, and the pinned version's id.

    [bold]Examples[/bold]

      realfeatures schedule list --host http://localhost:8080
    """
    from rich.table import Table

    from realfeatures.kubeflow.server.schedule import timing_of

    table = Table("name", "when", "state", "version")
    for one in open_kubeflow(host, namespace, token_file, ca_cert).schedules():
        version = one.pipeline_version_reference
        table.add_row(
            one.display_name,
            str(timing_of(one)),
            "disabled" if one.mode == "DISABLE" else "enabled",
            version.pipeline_version_id if version else "the latest",
        )
    table_console().print(table)


@app.command()
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_file: TokenOption = None,
    ca_cert: CaOption = None,
) -> None:
    """Delete a recurring run; the runs that it started stay.

    [bold]Examples[/bold]

      realfeatures schedule delete weekly --yes
    """
    from realfeatures.kubeflow.server import schedule

    kubeflow = open_kubeflow(host, namespace, token_file, ca_cert)
    if not any(one.display_name == name for one in kubeflow.schedules()):
        raise ConfigError(f"{name!r}: there is no such schedule; `realfeatures schedule list` shows what there is")
    if not (yes or typer.confirm(f"delete the schedule {name}?")):
        typer.echo(f"{name}: kept")
        return
    schedule.delete(kubeflow, name)
    typer.echo(f"{name}: deleted")
