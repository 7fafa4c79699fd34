"""Which classifiers the tables show, in which order, and a row of them: what the sections share."""

from collections.abc import Iterable, Sequence

from realfeatures.experiment.vocabulary import ADVERSARIAL, Control, Features, Paradigm, Readout
from realfeatures.report.tables import Entry, Threat
from realfeatures.results.rows import Lookup, Subject, in_order, subject

NATURAL = Features.NATURAL.value
PARADIGM_ORDER = (*Paradigm, *Control, ADVERSARIAL)
FEATURES_ORDER = tuple(Features)


def trained(subjects: Iterable[Subject]) -> list[Subject]:
    """Return subjects whose encoder a paradigm trained on a set: no source, no raw pixels, none untrained."""
    return [one for one in subjects if one.paradigm in tuple(Paradigm) and one.features in FEATURES_ORDER]


def self_supervised(subjects: Iterable[Subject]) -> list[Subject]:
    """Return subjects whose encoder was trained without labels."""
    return [one for one in trained(subjects) if one.paradigm != Paradigm.SUPERVISED]


def probed(paradigm: str, features: str, probe_features: str) -> Subject:
    """Return an encoder under a linear probe, supervised ones too: own heads would differ in more than the set."""
    return subject(paradigm, features, probe_features, readout=Readout.LINEAR_PROBE)


def entries(lookup: Lookup, one: Subject, threats: Iterable[Threat]) -> tuple[Entry, ...]:
    """Return a subject's accuracy under each attack."""
    return tuple(lookup.entry(one, threat) for threat in threats)


def paradigms_of(subjects: Iterable[Subject]) -> list[str]:
    """Return the paradigms of some subjects, without controls and sources."""
    return in_order((one.paradigm for one in subjects if one.paradigm in tuple(Paradigm)), PARADIGM_ORDER)


def features_of(subjects: Iterable[Subject]) -> list[str]:
    """Return the sets that the encoders of some subjects were trained on, in the usual order; not the lack of one."""
    return in_order((one.features for one in subjects if one.features in FEATURES_ORDER), FEATURES_ORDER)


def ordered(body: Iterable[tuple[Entry, ...]]) -> tuple[tuple[Entry, ...], ...]:
    """Return a table's rows by paradigm and set, otherwise as they came."""
    return tuple(sorted(body, key=lambda row: (place(row[0], PARADIGM_ORDER), place(row[1], FEATURES_ORDER))))


def place(entry: Entry, order: Sequence[str]) -> int:
    """Return where a name stands in an order; an unknown one stands last."""
    return order.index(entry) if entry in order else len(order)
