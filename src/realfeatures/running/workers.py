"""A worker process of the one-machine run: it computes one cell after another and ends when its parent does.

    python -m realfeatures.running.workers DESCRIPTOR FOLDER [STORE]

pool.py starts it. The two talk through one socket in JSON; each message is a dict. To a worker: `{"run": text,
"inputs": {port: address}}`, the text as experiment/codec.py writes one cell, and `{"stop": true}`.
From it: `{"event": "progress" | "done" | "interrupted" | "error" | "crash", ...}`.
"""

import contextlib
import errno
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from realfeatures.errors import Interrupted, RealFeaturesError
from realfeatures.experiment.codec import Order, decode
from realfeatures.logs import Pace
from realfeatures.running.folder import RunFolder
from realfeatures.science.artifacts import open_artifact
from realfeatures.store.cells import CellStore
from realfeatures.store.client import ObjectStore

PROGRESS_SECONDS = 0.25
"""chosen: time between two messages of progress; an eye sees no more, and a step may take a millisecond."""

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Message = dict[str, Any]


def serve(connection: Connection, folder: RunFolder, store: CellStore | None) -> None:
    """Compute cells on request until the parent closes the socket."""
    stop, requests = threading.Event(), queue.SimpleQueue[Message]()
    # The terminal sends Ctrl-C to the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_listen, args=(connection, requests, stop), daemon=True).start()
    worker = _Worker(folder, connection, stop, store)
    worker.warm_up()
    while True:
        request = requests.get()
        _say(connection, worker.run(decode(request["run"]), request["inputs"]))


class _Worker:
    """Computes one cell at a time."""

    def __init__(
        self, folder: RunFolder, connection: Connection, stop: threading.Event, store: CellStore | None
    ) -> None:
        self.folder, self.connection, self.stop, self.store = folder, connection, stop, store
        self.pace = Pace(PROGRESS_SECONDS)

    def warm_up(self) -> None:
        """Import torch while the parent still hands out cells; an error shows itself again in `run`."""
        with contextlib.suppress(Exception):
            import realfeatures.science.execution  # noqa: F401

    def run(self, order: Order, inputs: Mapping[str, str]) -> Message:
        """Compute the one cell of an order and return what became of it; `inputs`: addresses by port."""
        (cell,) = order.cells
        address = order.address(cell, inputs)
        started = time.monotonic()
        try:
            order.require([address])
            self._execute(order, inputs, address)
        except Interrupted:
            return {"event": "interrupted"}
        except Exception as error:
            work = self.folder.work(address)
            shutil.rmtree(work / "output", ignore_errors=True)  # the checkpoint stays
            return _failure(error, key=cell.key, work=work)
        return {"event": "done", "seconds": time.monotonic() - started}

    def _execute(self, order: Order, inputs: Mapping[str, str], address: str) -> None:
        from realfeatures.science.execution import execute

        if self.stop.is_set():
            raise Interrupted("stopped before its first step")
        execute(
            order.cells[0],
            runtime=order.preset.runtime,
            inputs={port: open_artifact(self.folder.cell(parent)) for port, parent in inputs.items()},
            destination=self.folder.cell(address),
            work=self.folder.work(address),
            stop=self.stop.is_set,
            progress=self._tell,
            store=self.store,
        )
        if self.store is not None:
            self.store.keep(address, self.folder.cell(address))

    def _tell(self, done: int, total: int) -> None:
        if self.pace.is_due():
            _say(self.connection, {"event": "progress", "done": done, "total": total})


def _failure(error: Exception, *, key: str, work: Path) -> Message:
    """Return what the parent is told of a failed cell: a line for a person, or a bug's traceback."""
    kind, text = type(error).__name__, str(error)
    match error:
        case RealFeaturesError():
            pass
        case OSError() if error.errno in DISK_FULL:
            kind = "StorageError"
            text = f"cannot write {work}: {error.strerror}; free some space and run the same command again"
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or "memory" in text:
            kind = "WorkerError"
            text = f"{key}: does not fit into memory; use a smaller model or batch_size, or fewer --jobs"
        case _:
            return {"event": "crash", "traceback": "".join(traceback.format_exception(error))}
    return {"event": "error", "error": kind, "text": text}


def _listen(connection: Connection, requests: "queue.SimpleQueue[Message]", stop: threading.Event) -> None:
    """Pass on what the parent says; end the process once the parent is gone, even by kill -9."""
    while True:
        try:
            message = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            # Not sys.exit: it would wait for the stage, which no one is waiting for.
            os._exit(0)
        if "run" in message:
            requests.put(message)
        else:
            stop.set()


def _say(connection: Connection, message: Message) -> None:
    try:
        connection.send_bytes(json.dumps(message).encode())
    except OSError:
        os._exit(0)


if __name__ == "__main__":
    descriptor, path, *location = sys.argv[1:]
    store = CellStore(ObjectStore.from_location(location[0])) if location else None
    serve(Connection(int(descriptor)), RunFolder(Path(path)), store)
