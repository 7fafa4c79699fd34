"""The controls: other readouts, other timesteps, attacks without labels, nothing learned."""

from collections.abc import Collection
from dataclasses import replace

from realfeatures.experiment.measurement import CLEAN, Measurement, Threat, matched, probed
from realfeatures.experiment.vocabulary import AUGMENTED, UNTRAINED, Attack, Control, Experiment, Readout
from realfeatures.experiment.wording import control_name, threat_name
from realfeatures.report.classifiers import ordered, self_supervised, trained
from realfeatures.report.section import Part, Section, with_rows
from realfeatures.report.sections.masking import warnings
from realfeatures.report.tables import Entry, Table
from realfeatures.results.rows import NOT_PLANNED, PARADIGM_ORDER, Content, Rows, chosen

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


def section(results: Content) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.CONTROLS):
        return None
    attacked = warnings(results, Rows.of(results).planned(Experiment.CONTROLS))
    parts = with_rows(
        Part("Nearest neighbours", (_NEIGHBOURS,), table=neighbours(results)),
        Part("One view of each image, or several augmented ones", (_VIEWS,), table=probe_views(results)),
        Part("The timestep of a diffusion encoder", (_TIMESTEPS,), table=timesteps(results)),
        Part("An attack without labels", (_LABEL_FREE,), warnings=attacked, table=label_free(results)),
        Part("What learned nothing", (_NOTHING,), table=nothing_learned(results)),
    )
    return Section("controls", "Controls", "Controls", parts)


def neighbours(results: Content) -> Table:
    """Clean accuracy of nearest neighbours on the training set's representations, beside a linear probe.

    Where a supervised encoder has no probe, its own head stands there.
    """
    rows = Rows.of(results)
    body = []
    for one in rows.planned(Experiment.CONTROLS):
        if one.readout == Readout.KNN:
            linear = probed(one.paradigm, one.features, one.probe_features)
            if rows.entry(linear) == NOT_PLANNED:
                linear = replace(linear, readout=linear.usual_readout)
            numbers = rows.entry(linear), rows.entry(one)
            body.append((one.paradigm, one.features, one.probe_features, control_name(linear.readout), *numbers))
    columns = ("paradigm", "encoder on", "fitted to", "classifier", "its accuracy", "nearest neighbours")
    return Table(columns, ordered(body), stubs=4)


def probe_views(results: Content) -> Table:
    """Clean accuracy of a probe on one view of each image, beside probes on several augmented ones."""
    rows = Rows.of(results)
    body: dict[tuple[str, str], tuple[Entry, ...]] = {}
    for one in self_supervised(rows.planned(Experiment.E4)):
        plain = matched(one.paradigm, one.features)
        augmented = (matched(one.paradigm, one.features, readout=readout) for readout in AUGMENTED)
        body[one.paradigm, one.features] = (rows.entry(plain), *(rows.entry(other) for other in augmented))
    columns = ("paradigm", "features", "one view", *(f"augmented: {control_name(one)}" for one in AUGMENTED))
    return Table(columns, ordered((*names, *numbers) for names, numbers in body.items()), stubs=2)


def timesteps(results: Content) -> Table:
    """Clean accuracy of a linear probe by the timestep that the diffusion encoder is read at."""
    rows = Rows.of(results)
    swept = [one for one in rows.planned(Experiment.CONTROLS) if one.timestep is not None]
    steps = sorted({one.timestep for one in swept if one.timestep is not None})
    body = [
        (
            *(one.paradigm, one.features, one.probe_features),
            *(rows.entry(replace(one, timestep=step)) for step in (None, *steps)),
        )
        for one in dict.fromkeys(replace(one, timestep=None) for one in swept)
    ]
    usual = results["preset"]["config"]["diffusion"]["timestep"]
    columns = ("paradigm", "encoder on", "probe on", f"t = {usual}, as elsewhere", *(f"t = {step}" for step in steps))
    return Table(columns, ordered(body), stubs=3)


def label_free(results: Content) -> Table:
    """Accuracy under an attack on the representation alone, beside the attack on the loss."""
    rows = Rows.of(results)
    classifiers = [
        one for one in trained(rows.planned(Experiment.CONTROLS)) if rows.label_free(one) and one.timestep is None
    ]
    free = sorted({threat for one in classifiers for threat in rows.label_free(one)})
    balls = {(threat.norm, threat.epsilon) for threat in free}
    usual = [threat for threat in rows.threats(classifiers) if threat == CLEAN or _is_pgd(threat, balls)]
    threats = [*usual, *free]
    body = [(one.paradigm, one.features, *rows.entries(one, threats)) for one in classifiers]
    return Table(("paradigm", "features", *map(threat_name, threats)), ordered(body), stubs=2)


def nothing_learned(results: Content) -> Table:
    """Accuracy of raw pixels and of untrained encoders, by the set that their probe was fitted to."""
    rows = Rows.of(results)
    classifiers = [one for one in _all_planned(rows) if one.paradigm == Control.PIXELS or one.features == UNTRAINED]
    classifiers.sort(key=lambda one: PARADIGM_ORDER.index(one.paradigm))  # stable: the sets keep the grid's order
    threats = rows.threats(classifiers)
    body = [
        (
            control_name(Control.PIXELS) if one.paradigm == Control.PIXELS else f"{one.paradigm}, untrained",
            one.probe_features,
            *rows.entries(one, threats),
        )
        for one in classifiers
    ]
    return Table(("control", "probe fitted to", *map(threat_name, threats)), tuple(body), stubs=2)


def _is_pgd(threat: Threat, balls: Collection[tuple[str, float]]) -> bool:
    return threat.attack == Attack.PGD and (threat.norm, threat.epsilon) in balls


def _all_planned(rows: Rows) -> list[Measurement]:
    return list(dict.fromkeys(one for experiment in Experiment for one in rows.planned(experiment)))
