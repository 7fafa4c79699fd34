"""A task that outlives its crashes: one child computes, its parent starts it again from the last checkpoint.

Which failures Kubeflow retries is the cluster's choice (a stock 2.17 retries no container that exits non-zero), so the
task does it itself. The parent loads neither torch nor a stage. What it cannot outlive: a pod that is deleted or meets
its time limit, and memory that grows faster than it looks, since Kubernetes from 1.28 on kills a whole container that
is out of memory (kubernetes/kubernetes#117793).
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from realfeatures.kubeflow.tasks.position import Position

DONE, FAILED, MENDABLE, UNAVAILABLE, TERMINATED = 0, 1, 2, 75, 128 + signal.SIGTERM
"""Exit codes of a task; MENDABLE: by a person, and never by another attempt; UNAVAILABLE: a server may come back."""

PAUSE_SECONDS = 60.0
"""chosen: before the next attempt where a server was away, doubled each time; the attempt itself tries for a minute."""

LOOK_SECONDS = 0.2
"""chosen: between two looks at the child and its memory; a stage takes seconds at least."""

MEMORY_SHARE = 0.95
"""chosen: of the container's limit; a child beyond it is ended here, where the parent can still say why."""

CGROUP = Path("/sys/fs/cgroup")
"""The container's own group, with cgroup v2 (kernel.org, cgroup-v2: memory.max, memory.current, memory.stat)."""

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies; an orphan that holds stdout keeps a task running."""


@dataclass(frozen=True)
class Attempt:
    """How one child ended."""

    code: int
    """As subprocess has it: negative for a signal."""
    where: tuple[int, int]
    """The cell and the step that it had come to."""
    told: str = ""
    """What it failed for, as it said itself."""
    memory: bool = False
    """Whether it was ended for its memory."""

    @property
    def reason(self) -> str:
        """What a person is told."""
        if self.memory:
            return f"was ended at {MEMORY_SHARE:.0%} of the container's memory"
        if self.code < 0:
            return f"was killed ({_signal_name(-self.code)})"
        return f"crashed ({self.told or f'exit code {self.code}'})"


def supervise(
    command: Sequence[str], *, retries: int, cgroup: Path = CGROUP, pause_seconds: float = PAUSE_SECONDS
) -> int:
    """Run a command until it ends well, or another attempt is of no use; return the task's exit code.

    Args:
        command: of the child; it finds the descriptor of its `Position` in the environment.
        retries: attempts after the first.
        cgroup: where the container's memory stands.
        pause_seconds: before the second attempt, where a server was away.

    The last line of a failed task begins with `error:`.
    """
    with Position.create() as position, _Terminations.passed_on() as terminations:
        before: Attempt | None = None
        for number in range(1, retries + 2):
            attempt = _run(command, position, terminations, cgroup)
            if attempt.code in (DONE, MENDABLE):
                return attempt.code
            cell, step = attempt.where
            where = f"at step {step} of cell {cell}"
            if terminations.asked or attempt.code in (TERMINATED, -signal.SIGTERM):
                _say(f"error: asked to stop (SIGTERM) {where}; with an object store, another run goes on from here")
                return TERMINATED
            text = f"attempt {number} of {retries + 1} {attempt.reason} {where}"
            away = attempt.code == UNAVAILABLE
            if before is not None and before.where == attempt.where and not away:
                _say(f"error: {text}, as the one before it did; the log above says more")
                return FAILED
            if number <= retries:
                _say(f"{text}; starting again from the last checkpoint")
                terminations.wait(pause_seconds * 2 ** (number - 1) if away else 0.0)
            before = attempt
        _say(f"error: {text}; no attempt is left")
        return FAILED


class _Terminations:
    """SIGTERM, passed on to the child that runs; also one that comes before or between the attempts counts."""

    def __init__(self) -> None:
        self.asked = False
        self.child: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def passed_on(cls) -> Iterator[Self]:
        found = cls()
        before = signal.signal(signal.SIGTERM, lambda *_: found.ask())
        try:
            yield found
        finally:
            signal.signal(signal.SIGTERM, before)

    def ask(self) -> None:
        self.asked = True
        if self.child is not None:
            self.child.terminate()

    def wait(self, seconds: float) -> None:
        """Wait, but for no longer than until a stop is asked for."""
        end = time.monotonic() + seconds
        while not self.asked and time.monotonic() < end:
            time.sleep(min(LOOK_SECONDS, seconds))

    def reach(self, child: "subprocess.Popen[bytes]") -> None:
        self.child = child
        if self.asked:  # while it was started
            child.terminate()


def _run(command: Sequence[str], position: Position, terminations: _Terminations, cgroup: Path) -> Attempt:
    """Return how a child ended, after ending it where its memory nears the container's."""
    position.clear()
    child = subprocess.Popen(  # noqa: S603 - our own command
        command,
        pass_fds=[position.descriptor],
        env={**os.environ, **position.environment()},
        preexec_fn=_die_with(os.getpid()),
    )
    terminations.reach(child)
    memory = False
    while (code := child.poll()) is None:
        if not memory and used_share(cgroup) > MEMORY_SHARE:
            memory = True
            child.kill()
        time.sleep(LOOK_SECONDS)
    return Attempt(code, position.read(), position.reason(), memory)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return f"signal {number}"


def used_share(cgroup: Path) -> float:
    """Return how much of its limit a container's memory fills, cached files left out, which it drops; 0: no limit."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        current = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except OSError:  # cgroup v1, or no container
        return 0.0
    cached = sum(int(stat.get(name, 0)) for name in ("active_file", "inactive_file"))
    return 0.0 if limit == "max" else (current - cached) / int(limit)


def _die_with(parent: int) -> Callable[[], None]:
    """Return what a child does first, so that it ends when its parent does."""
    library = ctypes.CDLL(None)

    def prepare() -> None:
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could be said
            os._exit(FAILED)

    return prepare


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())
