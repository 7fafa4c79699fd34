"""What can go wrong between here and an object store: what is tried again, and the one line for everything else."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from realfeatures.errors import MissingObjectError, StorageError, StoreUnavailableError
from realfeatures.store.settings import Patience, Settings

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

BUSY = {"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "Throttling", "OperationAborted"}
"""S3's codes for what may go well the next time."""
FULL = {"InsufficientStorage", "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"}
REMEDIES = {
    "InvalidAccessKeyId": "the access key is unknown there; check AWS_ACCESS_KEY_ID or the mounted secret",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY or the mounted secret",
    "AccessDenied": "these credentials may not do that; use others, or have the bucket's policy changed",
    "NoSuchBucket": "there is no such bucket; create it, or name another store",
    "RequestTimeTooSkewed": "the clocks differ by more than 15 minutes; set this machine's clock",
    "EntityTooLarge": "the server takes no object of this size; use smaller models or another server",
}
MISSING = {"NoSuchKey", "NoSuchObject"}


def attempt(what: str, action: Callable[[], Result], *, settings: Settings, patience: Patience) -> Result:
    """Return what `action` returns; after an error that may pass, try again, with growing and random pauses.

    Args:
        what: is done, for the error and the log, such as `get data/pets.tar`.
        action: may be called several times.
        settings: of the store, for the error.
        patience: how often.

    Raises:
        MissingObjectError: there is no such object.
        StoreUnavailableError: the server cannot be reached or keeps failing.
        StorageError: the server refuses.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

    retrying = Retrying(
        stop=stop_after_attempt(patience.attempts),
        wait=wait_exponential_jitter(
            multiplier=patience.first_pause_seconds,
            max=patience.longest_pause_seconds,
            jitter=patience.first_pause_seconds,
        ),
        retry=retry_if_exception(_passes),
        before_sleep=lambda state: _log_retry(what, state),
        reraise=True,
    )
    try:
        return retrying(action)
    except Exception as error:
        told = _told(error, what, settings)
        if told is None:
            raise
        raise told from None


def _log_retry(what: str, state: Any) -> None:
    pause = state.next_action.sleep if state.next_action else 0.0
    error = state.outcome.exception() if state.outcome else None
    logger.warning("store: %s failed (%s); tries again in %.0f s", what, _reason(error), pause)


def _passes(error: BaseException) -> bool:
    """Return whether an error may be gone the next time."""
    from minio.error import InvalidResponseError, S3Error, ServerError
    from urllib3.exceptions import HTTPError

    if isinstance(error, S3Error):
        return error.code in BUSY or (_status(error) >= 500 and error.code not in FULL and _status(error) != 507)
    if isinstance(error, ServerError):
        return _status(error) != 507
    # A proxy's page, or a connection that broke inside an answer.
    return isinstance(error, HTTPError | InvalidResponseError | ConnectionError | TimeoutError)


def _told(error: Exception, what: str, settings: Settings) -> StorageError | None:
    """Return an error of the server or of the way there as a line for a person; None for any other."""
    from minio.error import InvalidResponseError, S3Error, ServerError
    from urllib3.exceptions import HTTPError

    where = f"{settings.location} at {settings.host}: {what}"
    if isinstance(error, S3Error):
        if error.code in MISSING:
            return MissingObjectError(f"{where}: there is no such object; `realfeatures store ls` lists what there is")
        if error.code in FULL or _status(error) == 507:
            return StorageError(f"{where}: the server is full ({error.code}); free some space there and run again")
        if error.code in REMEDIES:
            return StorageError(f"{where}: {REMEDIES[error.code]}")
    if _passes(error) or isinstance(error, ServerError):
        return StoreUnavailableError(
            f"{where}: {_reason(error)}; see that the server runs and has space, and run again"
        )
    if isinstance(error, S3Error | InvalidResponseError | HTTPError):
        return StorageError(f"{where}: {_reason(error)}; check the store's address and rights")
    return None


def _reason(error: BaseException | None) -> str:
    """Return in a few words what went wrong, without anything that a request carries."""
    from minio.error import S3Error
    from urllib3.exceptions import (
        ConnectTimeoutError,
        MaxRetryError,
        NameResolutionError,
        NewConnectionError,
        ReadTimeoutError,
        SSLError,
    )

    cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    if isinstance(cause, S3Error):
        return f"the server answered {cause.code}"
    if isinstance(cause, NameResolutionError):
        return "the host's name is unknown"
    if isinstance(cause, NewConnectionError):  # before its parent, the time-out
        return "the server cannot be reached"
    if isinstance(cause, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        return "the server did not answer in time"
    if isinstance(cause, SSLError):
        return "the encrypted connection was refused"
    status = _status(cause)
    return f"the server answered with status {status}" if status else "the connection broke"


def _status(error: BaseException | None) -> int:
    """Return the HTTP status that an error carries, 0 where there is none."""
    response = getattr(error, "response", None)
    value = getattr(response, "status", None) or getattr(error, "status_code", None) or getattr(error, "_code", None)
    return int(value or 0)
