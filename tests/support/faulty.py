"""`falcon-mnist serve` with faults: a server whose test decides, by files, where its workers stop or fail.

Its parts are the real ones, but for some that stand here; workers are spawned, and import them. A switch is a file in
HOME/faults:

    hold-EPOCH-DONE   training waits where so many epochs and rows of the next are done and saved, or it goes on there
    hold-saved        a worker waits between writing a checkpoint and recording it
    hold-written      the same of its parameters
    full              the disk of the stored files is full
    database-full     the disk of the database is full
    deaf              a run computes without an end, and hears no signal
    deadly            a run kills its server and its worker as it begins
    brief-leases      leases are over after two seconds, where nobody renews them
    stuck             the executor does not end, and the server is impatient
    slow-start        a worker takes half a second to start, and is taken for broken sooner
    calm              none: rows and files are looked at less often, for a server that lives long
"""

from __future__ import annotations

import ctypes
import errno
import logging
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import forked_workers

from falcon_mnist import logs
from falcon_mnist.app import open_service
from falcon_mnist.cli import serve
from falcon_mnist.runs import worker
from falcon_mnist.runs.attempt import Parts
from falcon_mnist.runs.checkpoints import Checkpoint, Checkpoints
from falcon_mnist.runs.executor import Executor
from falcon_mnist.runs.leases import LEASE_SECONDS, RENEW_SECONDS, LeaseKeeper
from falcon_mnist.runs.pool import CLAIM_SECONDS
from falcon_mnist.runs.queue import Queue
from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import Database, DatabaseFullError
from falcon_mnist.storage.disk import Disk
from falcon_mnist.storage.files import Storage, Written
from falcon_mnist.storage.opening import WORKER_WAIT, checkpoint_storage, database_at, open_database, parameter_storage
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.storage.store import Store
from falcon_mnist.training import trainer
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.state import State

SWITCHES = Path(os.environ["FALCON_MNIST_HOME"]) / "faults"
PATIENCE = 60.0


def on(name: str) -> bool:
    return (SWITCHES / name).exists()


lease: LeaseKeeper | None = None  # of the run that this worker executes


def keep_lease(store: Store, run_id: str, owner: str) -> LeaseKeeper:
    global lease
    lease = LeaseKeeper(store, run_id, owner, renew_seconds=0.5 if on("brief-leases") else RENEW_SECONDS)
    return lease


def hold(name: str) -> None:
    end = time.monotonic() + PATIENCE
    while on(name) and not (lease and lease.drain) and time.monotonic() < end:
        time.sleep(0.01)


