"""A server that speaks Kubeflow Pipelines' API, version 2beta1, built on the models of the real client.

Request bodies are read by the models that the real client writes them with, and refused where they hold anything
else; answers are the models' own JSON. Pipelines are parsed as PipelineSpec and KubernetesExecutorConfig. A run walks
through the tasks of its pipeline, a few at every look, or fails where it is told to; how far they are is told by its
Argo Workflow alone, which version 1beta1 of the API gives (kubeflow/pipelines, backend/src/apiserver/server).
"""

import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import kfp_server_api as api
import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec
from kfp_http import CLIENT, STOP_SECONDS, Fault, Refusal, Text, handler, uploaded
from kfp_workflow import Engine

LISTS = {
    "pipelines": api.V2beta1ListPipelinesResponse,
    "pipeline_versions": api.V2beta1ListPipelineVersionsResponse,
    "experiments": api.V2beta1ListExperimentsResponse,
    "runs": api.V2beta1ListRunsResponse,
    "recurring_runs": api.V2beta1ListRecurringRunsResponse,
}


@dataclass
class KfpServer:
    token: str | None = None
    tls: ssl.SSLContext | None = None
    tag: str = "2.17.0"
    behind_ui: bool = False
    """Whether healthz is answered by the UI, in words of its own."""
    fails_at: str | None = None
    """Keys of a task that fails and of the pipelines that it is in, outermost first, with dots between them."""
    driver_fails: bool = False
    """Whether it is this task's driver that fails."""
    wrapped: bool = True
    """Whether the engine makes nodes of tries, as 2.17 has it."""
    packed: bool = False
    """Whether Workflows tell their nodes compressed."""
    texts: dict[str, str] = field(default_factory=dict)
    """What `METHOD path` answers with text, such as a log."""
    queries: dict[str, dict[str, str]] = field(default_factory=dict)
    workflows: dict[str, str] = field(default_factory=dict)
    """Workflows of runs that do not go on, as JSON."""
    engines: dict[str, Engine] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    experiments: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    schedules: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> "KfpServer":
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        if self.tls:
            self._http.socket = self.tls.wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, args=(STOP_SECONDS,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self._http.server_address[1]

    def count(self, request: str) -> int:
        """How often a request such as `POST /apis/v2beta1/runs` was made."""
        return sum(re.fullmatch(request, made) is not None for made in self.requests)

    # --- the API ---

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, content_type: str) -> Any:
        for pattern, handle in self._routes().items():
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return handle(*match.groups(), query=query, body=body, content_type=content_type)
        if f"{method} {path}" in self.texts:
            self.queries.setdefault(path, query)
            return Text(self.texts[f"{method} {path}"])
        raise Refusal(404, f"no such path {path}")

    def _routes(self) -> dict[str, Callable[..., Any]]:
        root = "/apis/v2beta1"
        return {
            "GET /apis/v1beta1/healthz": self._healthz,
            f"GET {root}/healthz": self._healthz,
            f"GET {root}/pipelines": lambda query, **_: self._page("pipelines", self.pipelines, query),
            f"POST {root}/pipelines": self._create_pipeline,
            f"POST {root}/pipelines/upload": self._upload,
            f"POST {root}/pipelines/upload_version": self._upload_version,
            f"GET {root}/pipelines/([^/]+)": lambda key, **_: found(self.pipelines, key),
            f"GET {root}/pipelines/([^/]+)/versions": self._list_versions,
            f"GET {root}/pipelines/([^/]+)/versions/([^/]+)": self._get_version,
            f"GET {root}/experiments": lambda query, **_: self._page("experiments", self.experiments, query),
            f"POST {root}/experiments": self._create_experiment,
            f"GET {root}/experiments/([^/]+)": lambda key, **_: found(self.experiments, key),
            f"GET {root}/runs": lambda query, **_: self._page("runs", self.runs, query),
            f"POST {root}/runs": self._create_run,
            f"GET {root}/runs/([^/]+)": self._get_run,
            "GET /apis/v1beta1/runs/([^/]+)": self._get_workflow,
            f"GET {root}/recurringruns": lambda query, **_: self._page("recurring_runs", self.schedules, query),
            f"POST {root}/recurringruns": self._create_schedule,
            f"GET {root}/recurringruns/([^/]+)": lambda key, **_: found(self.schedules, key),
            f"DELETE {root}/recurringruns/([^/]+)": self._delete_schedule,
            f"POST {root}/recurringruns/([^/]+):enable": self._mode_setter("ENABLE"),
            f"POST {root}/recurringruns/([^/]+):disable": self._mode_setter("DISABLE"),
        }

    def _healthz(self, **_: Any) -> Any:
        if self.behind_ui:
            return {"apiServerReady": True, "apiServerTagName": self.tag, "apiServerMultiUser": False}
        return {"tag_name": self.tag, "commit_sha": "unknown", "multi_user": False}

    def _create_pipeline(self, body: bytes, **_: Any) -> Any:
        made = parsed(body, "V2beta1Pipeline")
        return self._add_pipeline(made)

    def _add_pipeline(self, made: Any) -> Any:
        if any(one.display_name == made.display_name for one in self.pipelines.values()):
            raise Refusal(409, f"pipeline {made.display_name} exists")
        made.pipeline_id = str(uuid.uuid4())
        self.pipelines[made.pipeline_id] = made
        return made

    def _upload(self, query: dict[str, str], body: bytes, content_type: str, **_: Any) -> Any:
        """Add a pipeline whose first version has its name."""
        spec = parsed_pipeline(uploaded(body, content_type))
        made = self._add_pipeline(api.V2beta1Pipeline(name=query["name"], display_name=query["name"]))
        self._add_version(made.pipeline_id, query["name"], spec)
        return made

    def _upload_version(self, query: dict[str, str], body: bytes, content_type: str, **_: Any) -> Any:
        pipeline_id, name = found(self.pipelines, query.get("pipelineid", "")).pipeline_id, query["name"]
        if any((one.pipeline_id, one.name) == (pipeline_id, name) for one in self.versions.values()):
            raise Refusal(409, f"version {name} exists")
        made = self._add_version(pipeline_id, name, parsed_pipeline(uploaded(body, content_type)))
        made.display_name, made.description = query.get("display_name", name), query.get("description")
        return made

    def _add_version(self, pipeline_id: str, name: str, spec: dict[str, Any]) -> Any:
        made = api.V2beta1PipelineVersion(
            pipeline_id=pipeline_id,
            pipeline_version_id=str(uuid.uuid4()),
            name=name,
            display_name=name,
            pipeline_spec=spec,
        )
        self.versions[made.pipeline_version_id] = made
        return made

    def _list_versions(self, pipeline_id: str, query: dict[str, str], **_: Any) -> Any:
        found(self.pipelines, pipeline_id)
        versions = {key: one for key, one in self.versions.items() if one.pipeline_id == pipeline_id}
        return self._page("pipeline_versions", versions, query)

    def _get_version(self, pipeline_id: str, version_id: str, **_: Any) -> Any:
        found(self.pipelines, pipeline_id)
        return found(self.versions, version_id)

    def _create_experiment(self, body: bytes, **_: Any) -> Any:
        made = parsed(body, "V2beta1Experiment")
        if any(one.display_name == made.display_name for one in self.experiments.values()):
            raise Refusal(409, f"experiment {made.display_name} exists")
        made.experiment_id = str(uuid.uuid4())
        self.experiments[made.experiment_id] = made
        return made

    def _create_run(self, body: bytes, **_: Any) -> Any:
        made = parsed(body, "V2beta1Run")
        self._require_form(made)
        made.run_id, made.state, made.created_at = str(uuid.uuid4()), "PENDING", datetime.now(UTC)
        self.runs[made.run_id] = made
        self.engines[made.run_id] = Engine(f"paper-{made.run_id[:5]}", self.spec_of(made), wrapped=self.wrapped)
        return made

    def _get_run(self, run_id: str, **_: Any) -> Any:
        run = found(self.runs, run_id)
        if run.state in ("PENDING", "RUNNING") and run_id in self.engines:
            run.state = self.engines[run_id].advance(self.fails_at, driver_fails=self.driver_fails)
        return run

    def _get_workflow(self, run_id: str, **_: Any) -> Any:
        found(self.runs, run_id)
        engine = self.engines.get(run_id)
        manifest = self.workflows.get(run_id) or (engine.manifest(packed=self.packed) if engine else "")
        return {"run": {"id": run_id}, "pipeline_runtime": {"workflow_manifest": manifest}}

    def spec_of(self, run: Any) -> dict[str, Any]:
        return self.versions[run.pipeline_version_reference.pipeline_version_id].pipeline_spec["pipeline_spec"]

    def _create_schedule(self, body: bytes, **_: Any) -> Any:
        made = parsed(body, "V2beta1RecurringRun")
        self._require_form(made)
        if not made.trigger or bool(made.trigger.cron_schedule) == bool(made.trigger.periodic_schedule):
            raise Refusal(400, "a recurring run needs one trigger")
        if made.trigger.cron_schedule and len(made.trigger.cron_schedule.cron.split()) != 6:
            raise Refusal(400, "Schedule cron is not a valid cron expression of 6 fields")
        if not 1 <= int(made.max_concurrency) <= 10:
            raise Refusal(400, "max_concurrency is not in 1..10")
        made.recurring_run_id = str(uuid.uuid4())
        self.schedules[made.recurring_run_id] = made
        return made

    def _delete_schedule(self, schedule_id: str, **_: Any) -> Any:
        found(self.schedules, schedule_id)
        del self.schedules[schedule_id]
        return {}

    def _mode_setter(self, mode: str) -> Callable[..., Any]:
        def set_mode(schedule_id: str, **_: Any) -> Any:
            found(self.schedules, schedule_id).mode = mode
            return {}

        return set_mode

    def _require_form(self, made: Any) -> None:
        """Refuse a run whose version is unknown, or whose parameters its pipeline does not have."""
        version = self.versions.get(made.pipeline_version_reference.pipeline_version_id)
        if version is None or made.experiment_id not in self.experiments:
            raise Refusal(400, "no such version or experiment")
        known = version.pipeline_spec["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
        unknown = set(made.runtime_config.parameters) - set(known)
        if unknown:
            raise Refusal(400, f"unknown parameters {unknown}")

    def _page(self, key: str, things: dict[str, Any], query: dict[str, str]) -> Any:
        """Two at a time, so that a client that forgets the next page is found out."""
        items = [one for one in things.values() if passes(one, query.get("filter", ""))]
        start = int(query.get("page_token") or 0)
        more = start + 2 < len(items)
        return LISTS[key](**{key: items[start : start + 2]}, next_page_token=str(start + 2) if more else "")


def found(things: dict[str, Any], key: str) -> Any:
    if key not in things:
        raise Refusal(404, f"there is no {key}")
    return things[key]


def passes(thing: Any, text: str) -> bool:
    """Whether a thing has the names that a filter asks for."""
    wanted = json.loads(text)["predicates"] if text else []
    return all(one["stringValue"] == getattr(thing, one["key"]) for one in wanted)


def parsed(body: bytes, model: str) -> Any:
    """Return a request's body as the real client's model; fields that it does not have, at any depth, are refused."""
    try:
        made = CLIENT.deserialize(SimpleNamespace(data=body.decode()), model)
    except (TypeError, ValueError, api.ApiException):
        made = None
    if fields(json.loads(body)) != fields(CLIENT.sanitize_for_serialization(made)):
        raise Refusal(400, f"the body is no {model}")
    return made


def fields(content: Any) -> Any:
    """Return the names in JSON without the values: a number may come as text."""
    if isinstance(content, dict):
        return {name: fields(value) for name, value in content.items()}
    return [fields(value) for value in content] if isinstance(content, list) else None


def parsed_pipeline(text: str) -> dict[str, Any]:
    spec, platform = yaml.load_all(text, Loader=yaml.CSafeLoader)
    try:
        json_format.ParseDict(spec, PipelineSpec())
        for pod in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
            json_format.ParseDict(pod, KubernetesExecutorConfig())
    except json_format.ParseError as error:
        raise Refusal(400, f"invalid pipeline: {error}") from None
    return {"pipeline_spec": spec, "platform_spec": platform}
