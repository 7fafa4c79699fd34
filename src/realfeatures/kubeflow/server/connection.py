"""How Kubeflow Pipelines' API server is reached: address, credentials, and a client whose answers are checked."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from realfeatures.errors import ConfigError
from realfeatures.kubeflow.server.answers import require_json

ENDPOINT_VARIABLE = "KF_PIPELINES_ENDPOINT"


class CertificateError(Exception):
    """The server's certificate is not trusted."""


@dataclass(frozen=True)
class Connection:
    """How the server is reached, as kfp.Client has it."""

    host: str | None = None
    """URL; None: $KF_PIPELINES_ENDPOINT, or the cluster that this pod is in."""
    namespace: str | None = None
    """Of a person, where Kubeflow serves several; None: the one in kfp's own settings, if any."""
    token_file: Path | None = None
    """Read anew for each request, since a cluster replaces its tokens every hour."""
    ca_cert: Path | None = None


def is_named(connection: Connection) -> bool:
    """Return whether there is a server to ask: by option, by variable, or since this is a pod."""
    return bool(connection.host or os.environ.get(ENDPOINT_VARIABLE) or "KUBERNETES_SERVICE_HOST" in os.environ)


def connect(connection: Connection) -> Any:
    """Return kfp's client with the server and the credentials that it finds; nothing is asked yet.

    Raises:
        ConfigError: no server is named, or a file cannot be read.
    """
    _check(connection)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kfp tells every user that it wants a server of version 2
        import kfp
        from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

        class Silent(kfp.Client):  # type: ignore[misc]
            """Does not ask the server while it is made: its own way of asking waits for 25 seconds, in vain."""

            def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:  # noqa: ARG002 - kfp's signature
                import kfp_server_api as api

                return api.V2beta1GetHealthzResponse(multi_user=False)

        token = connection.token_file and ServiceAccountTokenVolumeCredentials(str(connection.token_file))
        ca_cert = str(connection.ca_cert) if connection.ca_cert else None
        try:
            client = Silent(host=connection.host, credentials=token, ssl_ca_cert=ca_cert)
        except ValueError:
            raise ConfigError(f"{Silent._LOCAL_KFP_CONTEXT}: kfp's own settings are no JSON; delete the file") from None
    api_client = client._run_api.api_client
    # urllib3's own retries are silent, and multiply ours.
    api_client.rest_client.pool_manager.connection_pool_kw["retries"] = False
    require_json(api_client)
    _tell_certificates(api_client)
    return client


def _check(connection: Connection) -> None:
    if not is_named(connection):
        raise ConfigError(
            f"no Kubeflow Pipelines is named; use --host or {ENDPOINT_VARIABLE}, such as http://localhost:8080 after"
            " kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80"
        )
    host = connection.host or os.environ.get(ENDPOINT_VARIABLE)
    if host:
        _check_host(host)
    for option, path in (("--token-file", connection.token_file), ("--ca-cert", connection.ca_cert)):
        if path is not None:
            _require_readable(option, path)


def _check_host(host: str) -> None:
    parts = urlsplit(host)
    if "@" in parts.netloc:  # not shown: what stands before it is a password
        raise ConfigError("--host: expected a URL without user and password; use --token-file")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"--host {host!r}: expected http://HOST:PORT or https://HOST/PATH")


def _require_readable(option: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None


def _tell_certificates(api_client: Any) -> None:
    """Let the client tell a certificate that is not trusted; its own error for that fails while it is made."""
    request = api_client.request

    def checked(*arguments: Any, **named: Any) -> Any:
        from kfp_server_api import ApiException

        try:
            return request(*arguments, **named)
        except ApiException as error:
            if error.body is None:  # there was no answer
                raise CertificateError from None
            raise

    api_client.request = checked
