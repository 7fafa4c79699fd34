"""Where log lines go, and their form: plain lines for a person, JSON lines for a cluster's log collector."""

import json
import logging
import os
import sys
import time
from datetime import UTC, datetime

FORMAT_VARIABLE = "REALFEATURES_LOG"
"""Set to `json`, every line of the log is one JSON object; pods set it."""

LINE_SECONDS = 60.0
"""Time between two lines of progress where there is no terminal."""


class Pace:
    """Tells whether it is time to say something again, so that a step of a millisecond makes no line of its own."""

    def __init__(self, seconds: float = LINE_SECONDS) -> None:
        self.seconds = seconds
        self.said_at = time.monotonic()

    def is_due(self) -> bool:
        """Return whether `seconds` have gone by since the start, or since it last was time."""
        now = time.monotonic()
        due = now - self.said_at >= self.seconds
        if due:
            self.said_at = now
        return due


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message and, of an exception, its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content)


class _CurrentStderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what sys.stderr is at the time: a progress display puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def log_to_stderr() -> None:
    """Send the package's log to the standard error, once."""
    package = logging.getLogger("realfeatures")
    if any(isinstance(handler, _CurrentStderr) for handler in package.handlers):
        return
    handler = _CurrentStderr()
    # A terminal has bars instead of a line a minute.
    handler.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    json_lines = os.environ.get(FORMAT_VARIABLE) == "json"
    handler.setFormatter(JsonLines() if json_lines else logging.Formatter("%(message)s"))
    package.setLevel(logging.DEBUG)
    package.addHandler(handler)
