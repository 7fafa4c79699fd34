"""The controls: other readouts, other timesteps, attacks without labels, nothing learned."""

import re
from collections.abc import Collection

from realfeatures.experiment.vocabulary import UNTRAINED, Control, Experiment, Readout
from realfeatures.report.section import Part, Section, with_rows
from realfeatures.report.sections.masking import warnings
from realfeatures.report.subjects import PARADIGM_ORDER, entries, ordered, probed, self_supervised, trained
from realfeatures.report.tables import CLEAN, NOT_PLANNED, Entry, Table, Threat, control_name, threat_name
from realfeatures.results.rows import Lookup, Results, Subject, chosen, subject

AUGMENTED = (Readout.CROP_FLIP, Readout.SIMCLR, Readout.NOISE)
"""Probes that see `probe_views` augmented copies of each image, whose representations are extracted once."""

_TIMESTEP = re.compile(rf"{Readout.LINEAR_PROBE}_t(\d+)")

_NEIGHBOURS = (
    "If a set's labels could be read off the representation, though not linearly, nearest neighbours would be far above"
    " the linear classifier."
)
_VIEWS = (
    "Clean accuracy of a probe that sees each image once, as it is, beside probes that see several augmented copies of"
    " each. All representations are extracted once, and not anew in every epoch."
)
_TIMESTEPS = "The paper reads a diffusion encoder at one timestep; another may hold more of the class."
_LABEL_FREE = (
    "PGD that moves the representation as far as it can, whatever the label: if it lowers the accuracy as much as the"
    " attack on the loss, the encoder is what is not robust, and not the probe."
)
_NOTHING = "A set on which raw pixels or an untrained encoder do well says little of a trained one."


def section(results: Results) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.CONTROLS):
        return None
    attacked = warnings(results, Lookup(results).planned(Experiment.CONTROLS))
    parts = with_rows(
        Part("Nearest neighbours", (_NEIGHBOURS,), table=neighbours(results)),
        Part("One view of each image, or several augmented ones", (_VIEWS,), table=probe_views(results)),
        Part("The timestep of a diffusion encoder", (_TIMESTEPS,), table=timesteps(results)),
        Part("An attack without labels", (_LABEL_FREE,), warnings=attacked, table=label_free(results)),
        Part("What learned nothing", (_NOTHING,), table=nothing_learned(results)),
    )
    return Section("controls", "Controls", "Controls", parts)


def neighbours(results: Results) -> Table:
    """Clean accuracy of nearest neighbours on the training set's representations, beside a linear probe.

    Where a supervised encoder has no probe, its own head stands there.
    """
    lookup = Lookup(results)
    body = []
    for one in lookup.planned(Experiment.CONTROLS):
        if one.readout == Readout.KNN:
            linear = probed(one.paradigm, one.features, one.probe_features)
            if lookup.entry(linear) == NOT_PLANNED:
                linear = subject(one.paradigm, one.features, one.probe_features)
            numbers = lookup.entry(linear), lookup.entry(one)
            body.append((one.paradigm, one.features, one.probe_features, control_name(linear.readout), *numbers))
    columns = ("paradigm", "encoder on", "fitted to", "classifier", "its accuracy", "nearest neighbours")
    return Table(columns, ordered(body), stubs=4)


def probe_views(results: Results) -> Table:
    """Clean accuracy of a probe on one view of each image, beside probes on several augmented ones."""
    lookup = Lookup(results)
    body: dict[tuple[str, str], tuple[Entry, ...]] = {}
    for one in self_supervised(lookup.planned(Experiment.E4)):
        plain = subject(one.paradigm, one.features)
        augmented = (subject(one.paradigm, one.features, readout=readout) for readout in AUGMENTED)
        body[one.paradigm, one.features] = (lookup.entry(plain), *(lookup.entry(other) for other in augmented))
    columns = ("paradigm", "features", "one view", *(f"augmented: {control_name(one)}" for one in AUGMENTED))
    return Table(columns, ordered((*names, *numbers) for names, numbers in body.items()), stubs=2)


def timesteps(results: Results) -> Table:
    """Clean accuracy of a linear probe by the timestep that the diffusion encoder is read at."""
    lookup = Lookup(results)
    swept = [one for one in lookup.planned(Experiment.CONTROLS) if timestep_of(one) is not None]
    steps = sorted({step for one in swept if (step := timestep_of(one)) is not None})
    pairs = dict.fromkeys((one.paradigm, one.features, one.probe_features) for one in swept)
    body = [
        (
            *pair,
            lookup.entry(subject(*pair)),
            *(lookup.entry(subject(*pair, readout=f"{Readout.LINEAR_PROBE}_t{step}")) for step in steps),
        )
        for pair in pairs
    ]
    usual = results["preset"]["config"]["diffusion"]["timestep"]
    columns = ("paradigm", "encoder on", "probe on", f"t = {usual}, as elsewhere", *(f"t = {step}" for step in steps))
    return Table(columns, ordered(body), stubs=3)


def label_free(results: Results) -> Table:
    """Accuracy under an attack on the representation alone, beside the attack on the loss."""
    lookup = Lookup(results)
    subjects = [
        one
        for one in trained(lookup.planned(Experiment.CONTROLS))
        if lookup.label_free(one) and timestep_of(one) is None
    ]
    free = sorted({threat for one in subjects for threat in lookup.label_free(one)})
    balls = {threat[1:] for threat in free}
    usual = [threat for threat in lookup.threats(subjects) if threat == CLEAN or _is_pgd(threat, balls)]
    threats = [*usual, *free]
    body = [(one.paradigm, one.features, *entries(lookup, one, threats)) for one in subjects]
    return Table(("paradigm", "features", *map(threat_name, threats)), ordered(body), stubs=2)


def nothing_learned(results: Results) -> Table:
    """Accuracy of raw pixels and of untrained encoders, by the set that their probe was fitted to."""
    lookup = Lookup(results)
    subjects = [one for one in _all_planned(lookup) if one.paradigm == Control.PIXELS or one.features == UNTRAINED]
    subjects.sort(key=lambda one: PARADIGM_ORDER.index(one.paradigm))  # stable: the sets keep the grid's order
    threats = lookup.threats(subjects)
    body = [
        (
            control_name(Control.PIXELS) if one.paradigm == Control.PIXELS else f"{one.paradigm}, untrained",
            one.probe_features,
            *entries(lookup, one, threats),
        )
        for one in subjects
    ]
    return Table(("control", "probe fitted to", *map(threat_name, threats)), tuple(body), stubs=2)


def timestep_of(one: Subject) -> int | None:
    """Return the timestep that a subject's diffusion encoder is read at, or None where it is the usual one."""
    found = _TIMESTEP.fullmatch(one.readout)
    return int(found[1]) if found else None


def _is_pgd(threat: Threat, balls: Collection[tuple[str, float]]) -> bool:
    return threat[0] == "pgd" and threat[1:] in balls


def _all_planned(lookup: Lookup) -> list[Subject]:
    return list(dict.fromkeys(one for experiment in Experiment for one in lookup.planned(experiment)))
