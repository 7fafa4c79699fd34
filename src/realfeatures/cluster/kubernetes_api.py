"""Asking a Kubernetes API server, with what can go wrong on the way told in one line."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from realfeatures.errors import RealFeaturesError

REQUEST_SECONDS = 10.0
"""chosen: of one request; a server that is well answers within one."""

Result = TypeVar("Result")


class ClusterError(RealFeaturesError):
    """The cluster cannot be reached, or refuses."""


class NoClusterError(ClusterError):
    """No cluster is configured."""


class MissingError(ClusterError):
    """The cluster has no such thing."""


class ForbiddenError(ClusterError):
    """These credentials may not ask for it."""


def connect(context: str | None = None) -> Any:
    """Return a client of the cluster that KUBECONFIG names, or of the one that this pod runs in.

    Raises:
        NoClusterError: there is neither.
    """
    from kubernetes import client, config

    try:
        try:
            config.load_incluster_config()
        except config.ConfigException:
            # Read here: the library remembers the first value that it saw.
            config.load_kube_config(config_file=os.environ.get("KUBECONFIG"), context=context)
    except (config.ConfigException, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise NoClusterError(f"no cluster is configured ({reason}); set KUBECONFIG, or run inside a cluster") from None
    settings = client.Configuration.get_default_copy()
    settings.retries = False  # the library's own are silent and slow
    return client.ApiClient(settings)


def ask(what: str, request: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    """Return what a request of the kubernetes client returns.

    Raises:
        MissingError: status 404.
        ForbiddenError: status 401 or 403.
        ClusterError: any other refusal, or no answer.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        # As a pair: the generated client silently drops a single number that is no int.
        return request(*arguments, _request_timeout=(REQUEST_SECONDS, REQUEST_SECONDS), **named)
    except ApiException as error:
        if error.status == 404:
            raise MissingError(f"{what}: there is none; create it") from None
        if error.status in (401, 403):
            raise ForbiddenError(f"{what}: these credentials may not ask for it; use others") from None
        raise ClusterError(f"{what}: the API server answered {error.status} {error.reason}; try again") from None
    except HTTPError as error:
        reason = type(getattr(error, "reason", None) or error).__name__
        raise ClusterError(
            f"{what}: the API server does not answer ({reason}); check KUBECONFIG and the network"
        ) from None
