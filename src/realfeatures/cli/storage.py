"""The commands that look into an object store and put data sets there."""

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realfeatures.cli.options import StoreOption, open_store, table_console
from realfeatures.errors import ConfigError
from realfeatures.logs import Pace

if TYPE_CHECKING:
    from realfeatures.store.client import Progress, StoredObject

logger = logging.getLogger(__name__)

HELP = """Look into an object store, and put data sets there: any server that speaks S3.

Address and credentials come from the environment: AWS_ENDPOINT_URL (empty: AWS), AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION. The store is --store or REALFEATURES_STORE."""

app = typer.Typer(help=HELP, rich_markup_mode="rich", pretty_exceptions_enable=False, no_args_is_help=True)

GIGABYTE = 1e9
GC_PREFIXES = ("cells/", "checkpoints/")
"""What can be computed again; data sets and reports are only deleted by hand."""


@app.command("ls")
def list_(
    prefix: Annotated[str, typer.Argument(help="Beginning of the keys.", show_default="all")] = "",
    store: StoreOption = None,
) -> None:
    """List objects: key, size and when they were written.

    [bold]Examples[/bold]

      realfeatures store ls --store s3://experiments/realfeatures

      realfeatures store ls runs/
    """
    from realfeatures.cli.tables import object_table

    objects = list(open_store(store).list(prefix))
    table_console().print(object_table(objects))
    typer.echo(_sum(objects))


@app.command()
def get(
    key: Annotated[str, typer.Argument(help="Of an object, or a beginning that ends in /.")],
    path: Annotated[Path, typer.Argument(help="File, or for several objects a folder.")],
    store: StoreOption = None,
) -> None:
    """Write an object to a file, or all objects below a key to a folder; every digest is verified.

    [bold]Examples[/bold]

      realfeatures store get runs/digits/ report [dim](a run's report)[/dim]

      realfeatures store get runs/digits/results.json results.json
    """
    objects = open_store(store)
    wanted = [one.key for one in objects.list(key)] if key.endswith("/") else [key]
    if not wanted:
        raise ConfigError(f"{key!r}: no object begins with it; `realfeatures store ls` lists what there is")
    for one in wanted:
        target = path / _inside(one, key) if key.endswith("/") else path
        with _bar(one) as progress:
            objects.get(one, target, progress=progress)
        typer.echo(target)


@app.command()
def put(
    path: Annotated[Path, typer.Argument(help="A file.")],
    key: Annotated[str, typer.Argument(help="Of the object.")],
    store: StoreOption = None,
) -> None:
    """Put a file into the store and see that all of it arrived.

    [bold]Examples[/bold]

      realfeatures store put notes.md runs/digits/notes.md
    """
    if not path.is_file():
        raise ConfigError(f"{path}: expected a file that exists")
    if not key or key.startswith("/") or key.endswith("/"):
        raise ConfigError(f"key {key!r}: expected a name such as runs/digits/notes.md")
    with _bar(key) as progress:
        open_store(store).put(path, key, progress=progress)
    typer.echo(key)


@app.command()
def mirror(
    source: Annotated[str, typer.Argument(help="As in --set data=: cifar10, folder:PATH, ...")],
    store: StoreOption = None,
) -> None:
    """Put a data set into the store once, for pods that have no other way to it.

    Runs with --set data= of the same set take it from there where it is not in their cache.

    [bold]Examples[/bold]

      realfeatures store mirror cifar10

      realfeatures store mirror folder:my-pictures.tar.xz
    """
    from realfeatures.experiment.config import DataConfig
    from realfeatures.store.data import mirror

    with _bar(source) as progress:
        found = mirror(DataConfig(source=source), open_store(store), progress=progress)
    content = f" --set data.sha256={found.sha256}" if found.sha256 else ""
    typer.echo(f"runs take it from the store with: --set {shlex.quote(f'data={source}')}{content}")


@app.command()
def gc(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="DAYS", help="Days since an object was written, such as 30d.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: StoreOption = None,
) -> None:
    """Delete old cells and checkpoints, which can be computed again; data sets and reports stay.

    [bold]Examples[/bold]

      realfeatures store gc --older-than 30d --dry-run
    """
    before = datetime.now(UTC) - timedelta(days=_days(older_than))
    objects = open_store(store)
    old = [one for prefix in GC_PREFIXES for one in objects.list(prefix) if one.modified < before]
    typer.echo(f"{_sum(old)} older than {older_than}" + ("; nothing was deleted" if dry_run else ""))
    if dry_run or not old or not (yes or _confirmed()):
        return
    with _bar("delete") as progress:
        for done, one in enumerate(old, start=1):
            objects.delete(one.key)
            progress(done, len(old))
    typer.echo(f"deleted {_sum(old)}")


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("gc: nobody can be asked here; say --yes to delete, or --dry-run to look")
    return typer.confirm("delete them?")


def _days(text: str) -> int:
    number = text.removesuffix("d")
    if not number.isdigit() or not 0 < int(number) <= 10_000:
        raise ConfigError(f"--older-than {text!r}: expected a number of days from 1 to 10000, such as 30d")
    return int(number)


def _inside(key: str, prefix: str) -> str:
    """Return the part of a key below a prefix, as a path that stays inside a folder."""
    parts = key.removeprefix(prefix).split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ConfigError(f"{key!r}: is no path inside a folder; get it by its whole key")
    return "/".join(parts)


def _sum(objects: "list[StoredObject]") -> str:
    total = sum(one.size_bytes for one in objects)
    return f"{len(objects)} object{'' if len(objects) == 1 else 's'}, {total / GIGABYTE:.3f} GB"


@contextmanager
def _bar(name: str) -> "Iterator[Progress]":
    """Show a transfer: a bar on a terminal, a line a minute elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _log_now_and_then(name)
        return
    with Bars(console=console, transient=True) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _log_now_and_then(name: str) -> "Progress":
    pace = Pace()

    def log(done: int, total: int) -> None:
        if pace.is_due():
            logger.info("%s: %.0f %%", name, 100 * done / total)

    return log
