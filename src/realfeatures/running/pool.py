"""The worker processes of the one-machine run, as their parent sees them.

They are started by a command line, not by multiprocessing, which would run the caller's own script again: an experiment
runs as well from a script without a guard, from standard input and in a notebook.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path

from realfeatures.experiment.codec import encode, name_of
from realfeatures.experiment.grid import Cell
from realfeatures.running.folder import LOG
from realfeatures.running.plan import Plan
from realfeatures.running.workers import Message

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What sets the threads of the libraries below torch and numpy; read once, when they are loaded."""

EXIT_SECONDS = 5.0
"""chosen: idle workers leave within milliseconds; one that does not is killed after this."""


class Worker:
    """One process.

    Args:
        plan: of the run.
        out: the run's folder; what libraries print or warn of goes into its log, away from the progress display.
        store: location of the object store for finished cells and checkpoints; its credentials are in the environment.
    """

    def __init__(self, plan: Plan, *, out: Path, store: str | None) -> None:
        self.plan = plan
        self.key: str | None = None
        """The cell that it computes."""
        self.connection, theirs = Pipe()
        # -P: no file of the working directory takes the place of a module.
        command = [sys.executable, "-P", "-m", "realfeatures.running.workers", str(theirs.fileno()), str(out)]
        with _without_interrupts(), theirs, (out / LOG).open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, store] if store else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env=_environment(threads=plan.preset.runtime.threads),
            )

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def run(self, cell: Cell) -> None:
        """Start a cell, whose inputs are done."""
        self.key = cell.key
        inputs = {port: self.plan.addresses[key] for port, key in cell.inputs.items()}
        text = encode(name_of(cell), self.plan.preset, seed=cell.run_seed or 0, addresses=self.plan.addresses)
        self._send({"run": text, "inputs": inputs})

    def ask_to_stop(self) -> None:
        """Ask the running stage to save its checkpoint and stop."""
        self._send({"stop": True})

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()

    def exit_reason(self) -> str:
        """Return how a dead process ended."""
        code = self.process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _send(self, message: Message) -> None:
        # A dead worker is found by `receive`, with its reason.
        with contextlib.suppress(OSError):
            self.connection.send_bytes(json.dumps(message).encode())


@contextmanager
def workers(plan: Plan, *, count: int, out: Path, store: str | None) -> Iterator[list[Worker]]:
    """Start workers, which are gone when the context ends; see Worker."""
    started: list[Worker] = []
    try:
        for _ in range(count):
            started.append(Worker(plan, out=out, store=store))
        yield started
        # A worker whose socket closes leaves at once.
        for worker in started:
            worker.connection.close()
        deadline = time.monotonic() + EXIT_SECONDS
        for worker in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for worker in started:
            worker.kill()


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


def _environment(*, threads: int) -> dict[str, str]:
    """Return a worker's environment: its number of threads, and its parent's modules, wherever they come from."""
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "PYTHONPATH": path}


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start a process with Ctrl-C blocked, so that none can hit it before it ignores them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
