"""A page in a headless Chromium, and what its scripts say."""

import json
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

LISTENER = """<script>
addEventListener("message", ({ data }) => fetch("/said", { method: "POST", body: JSON.stringify(data) }));
</script>
"""


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_chromium = (
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason=f"no Chromium is installed here: none of {', '.join(NAMES)}"),
)


def said(page: str, profile: Path, *, seconds: float = 120) -> Any:
    """Return the first message that is posted to a page, by its own scripts or by those of a frame in it."""
    heard: Queue[Any] = Queue()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler((page + LISTENER).encode(), heard)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
        address = f"http://127.0.0.1:{server.server_port}/"
        process = subprocess.Popen(
            [str(chromium()), *flags, f"--user-data-dir={profile}", "--window-size=1500,1000", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return heard.get(timeout=seconds)
        except Empty:
            pytest.fail(f"the page said nothing within {seconds:.0f} s")
        finally:
            process.terminate()
            process.wait()
            server.shutdown()


def handler(page: bytes, heard: Queue[Any]) -> type[BaseHTTPRequestHandler]:
    """Return a handler that serves the page alone, and hears what is posted."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(page if self.path == "/" else b"", 200 if self.path == "/" else 404)

        def do_POST(self) -> None:
            heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(b"", 200)

        def answer(self, body: bytes, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
