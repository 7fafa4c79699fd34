"""E4: what augmentation in the linear probe changes."""

from realfeatures.experiment.vocabulary import Experiment, Readout
from realfeatures.experiment.wording import control_name, threat_name
from realfeatures.report.classifiers import ordered, self_supervised
from realfeatures.report.section import Part, Section
from realfeatures.report.sections.masking import warnings
from realfeatures.report.tables import Table
from realfeatures.results.rows import Content, Rows, chosen

_WORDS = (
    "Clean and robust accuracy of each self-supervised encoder, in percent, by the augmentation of the images that its"
    " linear probe is fitted to. Without one the probe sees each image once, as it is: those rows are the control for"
    " all others."
)


def section(results: Content) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.E4):
        return None
    planned = Rows.of(results).planned(Experiment.E4)
    part = Part(words=(_WORDS,), warnings=warnings(results, planned), table=table(results))
    return Section("augmentation", "Augmentation", "E4 · Augmentation in the linear probe", (part,))


def table(results: Content) -> Table:
    """Clean and robust accuracy of each self-supervised encoder by the augmentation of its linear probe."""
    rows = Rows.of(results)
    classifiers = self_supervised(rows.planned(Experiment.E4))
    threats = rows.threats(classifiers)
    body = [(one.paradigm, one.features, _name(one.readout), *rows.entries(one, threats)) for one in classifiers]
    return Table(("paradigm", "features", "augmentation", *map(threat_name, threats)), ordered(body), stubs=3)


def _name(readout: str) -> str:
    return "none" if readout == Readout.LINEAR_PROBE else control_name(readout)
