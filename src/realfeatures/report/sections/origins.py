"""E3: where non-robust features come from, and where they are of use."""

from realfeatures.experiment.measurement import matched
from realfeatures.experiment.vocabulary import NON_ROBUST_OF, Experiment, Features
from realfeatures.experiment.wording import percent
from realfeatures.report.section import Part, Section
from realfeatures.report.tables import Table
from realfeatures.results.rows import Content, Rows, chance, chosen, paradigms_of

_WORDS = (
    "Clean accuracy on natural test images, in percent. Rows: the paradigm whose natural encoder made the non-robust"
    " set. Columns: the paradigm that is trained on it, with its usual classifier fitted to that set."
)


def section(results: Content) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.E3):
        return None
    part = Part(words=(_WORDS,), table=table(results))
    return Section("origins", "Origin", "E3 · Where non-robust features come from, and where they are of use", (part,))


def table(results: Content) -> Table:
    """Accuracy of each paradigm on the non-robust features of each, beside natural and chance."""
    rows = Rows.of(results)
    planned = rows.planned(Experiment.E3)
    targets = paradigms_of(planned)
    body = [
        (paradigm, features.value, *(rows.entry(matched(target, features)) for target in targets))
        for paradigm, features in NON_ROBUST_OF.items()
        if any(one.features == features for one in planned)
    ]
    natural = (
        "natural images",
        Features.NATURAL,
        *(rows.entry(matched(target, Features.NATURAL)) for target in targets),
    )
    guessing = None if (fraction := chance(results)) is None else percent(fraction)
    lines = (*body, natural, ("chance", "", *(guessing for _ in targets)))
    return Table(("features of", "set", *(f"→ {target}" for target in targets)), lines, stubs=2)
