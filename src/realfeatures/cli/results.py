"""The command that compares finished runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realfeatures.cli.exit_codes import DRIFTED
from realfeatures.cli.options import StoreOption, open_store, table_console
from realfeatures.errors import ConfigError

if TYPE_CHECKING:
    from realfeatures.results.earlier import NamedRun


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Folder of a run, results.json, or store:NAME; the last is judged."),
    ],
    everything: Annotated[bool, typer.Option("--all", help="Show every number.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as `drift` in results.json.")] = False,
    store: StoreOption = None,
) -> None:
    """Compare a run with earlier ones: which numbers left their interval, and what changed in between.

    Numbers at the same cell address must be equal on a CPU; others are compared as trainings, with Holm's correction.

    Exit code 0: nothing left its interval; 3: something did, or was not reproduced; 2: an error.

    [bold]Examples[/bold]

      realfeatures compare runs/before runs/after

      realfeatures compare store:nightly-16 store:nightly-17 runs/digits --all
    """
    from realfeatures.cli.drift_tables import drift_tables, every_number
    from realfeatures.results.drift import drift_json, drift_of

    if len(runs) < 2:
        raise ConfigError(f"{runs[0]}: is one run; name at least two, the one that is judged last")
    *earlier, current = [_read(run, store) for run in runs]
    drift = drift_of(current, earlier)
    if not drift.rows:
        raise ConfigError(
            f"{current.name} and {', '.join(drift.against)} have no measurement in common;"
            " name runs of the same paradigms, image sets and attacks"
        )
    if as_json:
        typer.echo(json.dumps(drift_json(drift), indent=1, allow_nan=False))
    else:
        table_console().print(drift_tables(drift))
        if everything:
            table_console().print(every_number(drift))
    if not drift.quiet:
        raise typer.Exit(DRIFTED)


def _read(run: str, store: str | None) -> "NamedRun":
    from realfeatures.results.earlier import STORED, read_run, stored_run
    from realfeatures.running.names import check_run_name

    if not run.startswith(STORED):
        return read_run(Path(run))
    name = run.removeprefix(STORED)
    check_run_name(name)
    return stored_run(open_store(store), name)
