"""A worker process: claims the run that it is told of, and runs it to completion.

The row of the run is all that a worker is told. A thread renews the lease meanwhile, stops the training as soon as
the run is no longer this worker's (it was cancelled, or requeued), and has it saved when its server is about to end.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from falcon_mnist import logs
from falcon_mnist.data import dataset
from falcon_mnist.data.dataset import DataError, Dataset
from falcon_mnist.runs.attempt import Attempt, Parts
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.runs.leases import LeaseKeeper
from falcon_mnist.runs.pulse import Pulse
from falcon_mnist.runs.sharing import Sharing
from falcon_mnist.settings import Settings, cpus
from falcon_mnist.storage.opening import WORKER_WAIT, checkpoint_storage, open_store, parameter_storage
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.store import Store
from falcon_mnist.training import trainer
from falcon_mnist.training.threads import Threads

log = logging.getLogger(__name__)

# How soon a cancelled run stops computing, and one to be saved is.
WATCH_SECONDS = 0.5
# Training gives way to requests: on a busy CPU a worker gets about a tenth of what the server wants.
NICENESS = 10

_datasets: dict[tuple[str, Path], Dataset] = {}
_sharing: Sharing | None = None  # where this process is one of a pool


def start_process(logging_as: tuple[int, logs.Style], pulse: Pulse, sharing: Sharing) -> None:
    """Prepare a worker process: requests go first, Ctrl-C is its server's business, and it ends with it."""
    global _sharing
    _sharing = sharing
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    logs.configure(*logging_as)
    end_with_parent()
    pulse.keep_beating()


def prepare(settings: Settings) -> None:
    """Do before the first run what every run needs: import this module, and map the data set if it is there."""
    with suppress(DataError, OSError):
        found = dataset.load(settings.dataset, settings.home, make=False)
        if settings.dataset != "auto" or found.name == "mnist":  # else a run is to look for MNIST first
            _datasets[settings.dataset, settings.home] = found


def end_with_parent() -> None:
    """End this process when the one that started it is gone, whatever it computes."""
    threading.Thread(target=_watch, args=[multiprocessing.parent_process()], name="parent-watch", daemon=True).start()


def _watch(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def execute(settings: Settings, run_id: str, owner: str) -> None:
    """Claim the run as `owner` and run it to completion; returns at once if it is not queued any more."""
    execute_with(parts(settings), run_id, owner)


@cache
def parts(settings: Settings) -> Parts:
    """What attempts work with, kept from run to run: connecting again would take much of a short run's time."""
    return Parts(
        store=open_store(settings, wait=WORKER_WAIT),
        checkpoints=Checkpoints(checkpoint_storage(settings)),
        parameters=ParameterFiles(parameter_storage(settings)),
        open_data=partial(open_data, settings),
        train=partial(trainer.train, threads=partial(Threads, free_cpus=free_cpus)),
    )


def execute_with(parts: Parts, run_id: str, owner: str, renewals: int | None = None) -> bool:
    """As `execute`, with these parts and as `Store.claim`. Says whether the run could be claimed."""
    run = parts.store.claim(run_id, owner, renewals)
    if run is None:
        return False
    log.info("run claimed", extra={"run_id": run_id})
    attempt = Attempt(parts, run, owner)
    with _beating(attempt.lease, parts.store):
        for _ in attempt.run_to_completion():
            pass
    return True


def free_cpus() -> int:
    """How many CPUs this process may use for its run at the moment."""
    return cpus() if _sharing is None else _sharing.free_cpus()


def open_data(settings: Settings) -> Dataset:
    """The data set of the settings, opened once in the life of the process."""
    key = (settings.dataset, settings.home)
    if key not in _datasets:
        _datasets[key] = dataset.load(settings.dataset, settings.home)
    return _datasets[key]


@contextmanager
def _beating(lease: LeaseKeeper, store: Store) -> Iterator[None]:
    """Keep the lease until the block ends."""
    over = threading.Event()

    def beat() -> None:
        if over.wait(WATCH_SECONDS):
            return  # nothing was read: there is no connection
        while lease.beat(WATCH_SECONDS) and not over.wait(WATCH_SECONDS):
            pass
        store.close()  # this thread's connection

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
