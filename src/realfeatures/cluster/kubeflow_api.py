"""Asking Kubeflow Pipelines' API server: time-outs, retries on errors that may pass, one line for all others.

kfp.Client finds the server and the credentials; the requests go through the generated client beneath it, since
kfp.Client's own have no time-out.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from realfeatures.cluster.kubernetes_api import ClusterError, ForbiddenError, MissingError
from realfeatures.errors import ConfigError

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 30.0
"""chosen: of one request; uploading a pipeline makes the server parse it, which takes some seconds."""
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 1.0
"""Doubled for each further attempt, with a random part: about 20 seconds in all."""
TOO_MANY, UNAVAILABLE = 429, 503
"""Status codes of a server that did nothing."""
PAGE_SIZE = 100
"""The most that the server gives at once."""
ENDPOINT_VARIABLE = "KF_PIPELINES_ENDPOINT"

Result = TypeVar("Result")


class ConflictError(ClusterError):
    """The server has one of this name already."""


@dataclass(frozen=True)
class Connection:
    """How the server is reached, as kfp.Client has it."""

    host: str | None = None
    """URL; None: $KF_PIPELINES_ENDPOINT, or the cluster that this pod is in."""
    namespace: str | None = None
    """Of a person, where Kubeflow serves several."""
    token_file: Path | None = None
    ca_cert: Path | None = None


class Kubeflow:
    """Kubeflow Pipelines' API server.

    Args:
        connection: how it is reached.
        pause_seconds: before the second attempt of a request.
        request_seconds: of one attempt.

    Raises:
        ConfigError: no server is named, or a file cannot be read.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        import kfp_server_api as api

        self.connection = connection
        self.pause_seconds, self.request_seconds = pause_seconds, request_seconds
        client = _api_client(connection)
        self.host = str(client.configuration.host)
        self._runs, self._pipelines = api.RunServiceApi(client), api.PipelineServiceApi(client)
        self._uploads, self._experiments = api.PipelineUploadServiceApi(client), api.ExperimentServiceApi(client)
        self._schedules, self._client = api.RecurringRunServiceApi(client), client

    def version(self) -> str:
        """Return the release that the server calls itself.

        Raises:
            ClusterError: no Kubeflow Pipelines answers.
        """
        # The older path: the newer one's answer holds no version.
        content, _status, _headers = self.ask(
            "healthz",
            self._client.call_api,
            "/apis/v1beta1/healthz",
            "GET",
            response_type="object",
            auth_settings=["Bearer"],
            _return_http_data_only=False,
        )
        if not isinstance(content, dict):
            raise ClusterError(f"{self.host}: answers, but is no Kubeflow Pipelines; check --host")
        return str(content.get("tag_name") or content.get("commit_sha") or "unknown")

    def upload(self, path: Path, *, pipeline: str, version: str) -> tuple[str, str]:
        """Upload a compiled pipeline as a version, unless the server has this version; return both ids.

        Raises:
            ClusterError: the server refuses or does not answer.
        """
        pipeline_id = self._pipeline_id(pipeline)
        for one in self._pages(
            self._pipelines.pipeline_service_list_pipeline_versions, "pipeline_versions", pipeline_id
        ):
            if one.display_name == version:
                return pipeline_id, str(one.pipeline_version_id)
        made = self.ask(
            f"upload {pipeline}",
            self._uploads.upload_pipeline_version,
            str(path),
            name=version,
            pipelineid=pipeline_id,
        )
        return pipeline_id, str(made.pipeline_version_id)

    def experiment_id(self, name: str) -> str:
        """Return the id of an experiment, made now if there is none.

        Raises:
            ClusterError: the server refuses or does not answer.
        """
        import kfp_server_api as api

        return self._found_or_made(
            lambda: self._pages(
                self._experiments.experiment_service_list_experiments, "experiments", **self._of_namespace()
            ),
            lambda: self.ask(
                f"create experiment {name}",
                self._experiments.experiment_service_create_experiment,
                api.V2beta1Experiment(display_name=name, **self._of_namespace()),
            ),
            name,
            "experiment_id",
        )

    def create_run(self, run: Any) -> Any:
        """Start a run, a V2beta1Run; return it as the server has it."""
        return self.create(f"create run {run.display_name}", self._runs.run_service_create_run, run)

    def get_run(self, run_id: str) -> Any:
        """Return a run, with the states of its tasks."""
        return self.ask(f"run {run_id}", self._runs.run_service_get_run, run_id)

    def schedules(self) -> list[Any]:
        """Return all recurring runs."""
        return list(
            self._pages(
                self._schedules.recurring_run_service_list_recurring_runs, "recurring_runs", **self._of_namespace()
            )
        )

    def create_schedule(self, schedule: Any) -> Any:
        """Make a recurring run, a V2beta1RecurringRun; return it as the server has it."""
        request = self._schedules.recurring_run_service_create_recurring_run
        return self.create(f"create schedule {schedule.display_name}", request, schedule)

    def delete_schedule(self, schedule_id: str) -> None:
        """Delete a recurring run; its runs stay."""
        request = self._schedules.recurring_run_service_delete_recurring_run
        self.ask(f"delete schedule {schedule_id}", request, schedule_id)

    def enable_schedule(self, schedule_id: str) -> None:
        """Let a recurring run start runs."""
        request = self._schedules.recurring_run_service_enable_recurring_run
        self.ask(f"enable schedule {schedule_id}", request, schedule_id)

    def ask(self, what: str, request: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """Return what a request of the generated client returns; after an error that may pass, try again.

        Raises:
            MissingError, ForbiddenError, ConflictError: status 404, 401 or 403, 409.
            ClusterError: any other refusal, or no answer.
        """
        return self._send(what, _passes, request, *arguments, **named)

    def create(self, what: str, request: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """As `ask`, for what must not be made twice: tries again only where the server did nothing."""
        return self._send(what, _did_nothing, request, *arguments, **named)

    def _send(
        self,
        what: str,
        again: Callable[[BaseException], bool],
        request: Callable[..., Result],
        *arguments: Any,
        **named: Any,
    ) -> Result:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=self.pause_seconds, jitter=self.pause_seconds),
            retry=retry_if_exception(again),
            before_sleep=lambda _state: logger.warning("%s: failed, tries again", what),
            reraise=True,
        )
        try:
            # As a pair: the generated client silently drops a single number that is no int.
            timeout = (self.request_seconds, self.request_seconds)
            return retrying(request, *arguments, _request_timeout=timeout, **named)
        except Exception as error:
            told = _told(error, f"{self.host}: {what}")
            if told is None:
                raise
            raise told from None

    def _pipeline_id(self, name: str) -> str:
        import kfp_server_api as api

        return self._found_or_made(
            lambda: self._pages(self._pipelines.pipeline_service_list_pipelines, "pipelines", **self._of_namespace()),
            lambda: self.ask(
                f"create pipeline {name}",
                self._pipelines.pipeline_service_create_pipeline,
                api.V2beta1Pipeline(display_name=name, name=name, **self._of_namespace()),
            ),
            name,
            "pipeline_id",
        )

    def _found_or_made(self, listed: Callable[[], Iterator[Any]], make: Callable[[], Any], name: str, key: str) -> str:
        for one in listed():
            if one.display_name == name:
                return str(getattr(one, key))
        try:
            return str(getattr(make(), key))
        except ConflictError:  # someone else made it in between
            return str(next(getattr(one, key) for one in listed() if one.display_name == name))

    def _pages(self, request: Callable[..., Any], key: str, *arguments: Any, **named: Any) -> Iterator[Any]:
        token = ""
        while True:
            page = self.ask(f"list {key}", request, *arguments, page_size=PAGE_SIZE, page_token=token, **named)
            yield from getattr(page, key) or ()
            token = page.next_page_token or ""
            if not token:
                return

    def _of_namespace(self) -> dict[str, str]:
        return {"namespace": self.connection.namespace} if self.connection.namespace else {}


