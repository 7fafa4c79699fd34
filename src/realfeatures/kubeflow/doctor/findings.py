"""What a check of a cluster finds: ok, a problem with its remedy, or that it cannot be told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from realfeatures.errors import ForbiddenError, NoClusterError, RealFeaturesError


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    """It could not be made; a run may work all the same."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor."""

    check: str
    outcome: Outcome
    text: str
    remedy: str = ""


Check = Callable[[], Finding]


def ok(check: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Outcome.OK, text)


def problem(check: str, text: str, remedy: str) -> Finding:
    """Return what is wrong and what to do about it."""
    return Finding(check, Outcome.PROBLEM, text, remedy)


def unknown(check: str, text: str, remedy: str = "") -> Finding:
    """Return why it cannot be told."""
    return Finding(check, Outcome.UNKNOWN, text, remedy)


def parts(error: RealFeaturesError) -> tuple[str, str]:
    """Return what is wrong, and the remedy that an error's line ends with."""
    text, _, remedy = str(error).partition("; ")
    return text, remedy


def examine(checks: dict[str, Check]) -> Iterator[Finding]:
    """Make the checks one by one; one that fails hides no other."""
    told = False
    for name, check in checks.items():
        try:
            yield check()
        except NoClusterError as error:
            yield unknown(name, "skipped: no cluster") if told else problem(name, *parts(error))
            told = True
        except ForbiddenError as error:
            # A run may work all the same: it does not need what only looks.
            yield unknown(name, *parts(error))
        except RealFeaturesError as error:
            yield problem(name, *parts(error))
