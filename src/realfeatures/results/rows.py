"""The rows of results.json by what they measure, and what an experiment planned to measure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from realfeatures.errors import ConfigError
from realfeatures.experiment.about import MEASURED_ROLES
from realfeatures.experiment.address import SHOWN_DIGITS
from realfeatures.experiment.measurement import CLEAN, Measurement, Threat
from realfeatures.experiment.vocabulary import ADVERSARIAL, Attack, Control, Features, Paradigm
from realfeatures.results.statistics.intervals import Interval, over_seeds
from realfeatures.results.statistics.significance import Counts

PARADIGM_ORDER = (*Paradigm, *Control, ADVERSARIAL)
FEATURES_ORDER = tuple(Features)

NOT_PLANNED = ""
"""The entry of a cell that the experiment does not have."""

_CONFIGURED = {Attack.PGD: "pgd", Attack.AUTOATTACK: "autoattack", Attack.PGD_REPRESENTATION: "representation"}
"""Attack -> the field of an attack's configuration that lists its threat models."""

Content = Mapping[str, Any]
"""Of a results.json."""


Fraction = Annotated[float, Field(ge=0, le=1)]


class Row(BaseModel):
    """An accuracy of one seed with its 95 % interval; other entries of results.json's rows are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    measurement: Measurement
    value: Fraction
    low: Fraction
    high: Fraction
    n: int = Field(ge=1)
    """Number of test images."""
    seed: int
    """The run's."""
    cell: str
    """Address of the cell that measured it."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, entry: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {**entry, "measurement": Measurement.of(entry)}
        except KeyError as error:
            raise ValueError(f"{error.args[0]} is missing") from None
        except ConfigError as error:
            raise ValueError(error) from None

    @property
    def interval(self) -> Interval:
        """The accuracy with its bounds."""
        return Interval(self.value, self.low, self.high)

    @property
    def counts(self) -> Counts:
        """How many of how many test images were classified correctly."""
        return round(self.value * self.n), self.n


@dataclass(frozen=True)
class Accuracy:
    """A mean over seeds, or a difference of two, as fractions; n test images for each seed."""

    interval: Interval
    n: int
    seeds: int
    cells: tuple[str, ...] = ()
    """Addresses of the cells that measured it, as short as `realfeatures show` takes them."""

    @property
    def value(self) -> float:
        """The mean."""
        return self.interval.value

    @property
    def low(self) -> float:
        """The lower bound of its 95 % interval."""
        return self.interval.low

    @property
    def high(self) -> float:
        """The upper bound of its 95 % interval."""
        return self.interval.high


Entry = Accuracy | str | None


class Rows:
    """What was measured, and what was planned.

    Args:
        rows: those of results.json.
        cells: likewise; without them nothing was planned.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], cells: Iterable[Mapping[str, Any]] = ()) -> None:
        self._rows: dict[Measurement, dict[int, Row]] = {}
        for row in map(Row.model_validate, rows):
            self._rows.setdefault(row.measurement, {})[row.seed] = row
        self._experiments: dict[Measurement, set[str]] = {}
        self._threats: dict[Measurement, set[Threat]] = {}
        for cell in cells:
            if cell["role"] in MEASURED_ROLES:
                read = Measurement.of(cell["measurement"])
                self._experiments.setdefault(read, set()).update(cell["experiments"])
                self._threats.setdefault(read, set()).update(_planned_threats(cell["config"]))

    @classmethod
    def of(cls, results: Content) -> "Rows":
        """Return the rows and the plan of a results.json."""
        return cls(results["rows"], results["cells"])

    @property
    def measured(self) -> Iterator[Measurement]:
        """All that was measured, each once, in the order of the rows."""
        return iter(self._rows)

    def by_seed(self, measurement: Measurement) -> Mapping[int, Row]:
        """Return a measurement's row of each seed that has it."""
        return self._rows.get(measurement, {})

    def seeds(self, measurements: Iterable[Measurement]) -> list[int]:
        """Return the seeds that have all of at least one measurement."""
        return sorted(set.intersection(*(set(self.by_seed(one)) for one in measurements)))

    def planned(self, experiment: str) -> list[Measurement]:
        """Return the clean accuracies of what an experiment measures or would have, in the grid's order."""
        return [one for one, experiments in self._experiments.items() if experiment in experiments]

    def accuracy(self, measurement: Measurement) -> Accuracy | None:
        """Return a measurement's mean over its seeds, or None where there is none."""
        rows = list(self.by_seed(measurement).values())
        if not rows:
            return None
        mean = over_seeds([row.interval for row in rows]).clipped()
        return Accuracy(mean, max(row.n for row in rows), len(rows), tuple(row.cell[:SHOWN_DIGITS] for row in rows))

    def entry(self, measurement: Measurement) -> Entry:
        """Return a measurement for a table: None only where what was planned is missing."""
        accuracy = self.accuracy(measurement)
        planned = measurement.threat in self._threats.get(measurement.clean, ())
        return NOT_PLANNED if accuracy is None and not planned else accuracy

    def entries(self, measurement: Measurement, threats: Iterable[Threat]) -> tuple[Entry, ...]:
        """Return a classifier's accuracy under each attack."""
        return tuple(self.entry(measurement.under(*threat)) for threat in threats)

    def threats(self, classifiers: Iterable[Measurement]) -> list[Threat]:
        """Return every planned attack on a label of some classifiers: clean, PGD, AutoAttack, by norm and epsilon."""
        planned = {CLEAN, *(threat for one in classifiers for threat in self._threats.get(one, ()))}
        shown = (threat for threat in planned if threat.attack != Attack.PGD_REPRESENTATION)
        return sorted(shown, key=lambda threat: (threat != CLEAN, threat.attack == Attack.AUTOATTACK, threat))

    def label_free(self, classifier: Measurement) -> list[Threat]:
        """Return every planned attack on a classifier's representation, whatever the label."""
        planned = self._threats.get(classifier, ())
        return sorted(threat for threat in planned if threat.attack == Attack.PGD_REPRESENTATION)


