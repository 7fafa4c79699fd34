"""The tables of the command line: a plan, the cells of a run, one cell, the data sets."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from realfeatures.errors import ConfigError
from realfeatures.experiment.address import SHOWN_DIGITS
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell, cells
from realfeatures.experiment.overrides import differences
from realfeatures.experiment.presets import PRESETS
from realfeatures.results.statistics.intervals import wilson_interval
from realfeatures.running.cost import Cost, total
from realfeatures.running.folder import RunFolder
from realfeatures.running.plan import Plan, addresses_of
from realfeatures.science.artifacts import RUN, read_manifest, read_record
from realfeatures.science.data.decoded import CACHE_VARIABLE, cache_folder
from realfeatures.science.data.named import DATA_SOURCES
from realfeatures.science.data.sources import FOLDER_HELP


@dataclass(frozen=True)
class RunFound:
    """The cells of an earlier run, as the installed code addresses them."""

    folder: RunFolder
    preset: Preset
    seeds: list[int]
    grid: list[Cell]
    addresses: dict[str, str]

    def find(self, name: str) -> Cell:
        """Return the one cell with this key or this beginning of an address.

        Raises:
            ConfigError: none or several have it.
        """
        found = [cell for cell in self.grid if name == cell.key or self.addresses[cell.key].startswith(name)]
        if len(found) == 1:
            return found[0]
        how_many = "no cell" if not found else f"{len(found)} cells"
        raise ConfigError(
            f"{name!r} names {how_many}; expected a key or the beginning of one address, which"
            f" `realfeatures show --out {self.folder.path}` lists"
        )

    def is_done(self, cell: Cell) -> bool:
        """Return whether a cell's artifact is there."""
        return self.folder.cell(self.addresses[cell.key]).exists()


def read_run(out: Path) -> RunFound:
    """Return what was run in a folder.

    Raises:
        ConfigError: nothing was.
        ArtifactError: experiment.json is damaged.
    """
    folder = RunFolder(out)
    preset, seeds = folder.require_experiment()
    grid = cells(preset, seeds)
    return RunFound(folder, preset, seeds, grid, addresses_of(grid, preset))


def plan_tables(plan: Plan, done: set[str]) -> RenderableType:
    """Return a plan as a table of its cells, a section for each image set, and the totals."""
    table = _table("cell", "stage", "address", "", right=("FLOPs", "images"))
    section = None
    for cell in plan.grid:
        if section not in (None, _section(cell)):
            table.add_section()
        section = _section(cell)
        table.add_row(
            escape(cell.key),
            cell.stage,
            plan.addresses[cell.key][:SHOWN_DIGITS],
            "done" if cell.key in done else "",
            *_amounts(plan.costs[cell.key]),
        )
    left = [plan.costs[cell.key] for cell in plan.grid if cell.key not in done]
    sums = Table.grid(padding=(0, 2))
    sums.add_column(justify="right")
    for name, costs in (("all", list(plan.costs.values())), ("to do", left)):
        flops, images = _amounts(total(costs))
        sums.add_row(name, f"{len(costs)} cells", f"{flops} operations", f"{images} images")
    return Group(_heading(plan.preset, plan.seeds), table, sums)


def key_table(run: RunFound) -> RenderableType:
    """Return the cells of a run by key, with their addresses and whether they are done."""
    table = _table("cell", "stage", "address", "")
    for cell in run.grid:
        state = "done" if run.is_done(cell) else ""
        table.add_row(escape(cell.key), cell.stage, run.addresses[cell.key][:SHOWN_DIGITS], state)
    return Group(_heading(run.preset, run.seeds), table)


def cell_tables(run: RunFound, cell: Cell) -> RenderableType:
    """Return all that is known of a cell.

    Raises:
        ArtifactError: its artifact was changed.
    """
    address = run.addresses[cell.key]
    folder = run.folder.cell(address)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("cell", Text(cell.key, style="bold"))
    facts.add_row("stage", cell.stage)
    facts.add_row("address", address)
    facts.add_row("seed", str(cell.seed))
    for port, key in cell.inputs.items():
        facts.add_row(f"input {port}", f"{key} ({run.addresses[key][:SHOWN_DIGITS]})")
    facts.add_row("files", str(folder) if run.is_done(cell) else "not computed yet")
    parts: list[RenderableType] = [facts]
    if run.is_done(cell):
        parts.extend(_results(folder, facts))
    config = yaml.safe_dump(cell.config.model_dump(mode="json"), sort_keys=False)
    parts += [Text("\nconfiguration", style="bold"), Text(config.rstrip())]
    return Group(*parts)