def is_named(connection: Connection) -> bool:
    """Return whether there is a server to ask: by option, by variable, or since this is a pod."""
    return bool(connection.host or os.environ.get(ENDPOINT_VARIABLE) or "KUBERNETES_SERVICE_HOST" in os.environ)


def _api_client(connection: Connection) -> Any:
    """Return the generated client with the server and the credentials that kfp.Client finds."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kfp tells every user that it wants a server of version 2
        import kfp

    class Silent(kfp.Client):  # type: ignore[misc]
        """Does not ask the server while it is made: its own way of asking waits for 25 seconds, in vain."""

        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:  # noqa: ARG002 - kfp's signature
            import kfp_server_api as api

            return api.V2beta1GetHealthzResponse(multi_user=False)

    host = connection.host or os.environ.get(ENDPOINT_VARIABLE)
    if not is_named(connection):
        raise ConfigError(
            f"no Kubeflow Pipelines is named; use --host or {ENDPOINT_VARIABLE}, such as http://localhost:8080 after"
            " kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80"
        )
    if host and not host.startswith(("http://", "https://")):
        raise ConfigError(f"--host {host!r}: expected http://HOST:PORT or https://HOST/PATH")
    token = _read(connection.token_file, "--token-file")
    if connection.ca_cert is not None and not connection.ca_cert.is_file():
        raise ConfigError(f"--ca-cert {connection.ca_cert}: no such file")
    ca_cert = str(connection.ca_cert) if connection.ca_cert else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = Silent(host=host, existing_token=token, ssl_ca_cert=ca_cert)
    api_client = client._run_api.api_client
    # urllib3's own retries are silent, and multiply ours.
    api_client.rest_client.pool_manager.connection_pool_kw["retries"] = False
    return api_client


def _read(path: Path | None, option: str) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None


def _passes(error: BaseException) -> bool:
    """Return whether an error may be gone the next time."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, ApiException):
        return error.status == TOO_MANY or (error.status or 0) >= 500
    return isinstance(error, HTTPError | ConnectionError)


