"""Asking Kubeflow Pipelines' API server: time-outs, retries on errors that may pass, one line for all others.

kfp.Client finds the server and the credentials; the requests go through the generated client beneath it, since
kfp.Client's own have no time-out.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from realfeatures.errors import ClusterError, ConflictError, ForbiddenError, MissingError, Retries, attempt
from realfeatures.kubeflow.server.connection import Connection, connect
from realfeatures.kubeflow.server.refusals import asked_pause, did_nothing, passes, reason, told

REQUEST_SECONDS = 30.0
"""chosen: of one request; uploading a pipeline makes the server parse it, which takes some seconds."""
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 1.0
"""Doubled for each further attempt, with a random part: about 20 seconds in all."""
PAGE_SIZE = 100
"""The most that the server gives at once."""
LEAST_RELEASE = (2, 15)
"""From which Kubeflow's pods run without root and with SeaweedFS; the locked kfp speaks 2.17."""

Result = TypeVar("Result")


def release_of(version: str) -> tuple[int, int] | None:
    """Return the release that a version such as 2.17.0 belongs to; None where it names none."""
    match = re.match(r"v?(\d+)\.(\d+)\b", version)
    return (int(match[1]), int(match[2])) if match else None


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
        kfp = connect(connection)
        client = kfp._run_api.api_client
        self.host = str(client.configuration.host)
        self._namespace = connection.namespace or kfp.get_user_namespace()
        self._page = str(kfp._get_url_prefix())
        self._runs, self._pipelines = api.RunServiceApi(client), api.PipelineServiceApi(client)
        self._uploads, self._experiments = api.PipelineUploadServiceApi(client), api.ExperimentServiceApi(client)
        self._schedules, self.client = api.RecurringRunServiceApi(client), client

    def version(self) -> str:
        """Return the release that the server calls itself.

        Raises:
            ClusterError: no Kubeflow Pipelines answers.
        """
        # By hand: the generated client's model of this answer drops the version.
        content, _status, _headers = self.ask(
            "healthz",
            self.client.call_api,
            "/apis/v1beta1/healthz",
            "GET",
            response_type="object",
            auth_settings=["Bearer"],
            _return_http_data_only=False,
        )
        # The UI answers for the server behind it, in words of its own: frontend/server/handlers/healthz.ts.
        if content.get("apiServerReady") is False:
            raise ClusterError(f"{self.host}: the UI answers, and the API server behind it does not; see its pod")
        names = ("tag_name", "apiServerTagName", "commit_sha", "apiServerCommitHash")
        return str(next((content[name] for name in names if content.get(name)), "unknown"))

    def require_release(self) -> None:
        """Refuse a server of a release that the pipelines are not made for; one that names none may do.

        Raises:
            ClusterError: it is too old, or no Kubeflow Pipelines answers.
        """
        version = self.version()
        release = release_of(version)
        if release is not None and release < LEAST_RELEASE:
            least = ".".join(map(str, LEAST_RELEASE))
            raise ClusterError(f"{self.host}: Kubeflow Pipelines {version} is older than {least}; upgrade it to 2.17")

    def page_of(self, run_id: str) -> str:
        """Return the address of a run's page in the UI."""
        # Inside a cluster kfp names no UI but the API server, which has no pages.
        page = self._page if self._page.startswith("http") else self.host
        return f"{page}/#/runs/details/{run_id}"

    def upload(self, path: Path, *, pipeline: str, version: str, description: str = "") -> tuple[str, str]:
        """Upload a compiled pipeline as a version, unless the server has this version; return both ids.

        Args:
            path: of the compiled pipeline.
            pipeline: its name; it is made where there is none.
            version: what a person calls the version, with a digest of its content in it.
            description: of both; the server takes none from the file.

        Raises:
            ClusterError: the server refuses or does not answer.
        """
        pipeline_id = self._pipeline_id(pipeline, description)
        names = {"name": re.sub(r"[^a-z0-9]+", "-", version.lower()).strip("-"), "display_name": version}
        request = self._uploads.upload_pipeline_version
        version_id = self._found_or_made(
            lambda: self._pages(
                self._pipelines.pipeline_service_list_pipeline_versions, "pipeline_versions", pipeline_id
            ),
            lambda: self.ask(
                f"upload {pipeline}", request, str(path), **names, pipelineid=pipeline_id, description=description
            ),
            version,
            "pipeline_version_id",
        )
        return pipeline_id, version_id

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
        """Return a run; how far its tasks are is told by its Workflow alone."""
        return self.ask(f"run {run_id}", self._runs.run_service_get_run, run_id)

    def pipeline_spec(self, run: Any) -> dict[str, Any]:
        """Return the compiled pipeline of a run; empty where the server has it no more, or does not show it.

        Raises:
            ClusterError: the server refuses or does not answer.
        """
        version = run.pipeline_version_reference
        if version is None:
            return {}
        request = self._pipelines.pipeline_service_get_pipeline_version
        try:
            found = self.ask("pipeline version", request, version.pipeline_id, version.pipeline_version_id)
        except (MissingError, ForbiddenError):  # whoever may read runs may not read pipelines for that
            return {}
        # A pipeline with settings for its pods comes as a pair.
        spec = found.pipeline_spec or {}
        return dict(spec.get("pipeline_spec", spec))

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

    def disable_schedule(self, schedule_id: str) -> None:
        """Let a recurring run start no run; those that go on do so."""
        request = self._schedules.recurring_run_service_disable_recurring_run
        self.ask(f"disable schedule {schedule_id}", request, schedule_id)

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
        return self._attempt(what, passes, partial(request, *arguments, **named))

    def create(self, what: str, request: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """As `ask`, for what must not be made twice: tries again only where the server did nothing."""
        return self._attempt(what, did_nothing, partial(request, *arguments, **named))

    def ask_once(self, what: str, request: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """As `ask`, for what can be done without: is not tried again."""
        return self._attempt(what, lambda _error: False, partial(request, *arguments, **named))

    def _attempt(self, what: str, passes: Callable[[BaseException], bool], request: Callable[..., Result]) -> Result:
        # As a pair: the generated client silently drops a single number that is no int.
        timeout = (self.request_seconds, self.request_seconds)
        return attempt(
            what,
            partial(request, _request_timeout=timeout),
            retries=Retries(attempts=ATTEMPTS, first_pause_seconds=self.pause_seconds),
            passes=passes,
            reason=reason,
            told=lambda error: told(error, f"{self.host}: {what}"),
            asked_pause=asked_pause,
        )

    def _pipeline_id(self, name: str, description: str) -> str:
        import kfp_server_api as api

        return self._found_or_made(
            lambda: self._pages(self._pipelines.pipeline_service_list_pipelines, "pipelines", **self._of_namespace()),
            lambda: self.ask(
                f"create pipeline {name}",
                self._pipelines.pipeline_service_create_pipeline,
                api.V2beta1Pipeline(display_name=name, name=name, description=description, **self._of_namespace()),
            ),
            name,
            "pipeline_id",
        )

    def _found_or_made(self, listed: Callable[[], Iterator[Any]], make: Callable[[], Any], name: str, key: str) -> str:
        """Return the id of what has this name; someone else, or a request whose answer was lost, may make it first."""

        def found() -> str | None:
            return next((str(getattr(one, key)) for one in listed() if one.display_name == name), None)

        there = found()
        if there is not None:
            return there
        try:
            return str(getattr(make(), key))
        except ConflictError:
            there = found()
            if there is None:
                raise
            return there

    def _pages(self, request: Callable[..., Any], key: str, *arguments: Any, **named: Any) -> Iterator[Any]:
        token = ""
        while True:
            page = self.ask(f"list {key}", request, *arguments, page_size=PAGE_SIZE, page_token=token, **named)
            yield from getattr(page, key) or ()
            token = page.next_page_token or ""
            if not token:
                return

    def _of_namespace(self) -> dict[str, str]:
        return {"namespace": self._namespace} if self._namespace else {}
