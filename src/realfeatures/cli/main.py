"""The command line: `main` is its entry point, the modules beside it hold what it can do.

Whatever a command needs is imported inside it, so that `--help` answers at once.
"""

import shlex
import sys
from typing import Annotated

import typer

from realfeatures import __version__
from realfeatures.cli import diagnosis, experiment, results, schedule, storage, submit
from realfeatures.cli.exit_codes import FAILED, INTERRUPTED, UNAVAILABLE, USAGE_ERROR
from realfeatures.errors import (
    ConfigError,
    Interrupted,
    RealFeaturesError,
    RunFailed,
    StageCrash,
    StoreUnavailableError,
    WorkerError,
    one_line,
)
from realfeatures.logs import log_to_stderr

EXTRAS = {
    "google": "kubeflow",  # protobuf, which comes with kfp
    "kfp": "kubeflow",
    "kfp_server_api": "kubeflow",
    "kubernetes": "kubeflow",
    "minio": "s3",
    "tenacity": "kubeflow,s3",
}
"""The extra that a package comes with which not every command needs."""

STOPPED, REFUSED = "interrupted; go on with: {command}", "error: {line}"
ENDINGS: dict[type[BaseException], tuple[int, str]] = {
    Interrupted: (INTERRUPTED, "interrupted: {cause}; go on with: {command}"),
    KeyboardInterrupt: (INTERRUPTED, STOPPED),
    typer.Abort: (INTERRUPTED, STOPPED),
    StoreUnavailableError: (UNAVAILABLE, REFUSED),
    WorkerError: (UNAVAILABLE, REFUSED),
    RunFailed: (FAILED, REFUSED),
    RealFeaturesError: (USAGE_ERROR, REFUSED),
    StageCrash: (FAILED, "{error}\nThis is a bug in realfeatures; finished cells are kept."),
}
"""Exit code and last words by class of error, the first that fits; any other one is a bug and keeps its traceback."""

# A blank line between all, or the help would join them into one paragraph.
EXAMPLES = """[bold]Examples[/bold]

  realfeatures run [dim](the demo: digits, a few minutes)[/dim]

  realfeatures run --preset digits --out runs/demo --seed 0 --seed 1 --jobs 2

  realfeatures run --set data=folder:my-pictures --out runs/mine

  realfeatures plan --preset paper [dim](what it would compute; runs nothing)[/dim]

  realfeatures show --out runs/demo [dim](the cells of a run)[/dim]

  realfeatures compare runs/before runs/after [dim](which numbers left their interval)[/dim]

  realfeatures compile --preset digits --image IMAGE -o paper.yaml

A run that was stopped, killed or failed goes on with the same command."""

app = typer.Typer(
    help="Which features of an image are real? Usefulness and robustness of robust and non-robust features"
    " across learning paradigms.",
    epilog=EXAMPLES,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"realfeatures {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


for command in (experiment.run, experiment.plan, experiment.show, experiment.data):
    app.command()(command)
app.command("compile")(submit.compile_)
app.command()(submit.submit)
app.command()(results.compare)
app.command()(diagnosis.doctor)
app.add_typer(schedule.app, name="schedule")
app.add_typer(storage.app, name="store")


def main() -> int:
    """Run the command line and return its exit code."""
    log_to_stderr()
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="realfeatures", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as raised:
        error = _as_ours(raised)
        ending = next((ending for kind, ending in ENDINGS.items() if isinstance(error, kind)), None)
        if ending is None:
            raise
        code, words = ending
        line = one_line(error)
        cause = line.partition(";")[0]  # without a library's remedy, where the command is the better one
        typer.echo(words.format(error=error, line=line, cause=cause, command=_own_command()), err=True)
        return code
    if code == INTERRUPTED:  # typer may make an exit code of Ctrl-C
        typer.echo(STOPPED.format(command=_own_command()), err=True)
    return code if isinstance(code, int) else 0


def _as_ours(error: BaseException) -> BaseException:
    """Return a missing extra and a usage error of typer as errors of ours, any other as it is."""
    if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get(str(error.name).partition(".")[0])):
        return ConfigError(f"{error.name} is not installed, which this command needs; install realfeatures[{extra}]")
    if hasattr(error, "format_message"):  # typer's class has had three homes in as many of its releases
        return ConfigError(f"{error.format_message()}; see realfeatures --help")
    return error


def _own_command() -> str:
    return shlex.join(["realfeatures", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
