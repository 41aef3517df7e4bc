"""Who executes runs: a pool of processes on this machine.

The queue is the database. An executor only decides when a queued run is given to a worker process, and
gives back the runs of workers that are gone.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
import uuid
from concurrent.futures import Future, wait
from typing import NamedTuple, Protocol

from pebble import ProcessExpired, ProcessPool

from falcon_mnist import logs
from falcon_mnist.constants import QUEUED
from falcon_mnist.runs import worker
from falcon_mnist.runs.leases import LeaseObserver
from falcon_mnist.settings import Settings
from falcon_mnist.storage.files import Sweeper
from falcon_mnist.storage.opening import checkpoint_storage, parameter_storage
from falcon_mnist.storage.parameter_files import file_name
from falcon_mnist.storage.store import Store
from falcon_mnist.storage.tables import RunRow

log = logging.getLogger(__name__)

# How often the queue is looked at without being told to: runs may come from, or be lost by, another server.
POLL_SECONDS = 1.0
SWEEP_SECONDS = 300.0
# How long it may take from giving a run to the pool until a worker claims it, at first: to start one takes a second
# or two, but a hundred at once, or a busy machine, much longer.
CLAIM_SECONDS = 15.0


class Given(NamedTuple):
    """A run that was given to the pool, under which owner's name, and when (`time.monotonic`)."""

    run_id: str
    owner: str
    at: float


class Executor(Protocol):
    """Brings queued runs to their end, somewhere."""

    def start(self) -> None:
        """Begin to execute what is queued; does nothing the second time."""

    def notify(self) -> None:
        """A run was queued: start if need be, and look at the queue now."""

    def stop(self) -> None:
        """Give back what is running and end all workers."""


class _Workers:
    """A pool of processes: made when a run needs one, and again after it has lost all of them at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")  # the server has threads, which fork would break
        self._pool: ProcessPool | None = None
        self.claim_seconds = CLAIM_SECONDS
        self._drain = self._context.RawValue("b")  # without a lock, which a worker that is killed might hold

    def schedule(self, run_id: str, owner: str) -> Future[None]:
        """Give a run to a process."""
        if self._pool is None:
            self._pool = ProcessPool(
                max_workers=self._settings.workers,
                initializer=worker.start_process,
                initargs=[os.getpid(), logs.configured(), self._drain],
                context=self._context,
            )
        return self._pool.schedule(worker.execute, args=[self._settings, run_id, owner])

    def broken(self) -> bool:
        """Whether the pool has given up, as Pebble does when no process is left to tell whose run was lost."""
        return self._pool is not None and not self._pool.active

    def drain(self) -> None:
        """Tell the processes to save their runs."""
        self._drain.value = 1

    def end(self) -> None:
        """End the processes, within seconds."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None


class PoolExecutor:
    """Worker processes, started when the first run needs one."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._leases = LeaseObserver(store)
        self._parameters = Sweeper(parameter_storage(settings))
        self._checkpoints = Sweeper(checkpoint_storage(settings))
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._running: dict[Future[None], Given] = {}

    def start(self) -> None:
        """Start the thread that looks at the queue."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._dispatch, name="dispatcher", daemon=True)
                self._thread.start()

    def notify(self) -> None:
        """Wake that thread."""
        self.start()
        self._wake.set()

    def stop(self) -> None:
        """Let the workers save their runs and end them; the runs are queued again for the next server."""
        with self._lock:
            self._stopping.set()
            self._wake.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=30)

    def _dispatch(self) -> None:
        workers = _Workers(self._settings)
        next_sweep = 0.0
        try:
            while not self._stopping.is_set():
                try:
                    if time.monotonic() >= next_sweep:
                        self._sweep()
                        next_sweep = time.monotonic() + SWEEP_SECONDS
                    self._look(workers)
                except Exception:
                    log.exception("the queue could not be looked at; trying again")
                    self._stopping.wait(POLL_SECONDS)  # whatever wakes this thread, such as workers that fail as fast
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()
        finally:
            workers.drain()
            wait(self._running, timeout=worker.DRAIN_SECONDS)
            workers.end()
            self._give_back(worker_lost=False)
            self._store.close()

    def _give_back(self, *, worker_lost: bool) -> None:
        for given in self._running.values():
            _log_given_back(self._store.requeue(given.run_id, given.owner, worker_lost=worker_lost))
        self._running.clear()

    def _sweep(self) -> None:
        """Remove what processes left behind that were killed between writing a file and recording it."""
        try:
            self._parameters.sweep({file_name(row.id) for row in self._store.all_parameters()})
            recorded = {checkpoint["file"] for checkpoint in self._store.recorded_checkpoints()}
            self._checkpoints.sweep(recorded)
        except Exception:
            log.exception("abandoned files could not be removed")

    def _look(self, workers: _Workers) -> None:
        for future in [future for future in self._running if future.done()]:
            given = self._running.pop(future)
            self._finish(future, given.run_id, given.owner)
        broken = workers.broken()
        if broken or self._unclaimed(workers.claim_seconds):
            log.error("the pool of workers is broken: a new one takes its place")
            workers.end()
            self._give_back(worker_lost=broken)
            if not broken:  # perhaps it was only slow: the next one may take longer
                workers.claim_seconds *= 2
        for run in self._leases.requeue_expired():
            _log_given_back(run)
        free = self._settings.workers - len(self._running)
        ours = {given.run_id for given in self._running.values()}
        for run_id in self._store.queued(limit=free + len(ours)):
            if free and run_id not in ours:
                owner = uuid.uuid4().hex
                future = workers.schedule(run_id, owner)
                self._running[future] = Given(run_id, owner, time.monotonic())
                future.add_done_callback(lambda _: self._wake.set())
                free -= 1

    def _unclaimed(self, seconds: float) -> bool:
        """Whether a run was given to the pool so long ago and nobody has claimed it.

        A worker that is killed while it holds the lock of the pool's pipe leaves the others waiting for it.
        """
        late = [given.run_id for given in self._running.values() if time.monotonic() > given.at + seconds]
        return any((run := self._store.run(run_id)) is not None and run.state == QUEUED for run_id in late)

    def _finish(self, future: Future[None], run_id: str, owner: str) -> None:
        try:
            future.result(timeout=0)
        except ProcessExpired as error:
            log.error("run has lost its worker (%s)", error, extra={"run_id": run_id})
        except Exception:
            log.exception("run has lost its worker, which failed outside the run", extra={"run_id": run_id})
            self._stopping.wait(POLL_SECONDS)  # the next attempt may fail as fast: the disk is full, say
        _log_given_back(self._store.requeue(run_id, owner, worker_lost=True))  # nothing to a run that has ended


def _log_given_back(run: RunRow | None) -> None:
    if run is None:
        return
    if run.state == QUEUED:
        log.warning("run is queued again, after %d lost workers", run.worker_losses, extra={"run_id": run.id})
    else:
        log.error("run failed: worker_lost: %s", run.error["message"], extra={"run_id": run.id})
