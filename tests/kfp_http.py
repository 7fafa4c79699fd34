"""HTTP for a server that speaks Kubeflow Pipelines' API: answers as the real client's models write them, and faults."""

import email.parser
import email.policy
import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api

CLIENT = api.ApiClient()
STOP_SECONDS = 0.02
"""How long a server may take to stop; http.server's own half second would be most of the tests' time."""


class Text(str):
    """An answer that is no JSON."""


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
    headers: dict[str, str] = field(default_factory=dict)


class Server(Protocol):
    """What answers."""

    token: str | None
    faults: list[Fault]
    requests: list[str]

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, content_type: str) -> Any: ...


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
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
                    content = page if fault.page else b'{"message": "planted"}'
                    self._send(fault.status, content, html=fault.page, headers=fault.headers)
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
            if isinstance(found, Text):
                return found.encode()
            return json.dumps(CLIENT.sanitize_for_serialization(found)).encode()

        def _send(
            self, status: int, content: bytes, *, html: bool = False, headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "text/html" if html else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def uploaded(body: bytes, content_type: str) -> str:
    """Return the file of a multipart form."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.default).parsebytes(head + body)
    (part,) = [
        part for part in message.iter_parts() if part.get_param("name", header="content-disposition") == "uploadfile"
    ]
    return part.get_payload(decode=True).decode()