def data_tables() -> RenderableType:
    """Return the known data sets, where they are kept, and how to bring one's own."""
    table = _table("source", "data set", "here", right=("training", "test", "classes", "image"))
    for source in DATA_SOURCES.values():
        info = source.whole
        table.add_row(
            source.name,
            source.title,
            "yes" if source.cached else "downloaded when first used",
            f"{info.train:,}",
            f"{info.test:,}",
            str(info.classes),
            f"{info.channels}x{info.height}x{info.width}",
        )
    return Group(
        table,
        Text(f"\nkept in {cache_folder()} ({CACHE_VARIABLE} moves it)"),
        Text(f"your own: --set data=folder:PATH; {FOLDER_HELP}"),
        Text("a stratified part of one: --set data.train_size=5000 --set data.test_size=1000"),
    )


def command_of(run: RunFound, cell: Cell) -> str:
    """Return the command that computes a cell anew, elsewhere: preset, overrides and seed."""
    seed = run.seeds[0] if cell.run_seed is None else cell.run_seed
    words = ["realfeatures", "run", "--preset", run.preset.name, "--seed", str(seed)]
    for path, value in differences(run.preset, PRESETS[run.preset.name]()).items():
        words += ["--set", f"{path}={_as_typed(value)}"]
    return shlex.join([*words, "--out", "runs/again"])


def _as_typed(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _results(folder: Path, facts: Table) -> Iterator[RenderableType]:
    manifest, record = read_manifest(folder), read_record(folder)
    run = folder / RUN
    if run.exists():
        facts.add_row("seconds", str(json.loads(run.read_bytes())["seconds"]))
    for name, entry in manifest["files"].items():
        facts.add_row("", f"{name} ({entry['bytes']:,} bytes)")
    measurements = record.get("measurements")
    if measurements:
        yield Text("\nmeasurements", style="bold")
        yield _measurements(measurements)
        for row in measurements:
            if row["details"]:
                yield Text(f"{row['attack']} {row['norm']} {row['epsilon']:g}: {json.dumps(row['details'])}")
    if record.get("history"):
        yield Text("\nlast epoch", style="bold")
        yield Text(", ".join(f"{name} {_value(value)}" for name, value in record["history"][-1].items()))
    if record.get("synthesis"):
        yield Text("\nsynthesis", style="bold")
        yield Text(", ".join(f"{name} {_value(value)}" for name, value in record["synthesis"].items()))


def _measurements(rows: list[dict[str, Any]]) -> Table:
    table = _table("metric", "attack", "norm", "protocol", right=("epsilon", "accuracy", "low", "high", "n"))
    for row in rows:
        accuracy = wilson_interval(row["correct"], row["n"])
        bounds = [f"{value:.3f}" for value in (accuracy.value, accuracy.low, accuracy.high)]
        names = [row[name] for name in ("metric", "attack", "norm", "protocol")]
        table.add_row(*names, f"{row['epsilon']:.4g}", *bounds, str(row["n"]))
    return table


def _heading(preset: Preset, seeds: list[int] | tuple[int, ...]) -> Text:
    listed = ", ".join(map(str, seeds))
    return Text(f"preset {preset.name}, data {preset.data.source}, {preset.runtime.device}, seeds {listed}")


def _section(cell: Cell) -> tuple[int | None, str | None]:
    return cell.run_seed, cell.features


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _amounts(cost: Cost) -> tuple[str, str]:
    return _si(cost.flops), f"{cost.images:,}"


def _si(value: float) -> str:
    """Return a number with three digits and an SI prefix: 12.3 G."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 1000:
            return f"{value:.3g} {prefix}".rstrip()
        value /= 1000
    return f"{value:,.4g} E"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
