"""The command line: run, plan, show, data and compile; `main` is the entry point.

Whatever a command needs is imported inside it, so that `--help` answers at once.
"""

import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realfeatures import __version__
from realfeatures.errors import ConfigError, Interrupted, RealFeaturesError, StageCrash

if TYPE_CHECKING:
    from rich.console import Console

USAGE_ERROR = 2
"""Exit code of every error that a person can mend; a bug exits with 1."""
INTERRUPTED = 130
"""Exit code of a run that was stopped, as a shell gives it for Ctrl-C."""
PIPE_COLUMNS = 160
"""Width of tables that go into a file or a pipe, where there is no window to ask."""

# A blank line between all, or the help would join them into one paragraph.
EXAMPLES = """[bold]Examples[/bold]

  realfeatures run [dim](the demo: digits, a few minutes)[/dim]

  realfeatures run --preset digits --out runs/demo --seed 0 --seed 1 --jobs 2

  realfeatures run --set data=folder:my-pictures --out runs/mine

  realfeatures plan --preset paper [dim](what it would compute; runs nothing)[/dim]

  realfeatures show --out runs/demo [dim](the cells of a run)[/dim]

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


def _seed(text: str) -> int:
    return _whole_number(text, option="--seed", least=0)


def _jobs(text: str) -> int:
    return _whole_number(text, option="--jobs", least=1)


def _whole_number(text: str, *, option: str, least: int) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r}: expected a whole number of at least {least}") from None


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"realfeatures {__version__}")
        raise typer.Exit


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


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and leave.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    preset: PresetOption = "digits",
    out: OutOption = None,
    seed: SeedOption = None,
    assignments: SetOption = None,
    jobs: JobsOption = None,
) -> None:
    """Compute an experiment and write its report; what is done already is kept.

    Ctrl-C saves a checkpoint of every running cell; the same command goes on from there, as it does
    after a crash. More seeds can be added later: the report then covers all seeds that are done in the folder.

    [bold]Examples[/bold]

      realfeatures run --preset digits --out runs/demo --seed 0 --seed 1 --jobs 2

      realfeatures run --preset digits --set probe.epochs=5 --set paradigms=supervised,diffusion --out runs/short
    """
    from realfeatures.local_run import run_experiment
    from realfeatures.presets import load_preset

    folder = out or Path("runs") / preset
    run_experiment(load_preset(preset, assignments or ()), seeds=seed or [0], out=folder, jobs=jobs)
    from realfeatures.reporting import summary_tables

    _console().print(summary_tables(folder))
    typer.echo(f"report: {folder / 'report.html'}")


@app.command()
def plan(
    preset: PresetOption = "digits",
    out: OutOption = None,
    seed: SeedOption = None,
    assignments: SetOption = None,
    config: Annotated[bool, typer.Option("--config", help="Show the configuration, as --set can change it.")] = False,
) -> None:
    """List the cells of an experiment, what is done already, and an estimate of the work; runs nothing.

    FLOPs count a multiply-add as two; images are passes of one image through a network. AutoAttack's
    share is an upper bound, since images that are broken leave it.

    [bold]Examples[/bold]

      realfeatures plan --preset digits --out runs/demo --seed 0 --seed 1 --set probe.epochs=5

      realfeatures plan --preset digits --config --set 'attack.pgd=[{norm: L2, epsilon: 0.3}]'
    """
    from realfeatures.console_tables import plan_tables
    from realfeatures.plan import make_plan
    from realfeatures.presets import load_preset
    from realfeatures.run_folder import RunFolder

    loaded = load_preset(preset, assignments or ())
    if config:
        import yaml

        typer.echo(yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False).rstrip())
        return
    made = make_plan(loaded, seeds=seed or [0])
    done = RunFolder(out or Path("runs") / preset).finished(made.addresses)
    _console().print(plan_tables(made, done))


@app.command()
def show(
    cell: Annotated[
        str | None, typer.Argument(help="A cell's key, or the beginning of its address.", show_default="all keys")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of a run.")] = Path("runs/digits"),
) -> None:
    """Show a cell of a run: configuration, inputs, results, time, files and the command that reproduces it.

    [bold]Examples[/bold]

      realfeatures show seed0/robust/contrastive/attack/robust --out runs/demo

      realfeatures show 3f2a91 --out runs/demo
    """
    from realfeatures.console_tables import cell_tables, command_of, key_table, read_run

    found = read_run(out)
    if cell is None:
        _console().print(key_table(found))
        return
    chosen = found.find(cell)
    _console().print(cell_tables(found, chosen))
    # Not through rich, which would wrap a long line: it is there to be copied.
    typer.echo(f"\nreproduce with\n{command_of(found, chosen)}")


@app.command()
def data() -> None:
    """List the data sets that can be used, which of them are here, and how to bring your own.

    [bold]Examples[/bold]

      realfeatures data

      realfeatures run --set data=folder:my-pictures --out runs/mine
    """
    from realfeatures.console_tables import data_tables

    _console().print(data_tables())


@app.command("compile")
def compile_(
    image: Annotated[str, typer.Option("--image", help="Container image that every task runs in.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .yaml.")],
    preset: PresetOption = "digits",
    seed: SeedOption = None,
    assignments: SetOption = None,
) -> None:
    """Write the Kubeflow pipeline of the same cells; needs the extra `kubeflow` and no torch.

    [bold]Examples[/bold]

      realfeatures compile --preset digits --image registry.example/realfeatures@sha256:... -o paper.yaml
    """
    if not image.strip():
        raise ConfigError("--image '': expected an image, such as registry.example/realfeatures@sha256:...")
    if output.suffix not in (".yaml", ".yml") or not output.absolute().parent.is_dir():
        raise ConfigError(f"--output {str(output)!r}: expected a .yaml file in a folder that exists")
    from realfeatures.pipelines.paper import compile_pipeline
    from realfeatures.plan import make_plan
    from realfeatures.presets import load_preset

    made = make_plan(load_preset(preset, assignments or ()), seeds=seed or [0])
    compile_pipeline(made.preset, seeds=made.seeds, image=image, path=output)
    typer.echo(f"{output}: {len(made.grid)} cells")


def main() -> int:
    """Run the command line and return its exit code."""
    _log_to_stderr()
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="realfeatures", standalone_mode=False)
    except Interrupted as stopped:
        typer.echo(f"interrupted: {stopped}; go on with: {_own_command()}", err=True)
        return INTERRUPTED
    except RealFeaturesError as error:
        return _refuse(str(error))
    except StageCrash as crash:
        typer.echo(f"{crash}\nThis is a bug in realfeatures; finished cells are kept.", err=True)
        return 1
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        # typer's usage errors; their class has had three homes in as many of its releases
        if not hasattr(error, "format_message"):
            raise
        return _refuse(f"{error.format_message()}; see realfeatures --help")
    if code == INTERRUPTED:  # a second Ctrl-C, or one outside a run; typer may have made it an exit code
        typer.echo(f"interrupted; go on with: {_own_command()}", err=True)
    return code if isinstance(code, int) else 0


def _refuse(text: str) -> int:
    typer.echo(f"error: {' '.join(text.split())}", err=True)
    return USAGE_ERROR


def _own_command() -> str:
    return shlex.join(["realfeatures", *sys.argv[1:]])


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PIPE_COLUMNS)


class _CurrentStderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what sys.stderr is at the time: a progress display puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _log_to_stderr() -> None:
    handler = _CurrentStderr()
    # A terminal has bars instead of a line a minute.
    handler.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    package = logging.getLogger("realfeatures")
    package.setLevel(logging.DEBUG)
    package.addHandler(handler)


if __name__ == "__main__":
    sys.exit(main())
