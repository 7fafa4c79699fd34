"""Worker processes of the one-machine run: each runs one cell after another and ends when its parent does.

Parent and worker talk through one pipe in JSON; each message is a dict. To a worker: `{"run": key}` and
`{"stop": true}`. From it: `{"event": "progress" | "done" | "interrupted" | "error" | "crash", ...}`.
"""

import contextlib
import errno
import json
import multiprocessing
import os
import queue
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from realfeatures.errors import Interrupted, RealFeaturesError
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell, cells
from realfeatures.running.folder import LOG, RunFolder
from realfeatures.science.artifacts import open_artifact
from realfeatures.store.cells import CellStore
from realfeatures.store.client import ObjectStore

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What sets the threads of the libraries below torch and numpy; read once, when they are loaded."""

PROGRESS_SECONDS = 0.25
"""chosen: time between two messages of progress; an eye sees no more, and a step may take a millisecond."""

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Message = dict[str, Any]


class Worker:
    """One process, as its parent sees it.

    Args:
        preset: the experiment, whose cells the worker runs.
        seeds: of the experiment.
        out: the run's folder.
        addresses: the address of each cell, by key.
        store: location of the object store for finished cells and checkpoints; its credentials are in the environment.
    """

    def __init__(
        self, preset: Preset, *, seeds: Sequence[int], out: Path, addresses: Mapping[str, str], store: str | None
    ) -> None:
        self.key: str | None = None
        """The cell that it runs."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        order = json.dumps(
            {
                "preset": preset.model_dump(mode="json"),
                "seeds": list(seeds),
                "out": str(out),
                "addresses": dict(addresses),
                "store": store,
            }
        )
        self.process = context.Process(target=serve, args=(theirs, order), daemon=True)
        with _without_interrupts():
            self.process.start()
        theirs.close()

    def run(self, key: str) -> None:
        """Start a cell."""
        self.key = key
        self._send({"run": key})

    def ask_to_stop(self) -> None:
        """Ask the running stage to save its checkpoint and stop."""
        self._send({"stop": True})

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()

    def exit_reason(self) -> str:
        """Return how a dead process ended."""
        self.process.join()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _send(self, message: Message) -> None:
        # A dead worker is found by `receive`, with its reason.
        with contextlib.suppress(OSError):
            self.connection.send_bytes(json.dumps(message).encode())


def receive(workers: Sequence[Worker], *, timeout_seconds: float) -> Iterator[tuple[Worker, Message]]:
    """Yield what workers have to say; a worker that died says `{"event": "died", "reason": ...}`."""
    by_connection = {worker.connection: worker for worker in workers}
    for connection in wait(list(by_connection), timeout_seconds):
        assert isinstance(connection, Connection)  # noqa: S101 - narrows the type
        worker = by_connection[connection]
        try:
            yield worker, json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            yield worker, {"event": "died", "reason": worker.exit_reason()}


def serve(connection: Connection, order: str) -> None:
    """Run cells on request, in the worker's process, until the pipe closes."""
    stop, tasks = threading.Event(), queue.SimpleQueue[str]()
    # The terminal sends Ctrl-C to the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_listen, args=(connection, tasks, stop), daemon=True).start()
    given = json.loads(order)
    preset, folder = Preset.model_validate(given["preset"]), RunFolder(Path(given["out"]))
    for name in THREAD_VARIABLES:
        os.environ[name] = str(preset.runtime.threads)
    _log_to(folder.path / LOG)
    grid = {cell.key: cell for cell in cells(preset, given["seeds"])}
    store = CellStore(ObjectStore.from_location(given["store"])) if given["store"] else None
    runner = _Runner(preset, folder, grid, given["addresses"], connection, stop, store)
    runner.warm_up()
    while True:
        _say(connection, runner.run(tasks.get()))


class _Runner:
    """Runs one cell at a time, in the worker's process."""

    def __init__(
        self,
        preset: Preset,
        folder: RunFolder,
        grid: Mapping[str, Cell],
        addresses: Mapping[str, str],
        connection: Connection,
        stop: threading.Event,
        store: CellStore | None,
    ) -> None:
        self.preset, self.folder, self.grid = preset, folder, grid
        self.addresses, self.connection, self.stop, self.store = addresses, connection, stop, store
        self.told_at = 0.0

    def warm_up(self) -> None:
        """Import torch while the parent still hands out cells; an error shows itself again in `run`."""
        with contextlib.suppress(Exception):
            import realfeatures.science.execution  # noqa: F401

    def run(self, key: str) -> Message:
        """Run a cell and return what became of it."""
        work = self.folder.work(self.addresses[key])
        started = time.monotonic()
        try:
            self._execute(self.grid[key], work)
        except Interrupted:
            return {"event": "interrupted"}
        except RealFeaturesError as error:
            _discard_output(work)
            return {"event": "error", "error": type(error).__name__, "text": str(error)}
        except OSError as error:
            _discard_output(work)
            if error.errno not in DISK_FULL:
                return {"event": "crash", "traceback": traceback.format_exc()}
            text = f"cannot write {work}: {error.strerror}; free some space and run the same command again"
            return {"event": "error", "error": "StorageError", "text": text}
        except (MemoryError, RuntimeError) as error:
            _discard_output(work)
            if not (isinstance(error, MemoryError) or "memory" in str(error)):
                return {"event": "crash", "traceback": traceback.format_exc()}
            text = f"{key}: does not fit into memory; use a smaller model or batch_size, or fewer --jobs"
            return {"event": "error", "error": "WorkerError", "text": text}
        except Exception:
            _discard_output(work)
            return {"event": "crash", "traceback": traceback.format_exc()}
        return {"event": "done", "seconds": time.monotonic() - started}

    def _execute(self, cell: Cell, work: Path) -> None:
        from realfeatures.science.execution import execute

        if self.stop.is_set():
            raise Interrupted("stopped before its first step")
        address = self.addresses[cell.key]
        execute(
            cell,
            runtime=self.preset.runtime,
            inputs={port: open_artifact(self.folder.cell(self.addresses[key])) for port, key in cell.inputs.items()},
            destination=self.folder.cell(address),
            work=work,
            stop=self.stop.is_set,
            progress=self._tell,
            store=self.store,
        )
        if self.store is not None:
            self.store.keep(address, self.folder.cell(address))

    def _tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.told_at >= PROGRESS_SECONDS:
            self.told_at = now
            _say(self.connection, {"event": "progress", "done": done, "total": total})


def _listen(connection: Connection, tasks: "queue.SimpleQueue[str]", stop: threading.Event) -> None:
    """Pass on what the parent says; end the process once the parent is gone, even by kill -9."""
    while True:
        try:
            message = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            # Not sys.exit: it would wait for the stage, which no one is waiting for.
            os._exit(0)
        if "run" in message:
            tasks.put(message["run"])
        else:
            stop.set()


def _say(connection: Connection, message: Message) -> None:
    try:
        connection.send_bytes(json.dumps(message).encode())
    except OSError:
        os._exit(0)


def _log_to(path: Path) -> None:
    """Send whatever libraries print or warn of to the run's log, away from the progress display."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _discard_output(work: Path) -> None:
    """Remove a failed stage's unfinished output; its checkpoint stays."""
    shutil.rmtree(work / "output", ignore_errors=True)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start a process with Ctrl-C blocked, so that none can hit it before it ignores them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
