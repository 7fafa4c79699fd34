"""E6: standard supervised training on the sets of Ilyas et al. (arXiv 1905.02175)."""

from realfeatures.experiment.vocabulary import Experiment, Features, Readout
from realfeatures.experiment.wording import threat_name
from realfeatures.report.classifiers import features_of, trained
from realfeatures.report.section import Part, Section
from realfeatures.report.sections.masking import warnings
from realfeatures.report.tables import Table
from realfeatures.results.rows import Content, Rows, chosen

_WORDS = (
    "Standard supervised training on each of the sets of Ilyas et al. (arXiv 1905.02175), own head, accuracy on natural"
    " test images in percent. The controls say how much of it needs the perturbations (labels of d_rand on images"
    " without them), the labels (shuffled), or a natural image to start from (noise)."
)
_CONTROLS = {
    Features.SHUFFLED: "natural images, labels shuffled",
    Features.D_RAND_LABELS: "natural images, the labels of d_rand",
    Features.NON_ROBUST_NOISE: "as non_robust, started at noise",
}


def section(results: Content) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.E6):
        return None
    planned = Rows.of(results).planned(Experiment.E6)
    part = Part(words=(_WORDS,), warnings=warnings(results, planned), table=table(results))
    return Section("ilyas", "Ilyas et al.", "E6 · Standard training on the sets of Ilyas et al.", (part,))


def table(results: Content) -> Table:
    """Clean and robust accuracy of standard supervised training on each of the sets and on the controls."""
    rows = Rows.of(results)
    classifiers = [one for one in trained(rows.planned(Experiment.E6)) if one.readout == Readout.OWN_HEAD]
    threats = rows.threats(classifiers)
    by_set = {one.features: one for one in classifiers}
    body = [
        (features, _CONTROLS.get(Features(features), ""), *rows.entries(by_set[features], threats))
        for features in features_of(classifiers)
    ]
    return Table(("trained on", "control", *map(threat_name, threats)), tuple(body), stubs=2)
