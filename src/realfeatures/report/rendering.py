"""The reports' templates, and how they write a number."""

from pathlib import Path
from typing import TYPE_CHECKING

from realfeatures.report.diagram import duration
from realfeatures.report.tables import MINUS, Accuracy, Entry
from realfeatures.results.drift import p_text, setting_text
from realfeatures.results.statistics.intervals import Interval

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"
NOT_MEASURED = "—"


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
        "duration": duration,
        "md": _markdown,
        "text": entry_text,
        "percent": interval_text,
        "p_value": p_text,
    }
    found.globals |= {"setting_text": setting_text}
    found.tests["accuracy"] = lambda entry: isinstance(entry, Accuracy)
    return found


def entry_text(entry: Entry) -> str:
    """Return a table's entry in one line: `68.6 [60.1, 75.3]` in percent, or an em dash."""
    if entry is None:
        return NOT_MEASURED
    if isinstance(entry, str):
        return entry
    return interval_text(entry.interval)


def interval_text(interval: Interval) -> str:
    """Return an interval of fractions in percent: `68.6 [60.1, 75.3]`."""
    value, low, high = (100 * x for x in (interval.value, interval.low, interval.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]".replace("-", MINUS)


def _markdown(text: object) -> str:
    """Return a text that Markdown shows as it is, also in a table."""
    escaped = str(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return escaped.replace("*", "\\*").replace("_", "\\_").replace("`", "\\`").replace("\n", " ")