def chosen(results: Content, experiment: str) -> bool:
    """Return whether a run has an experiment, be its cells measured or missing."""
    return any(experiment in cell["experiments"] for cell in results["cells"])


def planned_of(results: Content, role: str) -> list[tuple[str | None, str | None]]:
    """Return paradigm and feature set of the cells of a role, without repetition."""
    planned = (cell for cell in results["cells"] if cell["role"] == role)
    return list(dict.fromkeys((cell["paradigm"], cell["features"]) for cell in planned))


def chance(results: Content) -> float | None:
    """Return the accuracy of guessing, or None where the classes are unknown."""
    classes = len(results["data"]["classes"])
    return 1 / classes if classes else None


def in_order(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Return names without repetition, in a known order; unknown ones last, as they came."""
    unique = list(dict.fromkeys(names))
    return sorted(unique, key=lambda name: order.index(name) if name in order else len(order))


def paradigms_of(classifiers: Iterable[Measurement]) -> list[str]:
    """Return the paradigms of some classifiers, without controls and sources."""
    return in_order((one.paradigm for one in classifiers if one.paradigm in tuple(Paradigm)), PARADIGM_ORDER)


def probe_sets(classifiers: Iterable[Measurement]) -> list[str]:
    """Return the sets that some classifiers were fitted to, in the usual order."""
    return in_order((one.probe_features for one in classifiers), FEATURES_ORDER)


def _planned_threats(config: Mapping[str, Any]) -> Iterator[Threat]:
    """Yield the attacks that a cell's configuration names; nearest neighbours have none."""
    yield CLEAN
    for attack, name in _CONFIGURED.items():
        for threat in config.get(name, ()):
            yield Threat(attack, threat["norm"], float(threat["epsilon"]))