class FullDisk(Disk):
    """A disk that may have no room."""

    def sync(self, file: BinaryIO) -> None:
        if on("full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().sync(file)


class FullDatabase(SQLite):
    """A database that may have no room."""

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        if on("database-full") and sql.split(maxsplit=1)[0] in ("INSERT", "UPDATE", "DELETE"):
            raise DatabaseFullError("database or disk is full")
        return super().execute_sql(sql, params)


def dialect(place: Path | str, *, wait: float) -> Database:
    """The database of the settings; one in a file may have no room."""
    return FullDatabase(place, wait=wait) if isinstance(place, Path) else database_at(place, wait=wait)


class HoldingParameters(ParameterFiles):
    """Waits before what was written is recorded."""

    def write(self, *args: Any) -> Written:
        written = super().write(*args)
        hold("hold-written")
        return written


class HoldingCheckpoints(Checkpoints):
    """One run's checkpoints, one after each batch: waits before one is recorded, and when the one before is removed."""

    written: Checkpoint | None = None
    at = "nowhere"

    def write(self, state: State) -> Checkpoint:
        self.at = f"{state.epoch}-{state.done}"
        self.written = super().write(state)
        hold("hold-saved")
        return self.written

    def remove(self, checkpoint: Checkpoint | None) -> None:
        super().remove(checkpoint)
        if self.written and (checkpoint is None or checkpoint["file"] != self.written["file"]):
            hold(f"hold-{self.at}")


def train(
    net: Any, state: State, images: Any, labels: Any, hyperparams: Hyperparams, **named: Any
) -> Iterator[trainer.Metrics | None]:
    """As `trainer.train`, in segments of one batch."""
    if on("deadly"):
        server = multiprocessing.parent_process()
        assert server
        os.kill(server.pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    hold(f"hold-{state.epoch}-{state.done}")  # where it resumes
    compute()
    batch = hyperparams.batch_size
    for metrics in trainer.train(net, state, images, labels, hyperparams, segment_rows=(batch, batch), **named):
        yield metrics
        compute()


def compute() -> None:
    """As a kernel that does not end: without the GIL, and ignoring signals; but without taking a CPU from others."""
    if on("deaf"):
        mutex = ctypes.create_string_buffer(64)  # zeros: nobody has locked it
        for _ in range(2):  # the second time it waits for itself
            ctypes.CDLL(None).pthread_mutex_lock(mutex)


def storages(settings: Settings) -> tuple[Storage, Storage]:
    """Of checkpoints and of parameters; a bucket that fails is asked again sooner than usual."""
    patience = None
    if settings.storage_url:
        from falcon_mnist.storage.object_store import Patience  # needs what comes with buckets alone

        patience = Patience(pauses=(0.02, 0.1))
    disk = FullDisk()
    checkpoints = checkpoint_storage(settings, disk=disk, patience=patience)
    return checkpoints, parameter_storage(settings, disk=disk, patience=patience)


def execute(settings: Settings, run_id: str, owner: str) -> None:
    """As `worker.execute`."""
    if on("slow-start"):
        time.sleep(0.5)
    checkpoints, parameters = storages(settings)
    parts = Parts(
        store=Store(open_database(settings.database, wait=WORKER_WAIT, dialect=dialect)),
        checkpoints=HoldingCheckpoints(checkpoints, max_share=math.inf, min_interval_seconds=0.0),
        parameters=HoldingParameters(parameters),
        open_data=partial(worker.open_data, settings),
        progress_write_seconds=0.0,
        train=train,
        keep_lease=keep_lease,
        sleep=lambda seconds: time.sleep(seconds / 10),  # until the storage is asked again
    )
    worker.execute_with(parts, run_id, owner)


class FaultyExecutor(Executor):
    """An executor with these workers, whose end may take long."""

    drain_seconds = 1.0 if on("deaf") else 3.0  # for who is deaf it waits in vain

    def __init__(self, settings: Settings, store: Store, _: object) -> None:
        super().__init__(
            settings,
            store,
            partial(forked_workers.backend, execute=execute),
            make_queue=partial(
                Queue,
                lease_seconds=2.0 if on("brief-leases") else LEASE_SECONDS,
                claim_seconds=(0.05, 240.0) if on("slow-start") else CLAIM_SECONDS,
            ),
            poll_seconds=1.0 if on("calm") else 0.1,
            sweep_seconds=2.0 if on("calm") else 0.2,
            drain_seconds=self.drain_seconds,
        )

    def stop(self) -> None:
        hold("stuck")
        super().stop()


def log_to_a_full_pipe() -> None:
    """Whoever writes to standard error waits from now on, as where `less` or a terminal after Ctrl-S reads it."""
    _, written = os.pipe()
    os.set_blocking(written, False)
    with suppress(BlockingIOError):
        while True:
            os.write(written, bytes(4096))
    os.set_blocking(written, True)
    os.dup2(written, 2)


def main() -> None:
    if on("unread-log"):
        log_to_a_full_pipe()
    logs.configure(logging.INFO, "json")
    drain_seconds, exit_seconds = (1.0, 2.0) if on("stuck") else (30.0, 60.0)
    if on("deaf"):  # three workers would take longer if the server were to end one after the other
        exit_seconds = FaultyExecutor.drain_seconds + 7.0
    service = open_service(Settings.from_env(), dialect=dialect, make_executor=FaultyExecutor)
    serve.run(service, "127.0.0.1", 0, drain_seconds=drain_seconds, exit_seconds=exit_seconds)


if __name__ == "__main__":
    main()
