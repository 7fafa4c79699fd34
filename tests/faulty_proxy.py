"""A TCP proxy before a server that behaves as servers and networks do on a bad day."""

import socket
import threading
from collections.abc import Callable
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
        cut: by direction, "request" or "answer", after how many further bytes the connection breaks, once.
        when_cut: called after that.
        connections: how many there were.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.target = (parts.hostname, parts.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.stalls = False
        self.busy = self.connections = 0
        self.cut: dict[str, int] = {}
        self.when_cut: Callable[[], None] = lambda: None

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
                else:
                    self._connect(client)

    def _refuse(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.recv(65536)
            client.sendall(BUSY)
            client.shutdown(socket.SHUT_RDWR)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self.target)
        except OSError:
            client.close()
            return
        for direction, source, sink in (("request", client, server), ("answer", server, client)):
            threading.Thread(target=self._pass_on, args=(direction, source, sink), daemon=True).start()

    def _pass_on(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                if direction in self.cut:
                    if self.cut[direction] < len(content):
                        sink.sendall(content[: self.cut[direction]])
                        self._break(direction, source, sink)
                        return
                    self.cut[direction] -= len(content)
                if not self.stalls:
                    sink.sendall(content)
            sink.shutdown(socket.SHUT_WR)

    def _break(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        del self.cut[direction]
        self.when_cut()
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
