"""Earlier runs to compare with: the results.json of a folder, a file or the object store, read and checked."""

import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from realfeatures.errors import ArtifactError, ConfigError, CorruptObjectError, MissingObjectError
from realfeatures.results.reading import RESULTS, read_results, require_version
from realfeatures.results.rows import Row
from realfeatures.store.client import ObjectStore
from realfeatures.store.reports import RUNS

logger = logging.getLogger(__name__)

EARLIER_RUNS = 10
"""How many of a series a run is compared with at most; chosen: the last ones tell what is usual now."""

STORED = "store:"
"""Begins the name of a run in the object store."""

_DAY, _TIME = r"\d{4}-?\d{2}-?\d{2}", r"[t_-]?\d{2}[-.]?\d{2}(?:[-.]?\d{2})?z?"
_MEMBER = re.compile(rf"(?P<series>.+?)-(?P<mark>{_DAY}(?:{_TIME})?|\d+)")
"""A run of a series: nightly-17, nightly-20261122040000, nightly-2026-11-22t04-00z."""


class _Part(BaseModel):
    """What a comparison reads of results.json; more may stand there."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class JudgedClaim(_Part):
    """The verdict on a claim."""

    id: str
    text: str
    verdict: str


class UsedPreset(_Part):
    """The configuration of a run."""

    name: str
    config: dict[str, Any]


class SavedResults(_Part):
    """What results.json says of a run."""

    preset: UsedPreset
    data: dict[str, Any]
    seeds: tuple[int, ...]
    device: dict[str, Any]
    versions: dict[str, str]
    code: str
    rows: tuple[Row, ...]
    claims: tuple[JudgedClaim, ...]


@dataclass(frozen=True)
class NamedRun:
    """A run's results, and what a person calls the run."""

    name: str
    results: SavedResults


def parse_results(content: Mapping[str, Any], *, name: str) -> NamedRun:
    """Return the content of a results.json, checked.

    Raises:
        ArtifactError: it is of another schema version, or not of its form.
    """
    require_version(content, name=name)
    try:
        return NamedRun(name, SavedResults.model_validate(content))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ArtifactError(
            f"{name}: {RESULTS}: {where}: {problem['msg']}; run the same command again to rewrite it"
        ) from None


def read_run(place: Path) -> NamedRun:
    """Return the run of a folder, or of a results.json of any name.

    Raises:
        ConfigError: there is no such folder or file.
        ArtifactError: it holds no results, or they are not readable.
    """
    if not place.exists():
        raise ConfigError(f"{place}: no such run; expected a run's folder, its {RESULTS}, or {STORED}NAME")
    return parse_results(read_results(place), name=str(place))


def stored_run(store: ObjectStore, name: str) -> NamedRun:
    """Return a run of the object store by its name.

    Raises:
        MissingObjectError: there is no such run, or it has no report yet.
        ArtifactError, CorruptObjectError: its results are not readable.
        StorageError: the server refuses or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / RESULTS
        store.get(f"{RUNS}{name}/{RESULTS}", file)
        return parse_results(read_results(file, name=name), name=name)


def earlier_results(store: ObjectStore, name: str) -> list[NamedRun]:
    """Return the runs before this one of the same series in a store, the newest last, at most EARLIER_RUNS.

    A recurring run is called SERIES-MARK, the mark a number or a time: the digits of the mark are the order.
    A run of any other name is compared with what its own name held before, so call this before publishing.
    Results that cannot be read are warned of and left out.

    Raises:
        StorageError: the server refuses or cannot be reached.
    """
    place = series_of(name)
    names = [name] if place is None else _members_before(store, *place)
    runs = (_stored_or_warned(store, other) for other in names)
    return [run for run in runs if run is not None]


def _members_before(store: ObjectStore, series: str, mark: int) -> list[str]:
    found = {}
    for stored in store.list(f"{RUNS}{series}-"):
        name, _, file = stored.key.removeprefix(RUNS).partition("/")
        place = series_of(name)
        if file == RESULTS and place is not None and place[0] == series and place[1] < mark:
            found[name] = place[1]
    return sorted(found, key=lambda one: (found[one], one))[-EARLIER_RUNS:]


def series_of(name: str) -> tuple[str, int] | None:
    """Return a run's series and the digits of its mark, or None for a run of no series."""
    match = _MEMBER.fullmatch(name)
    return (match["series"], int(re.sub(r"\D", "", match["mark"]))) if match else None


def _stored_or_warned(store: ObjectStore, name: str) -> NamedRun | None:
    try:
        return stored_run(store, name)
    except MissingObjectError:
        return None  # the first run of its name, or one removed since the listing
    except (ArtifactError, CorruptObjectError) as error:
        logger.warning("not compared with run %s: %s", name, error)
        return None
