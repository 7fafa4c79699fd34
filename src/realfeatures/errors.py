"""The errors that reach a person as one line; anything else that surfaces is a bug and keeps its traceback.

And what is done before one does: `attempt` tries again what may go well the next time.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class RealFeaturesError(Exception):
    """An error whose text names the value, what was expected and the remedy, in one line."""


class ConfigError(RealFeaturesError):
    """A preset, an override or a command-line value is not usable."""


class DataError(RealFeaturesError):
    """A data source is missing, unreadable or not shaped as a labelled image set."""


class ArtifactError(RealFeaturesError):
    """An artifact is missing, incomplete, of the wrong kind, or its bytes were changed."""


class StorageError(RealFeaturesError):
    """A folder cannot be written: disk full, no permission, or in use by another run."""


class StoreUnavailableError(StorageError):
    """The object store cannot be reached or keeps failing: the same command may work later."""


class MissingObjectError(StorageError):
    """The object store has no such object."""


class CorruptObjectError(StorageError):
    """An object's bytes are not those that were put there."""


class ClusterError(RealFeaturesError):
    """Kubernetes or Kubeflow cannot be reached, or refuses."""


class NoClusterError(ClusterError):
    """No cluster is configured."""


class MissingError(ClusterError):
    """The cluster has no such thing."""


class ForbiddenError(ClusterError):
    """These credentials may not ask for it."""


class ConflictError(ClusterError):
    """The server has one of this name already."""


class RunFailed(RealFeaturesError):  # noqa: N818 - the run's, not this program's
    """A run on Kubeflow ended without success."""


class TrainingError(RealFeaturesError):
    """A training diverged."""


class WorkerError(RealFeaturesError):
    """A process that ran a cell died, killed from outside or for want of memory."""


class Interrupted(RealFeaturesError):  # noqa: N818 - not a fault: work stopped on request, its checkpoint is saved
    """A stage stopped on request after it had saved its checkpoint."""


class StageCrash(Exception):  # noqa: N818 - its text is the traceback of the error proper
    """A stage failed in a way that no one foresaw: a bug; the text is its traceback."""


def one_line(text: object) -> str:
    """Return what a library or a server says as part of a one-line error: every run of white space is one space."""
    return " ".join(str(text).split())


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often something is tried; each pause is twice the one before it, with a random part."""

    attempts: int = 7
    """With pauses of 1, 2, 4, ... 32 seconds between them: about a minute, in which a server restarts."""
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 32.0


def attempt(
    what: str,
    action: Callable[[], Result],
    *,
    retries: Retries,
    passes: Callable[[BaseException], bool],
    reason: Callable[[BaseException], str],
    told: Callable[[Exception], RealFeaturesError | None],
    asked_pause: Callable[[BaseException], float] = lambda _error: 0.0,
) -> Result:
    """Return what an action returns; after an error that may pass, try again.

    Args:
        what: is done, for the log, such as `store: get data/pets.tar`.
        action: may be called several times.
        retries: how often, and after which pauses.
        passes: whether an error may be gone the next time.
        reason: what went wrong, in a few words for the log.
        told: the last error as one for a person; None: it is a bug, and is raised as it is.
        asked_pause: for how many seconds the server wants to be left alone after an error.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

    backoff = wait_exponential_jitter(
        multiplier=retries.first_pause_seconds, max=retries.longest_pause_seconds, jitter=retries.first_pause_seconds
    )

    def warn(state: Any) -> None:
        error = state.outcome.exception()
        logger.warning("%s failed (%s); tries again in %.0f s", what, reason(error), state.upcoming_sleep)

    def wait(state: Any) -> float:
        return max(backoff(state), asked_pause(state.outcome.exception()))

    retrying = Retrying(
        stop=stop_after_attempt(retries.attempts),
        wait=wait,
        retry=retry_if_exception(passes),
        before_sleep=warn,
        reraise=True,
    )
    try:
        return retrying(action)
    except Exception as error:
        line = told(error)
        if line is None:
            raise
        raise line from None
