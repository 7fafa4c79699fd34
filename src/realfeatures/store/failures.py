"""What can go wrong between here and an object store: what is tried again, and the one line for everything else."""

from realfeatures.errors import MissingObjectError, StorageError, StoreUnavailableError
from realfeatures.store.settings import Settings

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


def passes(error: BaseException) -> bool:
    """Return whether an error may be gone the next time."""
    from minio.error import InvalidResponseError, S3Error, ServerError
    from urllib3.exceptions import HTTPError

    if isinstance(error, S3Error):
        return error.code in BUSY or (_status(error) >= 500 and error.code not in FULL and _status(error) != 507)
    if isinstance(error, ServerError):
        return _status(error) != 507
    # A proxy's page, or a connection that broke inside an answer.
    return isinstance(error, HTTPError | InvalidResponseError | ConnectionError | TimeoutError)


def told(error: Exception, what: str, settings: Settings) -> StorageError | None:
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
    if passes(error) or isinstance(error, ServerError):
        return StoreUnavailableError(f"{where}: {reason(error)}; see that the server runs and has space, and run again")
    if isinstance(error, S3Error | InvalidResponseError | HTTPError):
        return StorageError(f"{where}: {reason(error)}; check the store's address and rights")
    return None


def reason(error: BaseException) -> str:
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


def _status(error: BaseException) -> int:
    """Return the HTTP status that an error carries, 0 where there is none."""
    response = getattr(error, "response", None)
    value = getattr(response, "status", None) or getattr(error, "status_code", None) or getattr(error, "_code", None)
    return int(value or 0)