def _did_nothing(error: BaseException) -> bool:
    """Return whether an error may be gone the next time, and the request was surely not carried out."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, ApiException):
        return error.status in (TOO_MANY, UNAVAILABLE)
    return isinstance(getattr(error, "reason", error), NewConnectionError)


def _told(error: Exception, where: str) -> ClusterError | None:
    """Return an error of the server or of the way there as a line for a person; None for any other."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, ApiException):
        return _refusal(error, where)
    if isinstance(error, HTTPError | ConnectionError):
        return ClusterError(f"{where}: no answer ({_reason(error)}); check --host and that the server runs")
    if isinstance(error, ValueError):  # the answer is no JSON of the expected form
        return ClusterError(f"{where}: the answer is not Kubeflow Pipelines'; check --host")
    return None


def _refusal(error: Any, where: str) -> ClusterError:
    if error.status in (401, 403):
        remedy = (
            "sign in: --token-file" if error.status == 401 else "ask for the right to do that, or check --namespace"
        )
        return ForbiddenError(f"{where}: these credentials may not do that ({error.status}); {remedy}")
    if error.status == 404:
        return MissingError(f"{where}: there is none (404); check the name and --host")
    if error.status == 409:
        return ConflictError(f"{where}: there is one already (409); choose another name")
    said = f", which says: {_message(error)}" if _message(error) else ""
    return ClusterError(f"{where}: the server answered {error.status}{said}; see its log")


def _message(error: Any) -> str:
    """Return what the server says of its refusal, in one line; a page of a proxy says nothing."""
    import json

    try:
        content = json.loads(error.body)
    except (TypeError, ValueError):
        return ""
    text = (
        content.get("error_message") or content.get("message") or content.get("error")
        if isinstance(content, dict)
        else ""
    )
    return " ".join(str(text or "").split())[:300]


def _reason(error: BaseException) -> str:
    from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ReadTimeoutError

    cause = getattr(error, "reason", None) or error
    if isinstance(cause, NameResolutionError):
        return "the host's name is unknown"
    if isinstance(cause, NewConnectionError):
        return "the connection is refused"
    if isinstance(cause, ConnectTimeoutError | ReadTimeoutError):
        return "it takes too long"
    return "the connection broke"
