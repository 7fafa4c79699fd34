"""E3: where non-robust features come from, and where they are of use."""

from realfeatures.experiment.vocabulary import NON_ROBUST_OF, Experiment
from realfeatures.report.section import Part, Section
from realfeatures.report.subjects import NATURAL, paradigms_of
from realfeatures.report.tables import Table, percent
from realfeatures.results.rows import Lookup, Results, chance, chosen, subject

_WORDS = (
    "Clean accuracy on natural test images, in percent. Rows: the paradigm whose natural encoder made the non-robust"
    " set. Columns: the paradigm that is trained on it, with its usual classifier fitted to that set."
)


def section(results: Results) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.E3):
        return None
    part = Part(words=(_WORDS,), table=table(results))
    return Section("origins", "Origin", "E3 · Where non-robust features come from, and where they are of use", (part,))


def table(results: Results) -> Table:
    """Accuracy of each paradigm on the non-robust features of each, beside natural and chance."""
    lookup = Lookup(results)
    planned = lookup.planned(Experiment.E3)
    targets = paradigms_of(planned)
    body = [
        (paradigm, features.value, *(lookup.entry(subject(target, features)) for target in targets))
        for paradigm, features in NON_ROBUST_OF.items()
        if any(one.features == features for one in planned)
    ]
    natural = ("natural images", NATURAL, *(lookup.entry(subject(target, NATURAL)) for target in targets))
    guessing = None if (fraction := chance(results)) is None else percent(fraction)
    rows = (*body, natural, ("chance", "", *(guessing for _ in targets)))
    return Table(("features of", "set", *(f"→ {target}" for target in targets)), rows, stubs=2)
