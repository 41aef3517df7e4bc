"""One run, from claim to end, in a process of its own.

The row of the run is all that a worker is told. It claims the run, trains, writes each epoch's metrics to
the database, and ends the run; a thread renews the lease meanwhile and stops the training as soon as the
run is no longer this worker's (it was cancelled, or given to another).
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from falcon_mnist import dataset, network, trainer
from falcon_mnist.dataset import DataError, Dataset
from falcon_mnist.parameter_files import ParameterFiles
from falcon_mnist.schemas import Hyperparams
from falcon_mnist.settings import Settings
from falcon_mnist.store import LEASE_SECONDS, RunLostError, RunRow, Store, new_id
from falcon_mnist.trainer import DivergedError, StoppedError

log = logging.getLogger(__name__)

# How soon a cancelled run stops computing.
WATCH_SECONDS = 0.5
# Training gives way to requests: on a busy CPU a worker gets about a tenth of what the server wants.
NICENESS = 10
_RENEW_EVERY = int(LEASE_SECONDS / 4 / WATCH_SECONDS)

_datasets: dict[tuple[str, Path], Dataset] = {}


def start_process(parent: int, log_level: int) -> None:
    """Prepare a worker process: requests go first, Ctrl-C is its server's business, and it ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    logging.basicConfig(level=log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()


def _end_with(parent: int) -> None:
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(WATCH_SECONDS)
    os._exit(1)


def execute(settings: Settings, run_id: str, owner: str) -> None:
    """Claim the run as `owner` and bring it to its end; returns at once if it is not queued any more."""
    store = Store(settings.database)
    try:
        run = store.claim(run_id, owner)
        if run is not None:
            log.info("run %s: claimed", run_id)
            _bring_to_end(settings, store, run, owner)
    finally:
        store.close()


def _bring_to_end(settings: Settings, store: Store, run: RunRow, owner: str) -> None:
    try:
        with _watched(store, run.id, owner) as stop:
            _train(settings, store, run, owner, stop)
        log.info("run %s: succeeded", run.id)
    except (RunLostError, StoppedError):
        log.info("run %s: stopped, it is no longer this worker's", run.id)
    except Exception as error:
        code, message = _code_and_message(error)
        log.error("run %s: failed: %s", run.id, message, exc_info=code == "internal_error")
        store.fail(run.id, owner, code, message)


def _train(settings: Settings, store: Store, run: RunRow, owner: str, stop: npt.NDArray[np.uint8]) -> None:
    store.restart(run.id, owner)
    data = _dataset(settings)
    log.info("run %s: data set %s. %s", run.id, data.name, data.reason)
    store.record_dataset(run.id, owner, {"name": data.name, "checksum": data.checksum})
    hyperparams = Hyperparams.model_validate(run.hyperparams)
    net = network.build(store.architecture(run))
    state = trainer.initial_state(net, hyperparams)
    for metrics in trainer.epochs(net, state, data.train_images, data.train_labels, hyperparams, stop=stop):
        store.record_epoch(run.id, owner, state.epoch, metrics._asdict())
    files = ParameterFiles(settings.storage)
    param_id = new_id("p")
    written = files.write(param_id, net, state.parameters)
    try:
        store.succeed(run.id, owner, param_id, size_bytes=written.size_bytes, sha256=written.sha256)
    except BaseException:
        files.remove(param_id)
        raise


def _dataset(settings: Settings) -> Dataset:
    """The data set of the settings, opened once in the life of the process."""
    key = (settings.dataset, settings.home)
    if key not in _datasets:
        _datasets[key] = dataset.load(settings.dataset, settings.home)
    return _datasets[key]


@contextmanager
def _watched(store: Store, run_id: str, owner: str) -> Iterator[npt.NDArray[np.uint8]]:
    """A stop flag that is set when the run is lost; the lease is renewed until the block ends."""
    stop = np.zeros(1, dtype=np.uint8)
    over = threading.Event()

    def watch() -> None:
        beats = 0
        while not over.wait(WATCH_SECONDS):
            beats += 1
            held = store.renew(run_id, owner) if beats % _RENEW_EVERY == 0 else store.holds(run_id, owner)
            if not held:
                stop[0] = 1
                break
        store.close()

    thread = threading.Thread(target=watch, name="lease", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        over.set()
        thread.join()


def _code_and_message(error: Exception) -> tuple[str, str]:
    """What a failed run tells its client: never a path, a traceback or SQL."""
    if isinstance(error, DivergedError):
        return "diverged", str(error)
    if isinstance(error, DataError):
        return "no_dataset", "The data set cannot be used; the server's log says why."
    if isinstance(error, MemoryError):
        return "out_of_memory", "There was not enough memory to train this network."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk_full", "There was no room on the server's disk for the parameters."
    return "internal_error", f"The worker failed ({type(error).__name__}); the server's log says why."
