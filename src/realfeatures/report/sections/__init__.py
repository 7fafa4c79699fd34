"""The sections of the report that results.json alone gives, in their order; each file holds words, table and figure."""

from realfeatures.report.section import Section
from realfeatures.report.sections import (
    augmentation,
    claims,
    controls,
    decomposition,
    ilyas,
    masking,
    origins,
    published,
    robustness,
    transfer,
    usefulness,
)
from realfeatures.report.tables import Table
from realfeatures.results.rows import Content

ORDER = (
    claims.section,
    usefulness.section,
    robustness.section,
    origins.section,
    augmentation.section,
    transfer.section,
    ilyas.section,
    decomposition.section,
    controls.section,
    masking.section,
    published.section,
)


def sections(results: Content) -> list[Section]:
    """Return the sections that a run has: none of an experiment that it did not choose."""
    return [section for build in ORDER if (section := build(results))]


def tables(results: Content) -> dict[str, Table]:
    """Return the tables that have rows by name: a section's first by the section's, such as `robustness`.

    The others are named with their heading: `robustness: The sources`.
    """
    named: dict[str, Table] = {}
    for section in sections(results):
        for part in section.parts:
            if part.table and part.table.rows:
                named[section.name if section.name not in named else f"{section.name}: {part.title}"] = part.table
    return named
