"""What a failed request to Kubeflow Pipelines means: whether to try again, when, and one line for a person."""

import json
from collections.abc import Callable
from typing import Any

from realfeatures.errors import ClusterError, ConflictError, ForbiddenError, MissingError, one_line
from realfeatures.kubeflow.server.answers import ForeignAnswerError
from realfeatures.kubeflow.server.connection import CertificateError

TOO_MANY, UNAVAILABLE = 429, 503
"""Status codes of a server that did nothing."""
LONGEST_PAUSE_SECONDS = 60.0
"""chosen: of what a server asks for by Retry-After; a person waits before the screen."""


def passes(error: BaseException) -> bool:
    """Return whether an error may be gone the next time."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError, NameResolutionError

    if isinstance(error, ApiException):
        return error.status == TOO_MANY or (error.status or 0) >= 500
    if isinstance(_cause(error), NameResolutionError):
        return False
    return isinstance(error, HTTPError | ConnectionError)


def did_nothing(error: BaseException) -> bool:
    """Return whether an error may be gone the next time, and the request was surely not carried out."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, ApiException):
        return error.status in (TOO_MANY, UNAVAILABLE)
    return passes(error) and isinstance(_cause(error), NewConnectionError)


def asked_pause(error: BaseException) -> float:
    """Return how many seconds the server wants to be left alone (Retry-After), 0 where it says nothing."""
    headers = getattr(error, "headers", None) or {}
    text = str(headers.get("Retry-After", ""))
    return min(float(text), LONGEST_PAUSE_SECONDS) if text.isdigit() else 0.0


def told(error: Exception, where: str) -> ClusterError | None:
    """Return an error of the server or of the way there as a line for a person; None for any other."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, ApiException):
        return _refusal(error, where)
    if isinstance(error, ForeignAnswerError):
        return ClusterError(
            f"{where}: what answers is no Kubeflow Pipelines, or wants a sign-in; check --host and --token-file"
        )
    if isinstance(error, CertificateError):
        return ClusterError(f"{where}: its certificate is not trusted; use --ca-cert")
    if isinstance(error, HTTPError | ConnectionError):
        return ClusterError(f"{where}: no answer ({reason(error)}); check --host and that the server runs")
    if isinstance(error, OSError):  # of the token's file, which is read for each request
        return ClusterError(f"{where}: --token-file cannot be read any more ({error.strerror})")
    if isinstance(error, ValueError):  # the generated client refuses a value that its model does not have
        return ClusterError(f"{where}: the answer is of another version of Kubeflow Pipelines; 2.17 is expected")
    return None


def _refusal(error: Any, where: str) -> ClusterError:
    refusals: dict[int, Callable[[], ClusterError]] = {
        401: lambda: ForbiddenError(f"{where}: these credentials may not do that (401); sign in: --token-file"),
        403: lambda: ForbiddenError(
            f"{where}: these credentials may not do that (403); ask for the right to do that, or check --namespace"
        ),
        404: lambda: MissingError(f"{where}: there is none (404); check the name and --host"),
        409: lambda: ConflictError(f"{where}: there is one already (409); choose another name"),
        TOO_MANY: lambda: ClusterError(f"{where}: the server is busy ({TOO_MANY}); try again later"),
    }
    if error.status in refusals:
        return refusals[error.status]()
    said = f", which says: {_message(error)}" if _message(error) else ""
    return ClusterError(f"{where}: {reason(error)}{said}; see its log")


def _message(error: Any) -> str:
    """Return what the server says of its refusal, in one line; a page of a proxy says nothing."""
    try:
        content = json.loads(error.body)
    except (TypeError, ValueError):
        return ""
    if not isinstance(content, dict):
        return ""
    return one_line(content.get("error_message") or content.get("message") or content.get("error") or "")[:300]


def reason(error: BaseException) -> str:
    """Return in a few words what went wrong."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ReadTimeoutError

    reasons: dict[type | tuple[type, ...], str] = {
        NameResolutionError: "the host's name is unknown",
        NewConnectionError: "the connection is refused",
        (ConnectTimeoutError, ReadTimeoutError): "it takes too long",
    }
    if isinstance(error, ApiException):
        return f"the server answered {error.status}"
    cause = _cause(error)
    return next((text for kind, text in reasons.items() if isinstance(cause, kind)), "the connection broke")


def _cause(error: BaseException) -> BaseException:
    return getattr(error, "reason", None) or error
