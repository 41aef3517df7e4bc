"""One run, from claim to end, in a process of its own.

The row of the run is all that a worker is told. It claims the run, trains, writes each epoch's metrics to
the database, and ends the run; a thread renews the lease meanwhile and stops the training as soon as the
run is no longer this worker's (it was cancelled, or given to another).
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from falcon_mnist import kernels, logs
from falcon_mnist.clock import new_id
from falcon_mnist.constants import ACTIVE
from falcon_mnist.data import dataset
from falcon_mnist.data.dataset import DataError, Dataset
from falcon_mnist.runs.checkpoints import Checkpoints, Keeper
from falcon_mnist.runs.leases import LEASE_SECONDS
from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import DatabaseBusyError, DatabaseFullError
from falcon_mnist.storage.files import DamagedFileError
from falcon_mnist.storage.opening import WORKER_WAIT, checkpoint_storage, open_store, parameter_storage
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.store import RunLostError, Store
from falcon_mnist.storage.tables import RunRow
from falcon_mnist.training import network, trainer
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.trainer import DivergedError, State, StoppedError

log = logging.getLogger(__name__)

# How soon a cancelled run stops computing.
WATCH_SECONDS = 0.5
# How long a worker may take to save its run when the server ends.
DRAIN_SECONDS = 8.0
# Training gives way to requests: on a busy CPU a worker gets about a tenth of what the server wants.
NICENESS = 10
_RENEW_EVERY = int(LEASE_SECONDS / 4 / WATCH_SECONDS)

_datasets: dict[tuple[str, Path], Dataset] = {}


# Not 0 when runs are to be saved and given back; the executor's.
_drain: ctypes.c_byte | None = None


class DrainedError(Exception):
    """The run was saved and is to be given back: the server is about to end."""


def start_process(parent: int, logging_as: tuple[int, logs.Style], drain: ctypes.c_byte) -> None:
    """Prepare a worker process: requests go first, Ctrl-C is its server's business, and it ends with it."""
    global _drain
    _drain = drain
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    logs.configure(*logging_as)
    threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()


def _draining() -> bool:
    return _drain is not None and bool(_drain.value)


def _end_with(parent: int) -> None:
    """End this process when its server is gone, or has waited long enough for it, whatever it is at."""
    waited = 0.0
    while os.getppid() == parent and waited < DRAIN_SECONDS:
        time.sleep(WATCH_SECONDS)
        waited += WATCH_SECONDS if _draining() else 0.0
    os._exit(1)


def execute(settings: Settings, run_id: str, owner: str) -> None:
    """Claim the run as `owner` and bring it to its end; returns at once if it is not queued any more."""
    if _draining():
        return
    store = open_store(settings, wait=WORKER_WAIT)
    try:
        run = store.claim(run_id, owner)
        if run is not None:
            log.info("run claimed", extra={"run_id": run_id})
            _bring_to_end(settings, store, run, owner)
    finally:
        store.close()


def _bring_to_end(settings: Settings, store: Store, run: RunRow, owner: str) -> None:
    try:
        with _watched(store, run.id, owner) as stop:
            _train(settings, store, run, owner, stop)
        log.info("run succeeded", extra={"run_id": run.id})
    except DrainedError:
        store.requeue(run.id, owner, worker_lost=False)
        log.info("run saved for the next server", extra={"run_id": run.id})
    except (RunLostError, StoppedError):
        log.info("run stopped: it is no longer this worker's", extra={"run_id": run.id})
    except DatabaseBusyError:  # whose lease can be renewed as little: once it has run out, the run is requeued
        log.error("run left, to be requeued: the database is locked", extra={"run_id": run.id})
        return
    except Exception as error:
        code, message = _code_and_message(error)
        cause = f"{type(error).__name__}: {error}"
        log.error("run failed: %s: %s", code, cause, exc_info=code == "internal_error", extra={"run_id": run.id})
        store.fail(run.id, owner, code, message)
    ended = store.run(run.id)
    if ended is not None and ended.state not in ACTIVE:
        Checkpoints(checkpoint_storage(settings)).remove(ended.checkpoint)


def _train(settings: Settings, store: Store, run: RunRow, owner: str, stop: npt.NDArray[np.uint8]) -> None:
    data = _dataset(settings)
    log.info("run trains on %s. %s", data.name, data.reason, extra={"run_id": run.id})
    hyperparams = Hyperparams.model_validate(run.hyperparams)
    net = network.build(store.architecture(run))
    checkpoints = Checkpoints(checkpoint_storage(settings))
    basis = (_described(data), kernels.isa())
    if run.dataset is not None and (run.dataset, run.isa) != basis:
        log.warning(
            "restarting from epoch 1: the run began on %s with the %s kernels, here are %s with %s",
            run.dataset["name"], run.isa, data.name, kernels.isa(), extra={"run_id": run.id},
        )  # fmt: skip
        store.restart(run.id, owner)
        checkpoints.remove(run.checkpoint)
        run.checkpoint = None
    state = _resumed(checkpoints, run) or trainer.initial_state(net, hyperparams)
    store.record_basis(run.id, owner, dataset=basis[0], isa=basis[1])
    record = partial(store.record_checkpoint, run.id, owner)
    keeper = Keeper(checkpoints, record, run.checkpoint, at_once=run.worker_losses > 0)
    for metrics in trainer.train(net, state, data.train_images, data.train_labels, hyperparams, stop=stop):
        if metrics is not None:
            store.record_epoch(run.id, owner, state.epoch, metrics._asdict())
            log.info("epoch %d finished", state.epoch, extra={"run_id": run.id} | metrics._asdict())
        if _draining():
            keeper.keep(state, now=True)
            raise DrainedError
        keeper.keep(state)
    files = ParameterFiles(parameter_storage(settings))
    param_id = new_id("p")
    written = files.write(param_id, net, state.parameters)
    try:
        store.succeed(run.id, owner, param_id, size_bytes=written.size_bytes, sha256=written.sha256)
    except BaseException:
        files.remove(param_id)
        raise


def _described(data: Dataset) -> dict[str, str]:
    return {"name": data.name, "checksum": data.checksum}


def _resumed(checkpoints: Checkpoints, run: RunRow) -> State | None:
    """What an earlier attempt at the run left, if this one can go on from it."""
    if run.checkpoint is None:
        return None
    try:
        state = checkpoints.read(run.checkpoint)
    except DamagedFileError as error:
        log.error("run begins anew, its checkpoint is damaged: %s", error, extra={"run_id": run.id})
        return None
    log.info("run goes on in epoch %d", state.epoch + 1, extra={"run_id": run.id})
    return state


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
            try:
                if beats % _RENEW_EVERY == 0:
                    held = store.renew(run_id, owner)
                else:
                    held = store.held(run_id, owner) is not None
            except Exception as error:  # a full disk, say: the lease may still be renewed in time
                log.error("run goes on, its lease could not be looked at: %s", error, extra={"run_id": run_id})
                continue
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
    if isinstance(error, DatabaseFullError):
        return "disk_full", "There was no room on the server's disk for the database."
    return "internal_error", f"The worker failed ({type(error).__name__}); the server's log says why."
