"""Which classifiers the tables show, in which order: what the sections share."""

from collections.abc import Iterable, Sequence

from realfeatures.experiment.measurement import Measurement
from realfeatures.experiment.vocabulary import Paradigm
from realfeatures.report.tables import Entry
from realfeatures.results.rows import FEATURES_ORDER, PARADIGM_ORDER, in_order


def trained(classifiers: Iterable[Measurement]) -> list[Measurement]:
    """Return classifiers whose encoder a paradigm trained on a set: no source, no raw pixels, none untrained."""
    return [one for one in classifiers if one.paradigm in tuple(Paradigm) and one.features in FEATURES_ORDER]


def self_supervised(classifiers: Iterable[Measurement]) -> list[Measurement]:
    """Return classifiers whose encoder was trained without labels."""
    return [one for one in trained(classifiers) if one.paradigm != Paradigm.SUPERVISED]


def features_of(classifiers: Iterable[Measurement]) -> list[str]:
    """Return the sets that the encoders were trained on, in the usual order; not the lack of one."""
    return in_order((one.features for one in classifiers if one.features in FEATURES_ORDER), FEATURES_ORDER)


def ordered(body: Iterable[tuple[Entry, ...]]) -> tuple[tuple[Entry, ...], ...]:
    """Return a table's rows by paradigm and set, otherwise as they came."""
    return tuple(sorted(body, key=lambda row: (place(row[0], PARADIGM_ORDER), place(row[1], FEATURES_ORDER))))


def place(entry: Entry, order: Sequence[str]) -> int:
    """Return where a name stands in an order; an unknown one stands last."""
    return order.index(entry) if entry in order else len(order)
