"""The commands that run, plan and look at an experiment on one machine."""

from pathlib import Path
from typing import Annotated

import typer

from realfeatures.cli.options import (
    ExperimentsOption,
    JobsOption,
    OutOption,
    PresetOption,
    SeedOption,
    SetOption,
    StoreOption,
    chosen_preset,
    open_store,
    table_console,
)


def run(
    preset: PresetOption = "digits",
    out: OutOption = None,
    seed: SeedOption = None,
    experiments: ExperimentsOption = None,
    assignments: SetOption = None,
    jobs: JobsOption = None,
    store: StoreOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the run in the object store.", show_default="the preset's")
    ] = None,
) -> None:
    """Compute an experiment and write its report; what is done already is kept.

    Ctrl-C saves a checkpoint of every running cell; the same command goes on from there, as it does
    after a crash. More seeds and experiments can be added later in the same folder, where the report then covers all
    seeds that are done and the experiments that were asked for last.

    With --store, finished cells, checkpoints and the report are kept in an object store too, and a run on an empty disk
    goes on from there. Address and credentials: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

    [bold]Examples[/bold]

      realfeatures run --preset digits --out runs/demo --seed 0 --seed 1 --jobs 2

      realfeatures run --preset digits --experiments E1,E3 --out runs/transfer

      realfeatures run --preset digits --set probe.epochs=5 --set paradigms=supervised,diffusion --out runs/short
    """
    from realfeatures.running.local import run_experiment

    folder = out or Path("runs") / preset
    run_experiment(
        chosen_preset(preset, assignments, experiments),
        seeds=seed or [0],
        out=folder,
        jobs=jobs,
        store=open_store(store) if store else None,
        name=name,
    )
    from realfeatures.cli.summary_tables import summary_tables

    table_console().print(summary_tables(folder))
    typer.echo(f"report: {folder / 'report.html'}")


def plan(
    preset: PresetOption = "digits",
    out: OutOption = None,
    seed: SeedOption = None,
    experiments: ExperimentsOption = None,
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
    from realfeatures.cli.tables import plan_tables
    from realfeatures.running.folder import RunFolder
    from realfeatures.running.plan import make_plan

    loaded = chosen_preset(preset, assignments, experiments)
    if config:
        import yaml

        typer.echo(yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False).rstrip())
        return
    made = make_plan(loaded, seeds=seed or [0])
    done = RunFolder(out or Path("runs") / preset).finished(made.addresses)
    table_console().print(plan_tables(made, done))


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
    from realfeatures.cli.earlier_run import read_run
    from realfeatures.cli.tables import cell_tables, key_table
    from realfeatures.experiment.command import command_of

    found = read_run(out)
    if cell is None:
        table_console().print(key_table(found))
        return
    chosen = found.find(cell)
    table_console().print(cell_tables(found, chosen))
    # Not through rich, which would wrap a long line: it is there to be copied.
    seeds = [found.seeds[0] if chosen.run_seed is None else chosen.run_seed]
    typer.echo(f"\nreproduce with\n{command_of(found.preset, seeds=seeds, out='runs/again')}")


def data() -> None:
    """List the data sets that can be used, which of them are here, and how to bring your own.

    [bold]Examples[/bold]

      realfeatures data

      realfeatures run --set data=folder:my-pictures --out runs/mine
    """
    from realfeatures.cli.tables import data_tables

    table_console().print(data_tables())
