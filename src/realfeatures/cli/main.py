"""The command line: `main` is its entry point, commands/ holds what it can do.

Whatever a command needs is imported inside it, so that `--help` answers at once.
"""

import shlex
import sys
from typing import Annotated

import typer

from realfeatures import __version__
from realfeatures.cli import diagnosis, experiment, kubeflow, results, schedule, storage, submit
from realfeatures.errors import (
    Interrupted,
    RealFeaturesError,
    StageCrash,
    StoreUnavailableError,
    WorkerError,
)
from realfeatures.logs import log_to_stderr

USAGE_ERROR = 2
"""Exit code of every error that a person can mend; a bug exits with 1."""
UNAVAILABLE = 75
"""Exit code where the same command may work later (sysexits.h, EX_TEMPFAIL): a Job then tries again."""
INTERRUPTED = 130
"""Exit code of a run that was stopped, as a shell gives it for Ctrl-C."""

EXTRAS = {
    "google": "kubeflow",  # protobuf, which comes with kfp
    "kfp": "kubeflow",
    "kfp_server_api": "kubeflow",
    "kubernetes": "kubeflow",
    "minio": "s3",
    "tenacity": "kubeflow,s3",
}
"""The extra that a package comes with which not every command needs."""

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
        bool,
        typer.Option("--version", help="Show the version and leave.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    pass


for command in (experiment.run, experiment.plan, experiment.show, experiment.data):
    app.command()(command)
app.command("compile")(kubeflow.compile_)
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
    except Interrupted as stopped:
        typer.echo(f"interrupted: {stopped}; go on with: {_own_command()}", err=True)
        return INTERRUPTED
    except (StoreUnavailableError, WorkerError) as error:
        return _refuse(str(error), code=UNAVAILABLE)
    except RealFeaturesError as error:
        return _refuse(str(error))
    except StageCrash as crash:
        typer.echo(f"{crash}\nThis is a bug in realfeatures; finished cells are kept.", err=True)
        return 1
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).partition(".")[0])
        if extra is None:
            raise
        return _refuse(f"{error.name} is not installed, which this command needs; install realfeatures[{extra}]")
    except Exception as error:
        # typer's usage errors; their class has had three homes in as many of its releases
        if not hasattr(error, "format_message"):
            raise
        return _refuse(f"{error.format_message()}; see realfeatures --help")
    if code == INTERRUPTED:  # a second Ctrl-C, or one outside a run; typer may have made it an exit code
        typer.echo(f"interrupted; go on with: {_own_command()}", err=True)
    return code if isinstance(code, int) else 0


def _refuse(text: str, *, code: int = USAGE_ERROR) -> int:
    typer.echo(f"error: {' '.join(text.split())}", err=True)
    return code


def _own_command() -> str:
    return shlex.join(["realfeatures", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
