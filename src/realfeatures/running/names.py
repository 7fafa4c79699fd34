"""The name of a run, which names its report in an object store and its run on Kubeflow."""

import re
from datetime import UTC, datetime

from realfeatures.errors import ConfigError

RUN_NAME = re.compile(r"[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?")
"""A Kubernetes label's value, in lower case, since some file systems take no other for different."""

RUN_TIME = "[[ScheduledTime]]"
"""In the name of a recurring run: Kubeflow puts the UTC time of each run in its place, as 20060102150405
(kubeflow/pipelines, backend/src/common/util/parameter_formatter.go), but not in every release (issue #12494)."""


def timed_name(name: str) -> str:
    """Return a run's name with the time in UTC where Kubeflow left its placeholder for it."""
    return name.replace(RUN_TIME, datetime.now(UTC).strftime("%Y%m%d%H%M%S"))


def check_run_name(name: str) -> None:
    """Refuse a run name that is no part of a file's, an object's and a Kubernetes label's name.

    Raises:
        ConfigError: it has other characters, or too many.
    """
    if not RUN_NAME.fullmatch(name):
        raise ConfigError(
            f"run name {name!r}: expected 1 to 63 lower-case letters, digits, '-', '_' and '.',"
            " with a letter or digit at both ends"
        )
