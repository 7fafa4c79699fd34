"""Published numbers beside ours; none for other data than CIFAR-10."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realfeatures.experiment.measurement import Threat, matched
from realfeatures.experiment.wording import threat_name
from realfeatures.report.section import Part, Section
from realfeatures.report.tables import Entry, Table
from realfeatures.results.rows import Content, Rows

FILE = Path(__file__).parent / "published.json"

CIFAR10 = frozenset(("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"))
"""Its classes: a copy of it in a folder is known by them."""


def section(results: Content) -> Section | None:
    """Return the section, where there are published numbers of the same data."""
    if not is_cifar10(results):
        return None
    images = results["data"]["train_images"]
    here = f"{images:,} training images" if images is not None else "the data set's training images"
    words = (
        f"For orientation only: models, epochs and sets differ, as named. Here: preset {results['preset']['name']} on"
        f" {results['data']['title']}, {here}; other models and lengths as in results.json."
    )
    part = Part(words=(words,), table=table(results))
    return Section("published", "Published numbers", "Beside published numbers", (part,))


def table(results: Content) -> Table:
    """Return each published number with ours, its source and its protocol."""
    rows = Rows.of(results)
    body = [_line(one, rows) for one in json.loads(FILE.read_bytes())]
    return Table(("what", "attack", "published", "here", "source", "its protocol"), tuple(body), stubs=2, words=2)


def is_cifar10(results: Content) -> bool:
    """Return whether a run's data are CIFAR-10, or a copy of it."""
    return results["preset"]["config"]["data"]["source"] == "cifar10" or set(results["data"]["classes"]) == CIFAR10


def _line(one: Mapping[str, Any], rows: Rows) -> tuple[Entry, ...]:
    threat = Threat(one["attack"], one["norm"], float(one["epsilon"]))
    comparable = one["unit"] == "accuracy"
    ours = rows.accuracy(matched(one["paradigm"], one["features"]).under(*threat)) if comparable else None
    attack = threat_name(threat) if comparable else ""
    return one["what"], attack, _value(one), ours, one["source"], one["protocol"]


def _value(one: Mapping[str, Any]) -> str:
    if one["unit"] == "FID":
        return f"FID {one['value']:g}"
    if one["unit"] == "seconds":
        return f"{one['value']:g} s"
    value = f"{100 * one['value']:g}"
    return f"{value} to {100 * one['upper']:g}" if "upper" in one else value
