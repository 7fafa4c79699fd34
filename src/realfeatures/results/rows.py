"""The rows of results.json by what they measure, and what an experiment planned to measure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from realfeatures.experiment.experiments import standard_readout
from realfeatures.experiment.vocabulary import Protocol
from realfeatures.report.tables import (
    CLEAN,
    NOT_PLANNED,
    Accuracy,
    Entry,
    Threat,
)
from realfeatures.results.build import MEASURED_ROLES, experiments_of
from realfeatures.results.statistics.intervals import Interval, over_seeds

SHOWN_ADDRESS = 12
"""As much of an address as `realfeatures show` prints, and needs."""

LABEL_FREE = "pgd_representation"
"""The attack that moves the representation, whatever the label."""

_CONFIGURED = {"pgd": "pgd", "autoattack": "autoattack", LABEL_FREE: "representation"}
"""Attack -> the field of an attack's configuration that lists its threat models."""

Row = Mapping[str, Any]
Results = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """A classifier, and the images that its attacks start from."""

    paradigm: str
    features: str
    """The set that the encoder was trained on."""
    probe_features: str
    """The set that the classifier was fitted to."""
    readout: str
    protocol: str

    @property
    def matched(self) -> bool:
        """Whether encoder and classifier saw the same set."""
        return self.features == self.probe_features


def subject(
    paradigm: str,
    features: str,
    probe_features: str | None = None,
    *,
    readout: str | None = None,
    protocol: str = Protocol.NATURAL,
) -> Subject:
    """Return a subject; its classifier is fitted to the encoder's set, and is the paradigm's usual one, unless named.

    The usual one is the own head of a supervised model where it saw the same set, else a linear probe.
    """
    fitted = features if probe_features is None else probe_features
    usual = standard_readout(paradigm, features, fitted)
    return Subject(paradigm, features, fitted, str(readout or usual), str(protocol))


class Lookup:
    """What was measured, and what was planned."""

    def __init__(self, results: Results) -> None:
        self._found: dict[tuple[Subject, Threat], dict[int, Row]] = {}
        for row in results["rows"]:
            self._found.setdefault((subject_of(row), _threat(row)), {})[row["seed"]] = row
        self._planned: dict[Subject, set[str]] = {}
        self._attacks: dict[Subject, set[Threat]] = {}
        for cell in results["cells"]:
            if cell["labels"]["role"] in MEASURED_ROLES:
                one = subject_of(cell["labels"])
                self._planned.setdefault(one, set()).update(experiments_of(cell["labels"]))
                self._attacks.setdefault(one, set()).update(_planned_threats(cell["config"]))

    def planned(self, experiment: str) -> list[Subject]:
        """Return what an experiment measures or would have, in the grid's order."""
        return [one for one, experiments in self._planned.items() if experiment in experiments]

    def accuracy(self, subject: Subject, threat: Threat = CLEAN) -> Accuracy | None:
        """Return a measurement's mean over its seeds, or None where there is none."""
        seeds = self._found.get((subject, threat))
        if not seeds:
            return None
        found = _mean([_interval(row) for row in seeds.values()], list(seeds.values()))
        return replace(found, interval=found.interval.clipped())

    def entry(self, subject: Subject, threat: Threat = CLEAN) -> Entry:
        """Return a measurement for a table: an em dash only where what was planned is missing."""
        found = self.accuracy(subject, threat)
        return NOT_PLANNED if found is None and threat not in self._attacks.get(subject, ()) else found

    def threats(self, subjects: Iterable[Subject]) -> list[Threat]:
        """Return every planned attack on a label of some subjects: clean, PGD, AutoAttack, each by norm and epsilon."""
        found = {CLEAN, *(threat for one in subjects for threat in self._attacks.get(one, ()))}
        shown = (threat for threat in found if threat[0] != LABEL_FREE)
        return sorted(shown, key=lambda threat: (threat[0] != "none", threat[0] == "autoattack", threat))

    def label_free(self, one: Subject) -> list[Threat]:
        """Return every planned attack on a subject's representation, whatever the label."""
        return sorted(threat for threat in self._attacks.get(one, ()) if threat[0] == LABEL_FREE)


def chosen(results: Results, experiment: str) -> bool:
    """Return whether a run has an experiment, be its cells measured or missing."""
    return any(experiment in experiments_of(cell["labels"]) for cell in results["cells"])


def planned_of(results: Results, role: str, *labels: str) -> list[tuple[str, ...]]:
    """Return some labels of the cells of a role, without repetition."""
    found = (cell["labels"] for cell in results["cells"] if cell["labels"]["role"] == role)
    return list(dict.fromkeys(tuple(str(one[label]) for label in labels) for one in found))


def chance(results: Results) -> float | None:
    """Return the accuracy of guessing, or None where the classes are unknown."""
    classes = len(results["data"]["classes"])
    return 1 / classes if classes else None


def in_order(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Return names without repetition, in a known order; unknown ones last, as they came."""
    found = list(dict.fromkeys(names))
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def subject_of(labels: Mapping[str, Any]) -> Subject:
    """Return the subject of a row, a masking check, or a cell by its labels."""
    names = ("paradigm", "features", "probe_features", "readout", "protocol")
    return Subject(*(str(labels[name]) for name in names))


def _planned_threats(config: Mapping[str, Any]) -> Iterable[Threat]:
    """Return the attacks that a cell's configuration names; nearest neighbours have none."""
    yield CLEAN
    for attack, name in _CONFIGURED.items():
        for threat in config.get(name, ()):
            yield (attack, threat["norm"], float(threat["epsilon"]))


def _threat(row: Row) -> Threat:
    return (row["attack"], row["norm"], float(row["epsilon"]))


def _interval(row: Row) -> Interval:
    return Interval(row["value"], row["low"], row["high"])


def _mean(intervals: Sequence[Interval], rows: Sequence[Row]) -> Accuracy:
    cells = tuple(row["cell"][:SHOWN_ADDRESS] for row in rows)
    return Accuracy(over_seeds(intervals), max(row["n"] for row in rows), len(intervals), cells)
