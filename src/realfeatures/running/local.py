"""The one-machine run: compute the cells that are not done yet, side by side, and write the report.

Every finished cell stays finished: an interrupted run, a killed one and a failed one all go on with the
same command. Imports no torch; the workers do.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from realfeatures import errors
from realfeatures.errors import Interrupted, RealFeaturesError, StageCrash, WorkerError
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import cells
from realfeatures.report.tables import duration
from realfeatures.results.results import Results
from realfeatures.running.arguments import check_folder, check_jobs, check_preset, opened_store
from realfeatures.running.folder import LOG, RunFolder
from realfeatures.running.names import check_run_name
from realfeatures.running.opening import open_results
from realfeatures.running.order import Schedule
from realfeatures.running.plan import Plan, addresses_of, check_seeds, make_plan
from realfeatures.running.pool import Worker, receive, workers
from realfeatures.running.progress import RunProgress, show_progress
from realfeatures.running.workers import Message
from realfeatures.science.artifacts import storage_errors
from realfeatures.store.cells import CellStore
from realfeatures.store.client import ObjectStore
from realfeatures.store.data import provide
from realfeatures.store.reports import publish

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.3
"""chosen: how soon the scheduler notices Ctrl-C while its workers are silent."""

GO_ON = "run the same call again to go on"


def run_experiment(
    preset: Preset,
    *,
    out: Path | str,
    seeds: int | Iterable[int] = (0,),
    jobs: int | None = None,
    store: ObjectStore | str | None = None,
    name: str | None = None,
) -> Results:
    """Compute an experiment in a folder, write its report there and return what was measured.

    What is done already is kept: whatever ended a run, the same call goes on from there. Progress is shown on the
    standard error, where that is a terminal.

    Args:
        preset: the experiment.
        out: the folder; running/folder.py says what is in it.
        seeds: each is one repetition of the experiment.
        jobs: cells computed side by side; None: see `default_jobs`.
        store: an object store or its s3://BUCKET/PREFIX, from which finished cells are taken, and in which they, the
            checkpoints of running ones and the report are kept, for a machine whose disk does not last.
        name: of the run in the object store; None: the preset's.

    Raises:
        ConfigError, DataError: something asked for is not usable; nothing was computed or written.
        ArtifactError: a finished artifact was changed.
        StorageError: the folder cannot be written, or is in use.
        WorkerError: a process died.
        Interrupted: Ctrl-C or a termination signal; checkpoints are saved.
        KeyboardInterrupt: Ctrl-C again, before they were.
        StageCrash: a bug in a stage.
    """
    check_preset(preset)
    seeds = check_seeds(seeds)
    jobs = check_jobs(default_jobs(preset) if jobs is None else jobs)
    name = str(preset.name if name is None else name)
    check_run_name(name)
    folder = RunFolder(check_folder(out, argument="out"))
    store = opened_store(store)
    plan = _prepare(preset, seeds=seeds, store=store)
    with folder.claim(plan.preset, seeds=seeds), _log_file(folder.path / LOG):
        _compute(plan, folder, jobs=jobs, store=store)
        _report(plan, folder, name=name, store=store)
    return open_results(folder.path)


def _prepare(preset: Preset, *, seeds: Sequence[int], store: ObjectStore | None) -> Plan:
    """Return the plan of a run that this machine can carry out."""
    if store is not None:
        store.check()
        provide(preset.data, store)
    plan = make_plan(preset, seeds=seeds)
    if preset.runtime.device == "cuda":
        # A missing GPU is refused before the output folder belongs to the experiment.
        from realfeatures.science.context import require_cuda

        require_cuda()
    return plan


def _exchange(plan: Plan, folder: RunFolder, done: set[str], store: CellStore) -> set[str]:
    """Take cells that are not done from the store, and put done ones there; return the keys that were taken."""
    there = store.finished()
    for key in done:
        if plan.addresses[key] not in there:
            store.keep(plan.addresses[key], folder.cell(plan.addresses[key]))
    wanted = {key: address for key, address in plan.addresses.items() if key not in done and address in there}
    taken = {key for key, address in wanted.items() if store.restore(address, folder.cell(address))}
    if taken:
        logger.info("%d of %d cells come from %s", len(taken), len(plan.grid), store.objects.settings.location)
    return taken


def default_jobs(preset: Preset) -> int:
    """Return one job a usable CPU core, or one in all where the cells share a GPU."""
    if preset.runtime.device == "cuda":
        return 1
    # Fewer than the machine has in a container or under taskset; not every system can tell.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // preset.runtime.threads)


def _compute(plan: Plan, folder: RunFolder, *, jobs: int, store: ObjectStore | None) -> None:
    """Compute the cells that are done neither in the folder nor in the store."""
    done = folder.finished(plan.addresses)
    if store is not None:
        done |= _exchange(plan, folder, done, CellStore(store))
    folder.forget_work({plan.addresses[key] for key in done})
    schedule = Schedule(plan, done)
    if schedule.complete:
        return
    count = min(jobs, len(schedule.todo))
    location = store.settings.location if store is not None else None
    weights = {key: cost.weight for key, cost in plan.costs.items()}
    logger.debug("%d of %d cells are done; %d jobs", len(done), len(plan.grid), jobs)
    with (
        _stop_signals() as stop,
        workers(plan, count=count, out=folder.path, store=location) as pool,
        show_progress(todo=schedule.todo, done=schedule.finished_count, weights=weights) as progress,
    ):
        _Drive(schedule, pool, progress, stop).run()
    if not schedule.complete:
        # The command line says up to the first semicolon, and then which command goes on.
        done_now = f"{schedule.finished_count} of {schedule.total} cells are done"
        raise Interrupted(f"{done_now}; checkpoints are saved; {GO_ON}")


class _Drive:
    """Hands cells to workers until all are done, one fails or a stop is asked for."""

    def __init__(
        self, schedule: Schedule, workers: Sequence[Worker], progress: RunProgress, stop: threading.Event
    ) -> None:
        self.schedule, self.workers, self.progress, self.stop = schedule, workers, progress, stop
        self.failure: Exception | None = None
        self.stopping = False

    def run(self) -> None:
        """Return once no worker runs a cell any more; raise the first failure."""
        while not self.schedule.complete:
            self._pass_on_stop()
            if not self.stopping:
                self._hand_out()
            elif all(worker.key is None for worker in self.workers):
                break
            alive = [worker for worker in self.workers if worker.is_alive or worker.key]
            for worker, message in receive(alive, timeout_seconds=POLL_SECONDS):
                self._take_in(worker, message)
            self.progress.show()
        if self.failure is not None:
            raise self.failure

    def _pass_on_stop(self) -> None:
        if self.stopping or not (self.stop.is_set() or self.failure):
            return
        self.stopping = True
        running = [worker for worker in self.workers if worker.key]
        if self.failure is None:
            logger.warning("stopping: %d running cells save their checkpoints; Ctrl-C again to kill", len(running))
        for worker in running:
            worker.ask_to_stop()

    def _hand_out(self) -> None:
        for worker in self.workers:
            if worker.key is None and (cell := self.schedule.take()) is not None:
                self.progress.started(cell.key)
                worker.run(cell)

    def _take_in(self, worker: Worker, message: Message) -> None:
        key = worker.key
        match message["event"]:
            case "progress" if key:
                self.progress.advanced(key, message["done"], message["total"])
                return
            case "done" if key:
                self.progress.finished(key, message["seconds"])
                self.schedule.finish(key)
            case "error" | "crash" | "died":
                failure = _failure(key, message)
                logger.debug("%s: %s", key, failure)
                self.failure = self.failure or failure
        worker.key = None


def _failure(key: str | None, message: Message) -> Exception:
    if message["event"] == "crash":
        return StageCrash(f"{key}:\n{message['traceback']}")
    if message["event"] == "died":
        return WorkerError(
            f"{key or 'a worker'}: its process died ({message['reason']}), perhaps for want of memory;"
            " run the same command to go on, with fewer --jobs if it happens again"
        )
    kind: type[RealFeaturesError] = getattr(errors, message["error"])
    return kind(message["text"])


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or termination signal into an event, and the second into KeyboardInterrupt."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread can handle signals; an embedding program keeps its own handling
        return

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        if stop.is_set():
            raise KeyboardInterrupt(f"finished cells and saved checkpoints are kept; {GO_ON}")
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _QuietFileHandler(logging.FileHandler):
    """A log that a full disk does not turn into tracebacks on the screen."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        pass


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    with storage_errors(path):
        handler = _QuietFileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    # At the root: what other libraries warn of belongs into the log too, not between the progress bars.
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with suppress(OSError):
            handler.close()


def _is_finished(seed: int, plan: Plan, folder: RunFolder) -> bool:
    addresses = addresses_of(cells(plan.preset, [seed]), plan.preset)
    return all(folder.cell(address).exists() for address in addresses.values())


def _report(plan: Plan, folder: RunFolder, *, name: str, store: ObjectStore | None) -> None:
    from realfeatures.report.page import write_report
    from realfeatures.results.earlier import earlier_results

    started = time.monotonic()
    # Also the seeds of earlier runs in the same folder: adding one takes none away.
    seeds = [seed for seed in folder.require_experiment()[1] if seed in plan.seeds or _is_finished(seed, plan, folder)]
    grid = cells(plan.preset, seeds)
    write_report(
        folder.path,
        preset=plan.preset,
        seeds=seeds,
        grid=grid,
        addresses=addresses_of(grid, plan.preset),
        earlier=earlier_results(store, name) if store is not None else (),
        name=name if store is not None else None,
    )
    if store is not None:
        publish(folder.path, name, store)
    logger.debug("the report took %s", duration(time.monotonic() - started))
