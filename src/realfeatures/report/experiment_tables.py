"""The tables of E1, E2, E3, E4 and E6 from results.json."""

from collections.abc import Iterable, Sequence

from realfeatures.experiment.experiments import NONE
from realfeatures.experiment.vocabulary import (
    ADVERSARIAL,
    NON_ROBUST_OF,
    STANDARD,
    UNTRAINED,
    Control,
    Experiment,
    Features,
    Paradigm,
    Readout,
)
from realfeatures.report.tables import (
    Entry,
    Table,
    Threat,
    control_name,
    threat_name,
    without_empty_columns,
)
from realfeatures.results.rows import (
    Lookup,
    Results,
    Subject,
    in_order,
    subject,
)

NATURAL = Features.NATURAL.value

PARADIGM_ORDER = (*Paradigm, *Control, ADVERSARIAL)
FEATURES_ORDER = tuple(Features)

DEPARTED = {
    Features.SHUFFLED: "natural images, labels shuffled",
    Features.D_RAND_LABELS: "natural images, the labels of d_rand",
    Features.NON_ROBUST_NOISE: "as non_robust, started at noise",
}
"""Controls of E6, in words."""


def usefulness(results: Results) -> Table:
    """Clean accuracy of each paradigm on each set, with the probe fitted to that set and to natural images (E1)."""
    lookup = Lookup(results)
    subjects = lookup.planned(Experiment.E1)
    sets = features_of(subjects)
    mixed = [*(features for features in sets if features != NATURAL), UNTRAINED]

    def line(paradigm: str) -> tuple[Entry, ...]:
        matched = (lookup.entry(subject(paradigm, features)) for features in sets)
        on_natural = (lookup.entry(subject(paradigm, features, NATURAL)) for features in mixed)
        return (control_name(paradigm), *matched, *on_natural)

    pixels = [lookup.entry(subject(Control.PIXELS, NONE, features)) for features in sets]
    controls = [(control_name(Control.PIXELS), *pixels, *("" for _ in mixed))] if any(pixels) else []
    columns = ("encoder", *sets, *(f"{features} → {NATURAL}" for features in mixed))
    return without_empty_columns(Table(columns, (*map(line, paradigms_of(subjects)), *controls)))


def robustness(results: Results, protocol: str) -> Table:
    """Accuracy of each matched cell under each attack, started from the images of a protocol (E2)."""
    lookup = Lookup(results)
    subjects = [one for one in trained(lookup.planned(Experiment.E2)) if one.protocol == protocol]
    threats = lookup.threats(subjects)
    body = [(one.paradigm, one.features, *entries(lookup, one, threats)) for one in subjects]
    return Table(("paradigm", "features", *map(threat_name, threats)), ordered(body), stubs=2)


def sources(results: Results) -> Table:
    """Accuracy under each attack of the models whose features the crafted sets copy."""
    lookup = Lookup(results)
    made = _made_with(results)
    models = {source: subject(source, NATURAL) for source in in_order(made, (ADVERSARIAL, STANDARD, *Paradigm))}
    threats = lookup.threats(models.values())
    body = [
        (control_name(source), ", ".join(made[source]), *entries(lookup, model, threats))
        for source, model in models.items()
    ]
    return Table(("source", "makes", *map(threat_name, threats)), tuple(body), stubs=2)


def _made_with(results: Results) -> dict[str, list[str]]:
    """Return the crafted sets by the source whose features they copy."""
    by_address = {cell["address"]: str(cell["labels"].get("paradigm")) for cell in results["cells"]}
    made: dict[str, list[str]] = {}
    for cell in results["cells"]:
        if cell["labels"]["role"] == "images" and "source" in cell["inputs"]:
            made.setdefault(by_address[cell["inputs"]["source"]], []).append(str(cell["labels"]["features"]))
    return {source: in_order(sets, FEATURES_ORDER) for source, sets in made.items()}


def origins(results: Results, chance: float | None) -> Table:
    """Accuracy of each paradigm on the non-robust features of each, beside natural and chance (E3)."""
    lookup = Lookup(results)
    planned = lookup.planned(Experiment.E3)
    targets = paradigms_of(planned)
    body = [
        (paradigm, features.value, *(lookup.entry(subject(target, features)) for target in targets))
        for paradigm, features in NON_ROBUST_OF.items()
        if any(one.features == features for one in planned)
    ]
    natural = ("natural images", NATURAL, *(lookup.entry(subject(target, NATURAL)) for target in targets))
    guessing = ("chance", "", *(percent_of(chance) for _ in targets))
    return Table(("features of", "set", *(f"→ {target}" for target in targets)), (*body, natural, guessing), stubs=2)


def augmentation(results: Results) -> Table:
    """Clean and robust accuracy of each self-supervised encoder by the augmentation of its linear probe (E4)."""
    lookup = Lookup(results)
    subjects = self_supervised(lookup.planned(Experiment.E4))
    threats = lookup.threats(subjects)
    body = [
        (one.paradigm, one.features, augmentation_name(one.readout), *entries(lookup, one, threats)) for one in subjects
    ]
    return Table(("paradigm", "features", "augmentation", *map(threat_name, threats)), ordered(body), stubs=3)


def ilyas(results: Results) -> Table:
    """Standard supervised training on each of Ilyas' sets and on the controls (E6)."""
    lookup = Lookup(results)
    subjects = [one for one in trained(lookup.planned(Experiment.E6)) if one.readout == Readout.OWN_HEAD]
    threats = lookup.threats(subjects)
    by_set = {one.features: one for one in subjects}
    body = [
        (features, DEPARTED.get(Features(features), ""), *entries(lookup, by_set[features], threats))
        for features in features_of(subjects)
    ]
    return Table(("trained on", "control", *map(threat_name, threats)), tuple(body), stubs=2)


def trained(subjects: Iterable[Subject]) -> list[Subject]:
    """Return subjects whose encoder a paradigm trained on a set: no source, no raw pixels, none untrained."""
    return [one for one in subjects if one.paradigm in tuple(Paradigm) and one.features in FEATURES_ORDER]


def self_supervised(subjects: Iterable[Subject]) -> list[Subject]:
    """Return subjects whose encoder was trained without labels."""
    return [one for one in trained(subjects) if one.paradigm != Paradigm.SUPERVISED]


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

    def place(row: Sequence[Entry]) -> tuple[int, int]:
        return _place(row[0], PARADIGM_ORDER), _place(row[1], FEATURES_ORDER)

    return tuple(sorted(body, key=place))


def augmentation_name(readout: str) -> str:
    """Return the augmentation of a linear probe in words."""
    return "none" if readout == Readout.LINEAR_PROBE else control_name(readout)


def percent_of(fraction: float | None) -> str | None:
    """Return a fraction that has no interval, as percent."""
    return None if fraction is None else f"{100 * fraction:.1f}"


def _place(entry: Entry, order: Sequence[str]) -> int:
    return order.index(entry) if entry in order else len(order)
