"""The templates that draw sections, and the filters by which they write an entry."""

from pathlib import Path
from typing import TYPE_CHECKING

from realfeatures.experiment.wording import percent
from realfeatures.report import tables
from realfeatures.results.rows import Accuracy
from realfeatures.results.statistics.intervals import Interval

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"


def environment(*, escape: bool) -> "Environment":
    """Return the templates of the reports, HTML's escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=escape,  # noqa: S701 - off for Markdown alone, whose template escapes by its own filter
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "count_text": _count,
        "duration": tables.duration,
        "md": _markdown,
        "percent": percent,
        "text": tables.entry_text,
    }
    found.globals |= {"not_measured": tables.NOT_MEASURED}
    for kind in (Accuracy, tables.Badge, Interval, tables.Noted, tables.Sentences):
        found.tests[kind.__name__.lower()] = lambda entry, kind=kind: isinstance(entry, kind)
    return found


def _count(number: int | None) -> str:
    return tables.NOT_MEASURED if number is None else f"{number:,}"


def _markdown(text: object) -> str:
    """Return a text that Markdown shows as it is, also in a table."""
    escaped = str(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return escaped.replace("*", "\\*").replace("_", "\\_").replace("`", "\\`").replace("\n", " ")
