"""Asking a Kubernetes API server, with what can go wrong on the way told in one line."""

import os
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from realfeatures.errors import ClusterError, ForbiddenError, MissingError, NoClusterError, one_line
from realfeatures.kubeflow.server.answers import ForeignAnswerError, require_json

REQUEST_SECONDS = 10.0
"""chosen: of one request; a server that is well answers within one."""

Result = TypeVar("Result")


def connect(context: str | None = None) -> Any:
    """Return a client of the cluster that KUBECONFIG names, of the one that this pod is in, or of kubectl's.

    Args:
        context: of the configuration file; None: its current one.

    Raises:
        NoClusterError: there is none of them.
    """
    import yaml
    from kubernetes import client, config

    # Read here: the library remembers the first value that it saw.
    file = os.environ.get("KUBECONFIG")
    settings = client.Configuration()
    try:
        if file or context or "KUBERNETES_SERVICE_HOST" not in os.environ:
            config.load_kube_config(config_file=file, context=context, client_configuration=settings)
        else:
            config.load_incluster_config(client_configuration=settings)
    except (config.ConfigException, yaml.YAMLError, OSError, TypeError, ValueError, AttributeError) as error:
        raise NoClusterError(
            f"no cluster is configured ({one_line(error)}); set KUBECONFIG, or run inside a cluster"
        ) from None
    settings.retries = False  # the library's own are silent and slow
    settings.client_side_validation = False  # a server may leave out what the library's model requires
    api_client = client.ApiClient(settings)
    require_json(api_client)
    return api_client


class Cluster:
    """A cluster's API, whose client is made when a check first needs it.

    Args:
        connect: makes the client; raises NoClusterError where there is no cluster.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect

    @cached_property
    def client(self) -> Any:
        """The generated client."""
        return self._connect()

    @cached_property
    def core(self) -> Any:
        """Namespaces, secrets, nodes, quotas."""
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self.client)

    @cached_property
    def apps(self) -> Any:
        """Deployments."""
        from kubernetes.client import AppsV1Api

        return AppsV1Api(self.client)

    @cached_property
    def authorization(self) -> Any:
        """Who may do what."""
        from kubernetes.client import AuthorizationV1Api

        return AuthorizationV1Api(self.client)


def ask(what: str, request: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    """Return what a request of the kubernetes client returns.

    Raises:
        MissingError: status 404.
        ForbiddenError: status 403.
        ClusterError: any other refusal, no answer, or one that is not Kubernetes'.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        # As a pair: the generated client silently drops a single number that is no int.
        return request(*arguments, _request_timeout=(REQUEST_SECONDS, REQUEST_SECONDS), **named)
    except ApiException as error:
        raise _refusal(what, error) from None
    except HTTPError as error:
        reason = type(getattr(error, "reason", None) or error).__name__
        raise ClusterError(
            f"{what}: the API server does not answer ({reason}); check KUBECONFIG and the network"
        ) from None
    except ForeignAnswerError:
        raise ClusterError(f"{what}: what answers is no Kubernetes API server; check KUBECONFIG") from None


def _refusal(what: str, error: Any) -> ClusterError:
    if error.status == 404:
        return MissingError(f"{what}: there is none; create it")
    if error.status == 401:
        return ClusterError(f"{what}: the API server does not accept these credentials (401); sign in again")
    if error.status == 403:
        return ForbiddenError(f"{what}: these credentials may not ask for it (403); ask for the right, or use others")
    return ClusterError(f"{what}: the API server answered {error.status} {error.reason}; try again")
