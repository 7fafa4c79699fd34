"""A server that speaks Kubeflow Pipelines' API, version 2beta1, built on the models of the real client.

Request bodies are read by the models that the real client writes them with, and refused where they hold anything
else; answers are the models' own JSON. Pipelines are parsed as PipelineSpec and KubernetesExecutorConfig. A run walks
through the tasks of its pipeline, a few at every look, or fails where it is told to.
"""

import email.parser
import email.policy
import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api
import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

CLIENT = api.ApiClient()
LISTS = {
    "pipelines": api.V2beta1ListPipelinesResponse,
    "pipeline_versions": api.V2beta1ListPipelineVersionsResponse,
    "experiments": api.V2beta1ListExperimentsResponse,
    "recurring_runs": api.V2beta1ListRecurringRunsResponse,
}


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Fault:
    """What happens to requests whose `METHOD path` begins with `where`, in place of an answer."""

    where: str
    status: int = 500
    times: int = 1_000_000
    page: bool = False
    """An HTML page, as a proxy in between gives it."""
    seconds: float = 0.0
    """Of silence before the true answer."""
    drop: bool = False
    """The connection is closed without an answer."""
    after: bool = False
    """The request is carried out first: only its answer is lost."""


@dataclass
class KfpServer:
    token: str | None = None
    tag: str = "2.17.0"
    fails_at: str | None = None
    """Display name of a task that fails."""
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    experiments: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    schedules: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> "KfpServer":
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def count(self, request: str) -> int:
        """How often a request such as `POST /apis/v2beta1/runs` was made."""
        return sum(re.fullmatch(request, made) is not None for made in self.requests)

    # --- the API ---

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, content_type: str) -> Any:
        for pattern, handle in self._routes().items():
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return handle(*match.groups(), query=query, body=body, content_type=content_type)
        raise Refusal(404, f"no such path {path}")

    def _routes(self) -> dict[str, Callable[..., Any]]:
        root = "/apis/v2beta1"
        return {
            "GET /apis/v1beta1/healthz": lambda **_: {"tag_name": self.tag, "multi_user": False},
            f"GET {root}/pipelines": lambda query, **_: self._page("pipelines", self.pipelines, query),
            f"POST {root}/pipelines": self._create_pipeline,
            f"POST {root}/pipelines/upload_version": self._upload_version,
            f"GET {root}/pipelines/([^/]+)/versions": self._list_versions,
            f"GET {root}/experiments": lambda query, **_: self._page("experiments", self.experiments, query),
            f"POST {root}/experiments": self._create_experiment,
            f"POST {root}/runs": self._create_run,
            f"GET {root}/runs/([^/]+)": self._get_run,
            f"GET {root}/recurringruns": lambda query, **_: self._page("recurring_runs", self.schedules, query),
            f"POST {root}/recurringruns": self._create_schedule,
            f"DELETE {root}/recurringruns/([^/]+)": self._delete_schedule,
            f"POST {root}/recurringruns/([^/]+):enable": self._enable_schedule,
        }

    def _create_pipeline(self, body: bytes, **_: Any) -> Any:
        made = parsed(body, "V2beta1Pipeline")
        if any(one.display_name == made.display_name for one in self.pipelines.values()):
            raise Refusal(409, f"pipeline {made.display_name} exists")
        made.pipeline_id = str(uuid.uuid4())
        self.pipelines[made.pipeline_id] = made
        return made

    def _upload_version(self, query: dict[str, str], body: bytes, content_type: str, **_: Any) -> Any:
        if query.get("pipelineid") not in self.pipelines:
            raise Refusal(404, "no such pipeline")
        spec = parsed_pipeline(uploaded(body, content_type))
        made = api.V2beta1PipelineVersion(
            pipeline_id=query["pipelineid"],
            pipeline_version_id=str(uuid.uuid4()),
            display_name=query["name"],
            pipeline_spec=spec,
        )
        self.versions[made.pipeline_version_id] = made
        return made

    def _list_versions(self, pipeline_id: str, query: dict[str, str], **_: Any) -> Any:
        if pipeline_id not in self.pipelines:
            raise Refusal(404, "no such pipeline")
        found = {key: one for key, one in self.versions.items() if one.pipeline_id == pipeline_id}
        return self._page("pipeline_versions", found, query)

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
        made.run_id, made.state = str(uuid.uuid4()), "PENDING"
        made.run_details = api.V2beta1RunDetails(task_details=[])
        self.runs[made.run_id] = made
        return made

    def _get_run(self, run_id: str, **_: Any) -> Any:
        if run_id not in self.runs:
            raise Refusal(404, f"run {run_id} not found")
        run = self.runs[run_id]
        if run.state in ("PENDING", "RUNNING"):
            self._advance(run)
        return run

    def _advance(self, run: Any) -> None:
        """Finish the running tasks and start the next ones, as the server's workflow engine does."""
        run.state = "RUNNING"
        details = run.run_details.task_details
        for task in details:
            if task.state == "RUNNING":
                task.state = "FAILED" if task.display_name == self.fails_at else "SUCCEEDED"
        failed = [task for task in details if task.state == "FAILED"]
        if failed:
            failed[0].error = api.GoogleRpcStatus(code=2, message="error: probe.epochs: expected\n at least 1")
            run.state = "FAILED"
            return
        names = task_names(self.versions[run.pipeline_version_reference.pipeline_version_id].pipeline_spec)
        waiting = names[len(details) :]
        for name in waiting[: 1 + len(names) // 4]:
            details.append(api.V2beta1PipelineTaskDetail(display_name=name, task_id=name, state="RUNNING"))
        if not waiting:
            run.state = "SUCCEEDED"

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
        if self.schedules.pop(schedule_id, None) is None:
            raise Refusal(404, "no such recurring run")
        return {}

    def _enable_schedule(self, schedule_id: str, **_: Any) -> Any:
        self.schedules[schedule_id].mode = "ENABLE"
        return {}

    def _require_form(self, made: Any) -> None:
        """Refuse a run whose version is unknown, or whose parameters its pipeline does not have."""
        version = self.versions.get(made.pipeline_version_reference.pipeline_version_id)
        if version is None or made.experiment_id not in self.experiments:
            raise Refusal(400, "no such version or experiment")
        known = version.pipeline_spec["root"]["inputDefinitions"]["parameters"]
        unknown = set(made.runtime_config.parameters) - set(known)
        if unknown:
            raise Refusal(400, f"unknown parameters {unknown}")

    def _page(self, key: str, found: dict[str, Any], query: dict[str, str]) -> Any:
        """Two at a time, so that a client that forgets the next page is found out."""
        start = int(query.get("page_token") or 0)
        items = list(found.values())[start : start + 2]
        more = start + 2 < len(found)
        return LISTS[key](**{key: items}, next_page_token=str(start + 2) if more else "")


def parsed(body: bytes, model: str) -> Any:
    """Return a request's body as the real client's model; unknown fields are refused, as the server's parser does."""
    content = json.loads(body)
    known = set(getattr(api, model).attribute_map.values())
    if unknown := set(content) - known:
        raise Refusal(400, f"unknown fields {unknown} of {model}")
    return CLIENT.deserialize(SimpleNamespace(data=body.decode()), model)


def parsed_pipeline(text: str) -> dict[str, Any]:
    spec, platform = yaml.load_all(text, Loader=yaml.CSafeLoader)
    try:
        json_format.ParseDict(spec, PipelineSpec())
        for pod in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
            json_format.ParseDict(pod, KubernetesExecutorConfig())
    except json_format.ParseError as error:
        raise Refusal(400, f"invalid pipeline: {error}") from None
    return spec


def uploaded(body: bytes, content_type: str) -> str:
    """Return the file of a multipart form."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.default).parsebytes(head + body)
    (part,) = [
        part for part in message.iter_parts() if part.get_param("name", header="content-disposition") == "uploadfile"
    ]
    return part.get_payload(decode=True).decode()


def task_names(spec: dict[str, Any]) -> list[str]:
    levels = [spec["root"], *(one for one in spec["components"].values() if "dag" in one)]
    return [task["taskInfo"]["name"] for level in levels for task in level["dag"]["tasks"].values()]


def _handler(server: KfpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve("GET")

        def do_POST(self) -> None:
            self._serve("POST")

        def do_DELETE(self) -> None:
            self._serve("DELETE")

        def _serve(self, method: str) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made = f"{method} {parts.path}"
            server.requests.append(made)
            fault = next((one for one in server.faults if made.startswith(one.where) and one.times > 0), None)
            if fault:
                fault.times -= 1
                time.sleep(fault.seconds)
                if fault.after:
                    self._content(method, parts, body)
                if fault.drop:
                    self.connection.close()
                    return
                if not fault.seconds:
                    page = b"<html><body>Sign in</body></html>"
                    self._send(fault.status, page if fault.page else b'{"message": "planted"}', html=fault.page)
                    return
            if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
                self._send(401, b'{"message": "no token"}')
                return
            try:
                self._send(200, self._content(method, parts, body))
            except Refusal as refusal:
                self._send(refusal.status, json.dumps({"message": str(refusal)}).encode())

        def _content(self, method: str, parts: Any, body: bytes) -> bytes:
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            found = server.answer(method, parts.path, query, body, self.headers.get("Content-Type", ""))
            return json.dumps(CLIENT.sanitize_for_serialization(found)).encode()

        def _send(self, status: int, content: bytes, *, html: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if html else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
