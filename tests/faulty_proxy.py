"""A TCP proxy before a server that behaves as servers and networks do on a bad day."""

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
"""S3's answer of a server that has too much to do."""


class FaultyProxy:
    """Passes bytes on to a server, but for what its attributes ask for.

    Attributes:
        stalls: takes connections and requests and answers nothing, as where a disk or a network hangs.
        busy: number of further connections that are answered with BUSY, which never reach the server.
        lost_answers: number of further connections that break once the server begins to answer.
        cut_request, cut_answer: the next connection breaks after this many bytes in that direction.
        connections: how many there were.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.target = (parts.hostname, parts.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.stalls = False
        self.busy = self.lost_answers = self.connections = 0
        self.cut_request: int | None = None
        self.cut_answer: int | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.connections += 1
                if self.busy > 0:
                    self.busy -= 1
                    self._refuse(client)
                    continue
                cut_request, cut_answer = self.cut_request, self.cut_answer
                self.cut_request = self.cut_answer = None
                if self.lost_answers > 0:
                    self.lost_answers -= 1
                    cut_answer = 0
                server = socket.create_connection(self.target)
                for source, sink, limit in ((client, server, cut_request), (server, client, cut_answer)):
                    threading.Thread(target=self._pass_on, args=(source, sink, limit), daemon=True).start()

    def _refuse(self, client: socket.socket) -> None:
        with suppress(OSError):
            client.recv(65536)
            client.sendall(BUSY)
            client.shutdown(socket.SHUT_RDWR)
        client.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while content := source.recv(65536):
                if limit is not None and passed + len(content) > limit:
                    sink.sendall(content[: limit - passed])
                    # Both ways at once, as a broken line does.
                    source.shutdown(socket.SHUT_RDWR)
                    break
                passed += len(content)
                if not self.stalls:
                    sink.sendall(content)
            sink.shutdown(socket.SHUT_RDWR if limit is not None else socket.SHUT_WR)
