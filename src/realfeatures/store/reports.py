"""Reports in an object store, by the run's name."""

from pathlib import Path

from realfeatures.store.client import ObjectStore

RUNS = "runs/"
FILES = ("report.html", "report.md", "results.json")
"""Of a report; results.json comes last: whoever finds it finds the pages beside it."""


def publish(folder: Path, name: str, objects: ObjectStore) -> None:
    """Put the report of a run's folder into the store, over an older one of this name.

    Raises:
        StorageError: the server refuses or cannot be reached.
    """
    for file in FILES:
        objects.put(folder / file, f"{RUNS}{name}/{file}")


def fetch(name: str, folder: Path, objects: ObjectStore) -> None:
    """Write a run's report into a folder.

    Raises:
        MissingObjectError: there is no such run, or it has no report yet.
        StorageError: the server refuses or cannot be reached, or the folder cannot be written.
    """
    for file in FILES:
        objects.get(f"{RUNS}{name}/{file}", folder / file)
