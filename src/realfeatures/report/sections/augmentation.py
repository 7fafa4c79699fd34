"""E4: what augmentation in the linear probe changes."""

from realfeatures.experiment.vocabulary import Experiment, Readout
from realfeatures.report.section import Part, Section
from realfeatures.report.sections.masking import warnings
from realfeatures.report.subjects import entries, ordered, self_supervised
from realfeatures.report.tables import Table, control_name, threat_name
from realfeatures.results.rows import Lookup, Results, chosen

_WORDS = (
    "Clean and robust accuracy of each self-supervised encoder, in percent, by the augmentation of the images that its"
    " linear probe is fitted to. Without one the probe sees each image once, as it is: those rows are the control for"
    " all others."
)


def section(results: Results) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.E4):
        return None
    planned = Lookup(results).planned(Experiment.E4)
    part = Part(words=(_WORDS,), warnings=warnings(results, planned), table=table(results))
    return Section("augmentation", "Augmentation", "E4 · Augmentation in the linear probe", (part,))


def table(results: Results) -> Table:
    """Clean and robust accuracy of each self-supervised encoder by the augmentation of its linear probe."""
    lookup = Lookup(results)
    subjects = self_supervised(lookup.planned(Experiment.E4))
    threats = lookup.threats(subjects)
    body = [(one.paradigm, one.features, _name(one.readout), *entries(lookup, one, threats)) for one in subjects]
    return Table(("paradigm", "features", "augmentation", *map(threat_name, threats)), ordered(body), stubs=3)


def _name(readout: str) -> str:
    return "none" if readout == Readout.LINEAR_PROBE else control_name(readout)
