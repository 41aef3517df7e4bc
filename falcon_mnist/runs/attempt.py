"""One worker's attempt at a run, from claim to end: what it reads and writes, in what order.

The attempt is cut into steps, so that a simulation can interrupt it between any two of its effects. A worker process
takes them one after the other.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from falcon_mnist import kernels
from falcon_mnist.clock import SYSTEM_CLOCK, Clock, NewId, new_id
from falcon_mnist.constants import ACTIVE, Array, FailureCode
from falcon_mnist.data.dataset import DataError, Dataset
from falcon_mnist.runs.checkpoints import Checkpoint, Checkpoints, CheckpointWriter
from falcon_mnist.runs.leases import LeaseKeeper
from falcon_mnist.runs.progress import WRITE_SECONDS, Progress
from falcon_mnist.storage.database import DatabaseBusyError, DatabaseFullError, DatabaseLostError
from falcon_mnist.storage.files import DamagedFileError, StorageUnavailableError
from falcon_mnist.storage.parameter_files import ParameterFiles, file_name
from falcon_mnist.storage.store import RunLostError, Store
from falcon_mnist.storage.tables import RunRow
from falcon_mnist.training import network, state, trainer
from falcon_mnist.training.evaluation import evaluate
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.state import State
from falcon_mnist.training.trainer import DivergedError, StoppedError

log = logging.getLogger(__name__)

# How often a storage that did not answer is asked again: as soon as a run notices that it was cancelled.
STORAGE_PAUSE_SECONDS = 1.0

_Result = TypeVar("_Result")


class DrainedError(Exception):
    """The run was saved and is to be requeued: its server is about to end."""


@dataclass(frozen=True)
class Parts:
    """What an attempt works with."""

    store: Store
    checkpoints: Checkpoints
    parameters: ParameterFiles
    open_data: Callable[[], Dataset]
    train: Callable[..., Iterator[Any]] = trainer.train
    evaluate: Callable[..., dict[str, Any]] = evaluate
    isa: str = kernels.isa()
    keep_lease: Callable[[Store, str, str], LeaseKeeper] = LeaseKeeper
    clock: Clock = SYSTEM_CLOCK
    new_id: NewId = new_id
    sleep: Callable[[float], None] = time.sleep
    progress_write_seconds: float = WRITE_SECONDS


class Attempt:
    """The attempt of the worker `owner` at a run that it has claimed."""

    def __init__(self, parts: Parts, run: RunRow, owner: str) -> None:
        self._parts = parts
        self._run = run
        self._owner = owner
        self._log_as = {"run_id": run.id}
        self.lease = parts.keep_lease(parts.store, run.id, owner)
        self._progress = Progress(
            parts.store, run.id, owner, clock=parts.clock, write_seconds=parts.progress_write_seconds
        )

    def run_to_completion(self) -> Iterator[None]:
        """The steps. Where the database cannot record the end of the run, it is left as it is, and requeued later."""
        try:
            yield from self._train_and_record_end()
        except (DatabaseBusyError, DatabaseFullError) as error:
            log.error("run left, to be requeued: its end cannot be recorded: %s", error, extra=self._log_as)
            return
        yield
        ended = self._parts.store.run(self._run.id)
        if ended is not None and ended.state not in ACTIVE:
            self._parts.checkpoints.remove(ended.checkpoint)

    def _train_and_record_end(self) -> Iterator[None]:
        try:
            yield from self._train()
            log.info("run succeeded", extra=self._log_as)
        except DrainedError:
            self._parts.store.requeue(self._run.id, self._owner, worker_lost=False)
            log.info("run saved for the next server", extra=self._log_as)
        except (RunLostError, StoppedError):
            log.info("run stopped: it is no longer this worker's", extra=self._log_as)
        except DatabaseBusyError:
            raise
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        code, message = _code_and_message(error)
        cause = f"{type(error).__name__}: {error}"
        if code == "diverged":  # because of its hyperparameters: no fault of the server
            log.warning("run failed: %s: %s", code, cause, extra=self._log_as)
        else:
            log.error("run failed: %s: %s", code, cause, exc_info=code == "internal_error", extra=self._log_as)
        with suppress(RunLostError), self._progress.written_with():
            self._parts.store.fail(self._run.id, self._owner, code, message)

    def _train(self) -> Iterator[None]:
        parts, run = self._parts, self._run
        data = parts.open_data()
        log.info("run trains on %s. %s", data.name, data.reason, extra=self._log_as)
        hyperparams = Hyperparams.model_validate(run.hyperparams)
        architecture = parts.store.architecture(run)
        net = network.build(architecture)
        yield from self._settle_basis({"name": data.name, "checksum": data.checksum})
        current = yield from self._once_storage_answers(self._resume)
        if current is None:
            start = yield from self._once_storage_answers(self._start)
            current = state.initial_state(net, hyperparams, start)
        writer = CheckpointWriter(
            parts.checkpoints,
            self._record_checkpoint,
            run.checkpoint,
            at_once=run.worker_losses > 0,
            clock=parts.clock,
        )
        images, labels = data.train_images, data.train_labels
        for metrics in parts.train(net, current, images, labels, hyperparams, stop=self.lease.stop):
            yield
            if metrics is not None:
                self._progress.note_epoch(current.epoch, metrics._asdict(), current.best_epoch)
                log.info("epoch %d finished", current.epoch, extra=self._log_as | metrics._asdict())
            if self._progress.write_if_due():
                yield
            # A resumed run first repeats the epochs that were recorded before a crash: its parameters must be those of
            # the last epoch in the history.
            if metrics is not None and self.lease.finish and current.epoch >= run.epoch:
                break
            yield from writer.maybe_save(current, now=self.lease.drain)
            if self.lease.drain:
                raise DrainedError
        yield from self._succeed(architecture, current, data)

    def _record_checkpoint(self, checkpoint: Checkpoint | None) -> None:
        """In one transaction with the epochs before it: so the history of a run that resumes from it has no gap."""
        with self._progress.written_with():
            self._parts.store.record_checkpoint(self._run.id, self._owner, checkpoint)

    def _settle_basis(self, dataset: dict[str, str]) -> Iterator[None]:
        """Note the data set and the instruction set of this attempt.

        Restart the run if an earlier attempt had others: its end would be that of neither.
        """
        parts, run = self._parts, self._run
        if run.dataset is not None and (run.dataset, run.isa) != (dataset, parts.isa):
            log.warning(
                "restarting from epoch 1: the run began on %s with the %s kernels, this worker has %s with %s",
                *(run.dataset["name"], run.isa, dataset["name"], parts.isa),
                extra=self._log_as,
            )
            parts.store.restart(run.id, self._owner)
            yield
            parts.checkpoints.remove(run.checkpoint)
            run.checkpoint, run.epoch = None, 0
        if (run.dataset, run.isa) != (dataset, parts.isa):
            self._progress.note_basis(dataset, parts.isa)

    def _once_storage_answers(self, act: Callable[[], _Result]) -> Generator[None, None, _Result]:
        """What `act` returns; tried again, a step after each time, while the storage is unavailable.

        So nothing that was trained is lost with it. Raises `DrainedError` and `StoppedError`.
        """
        waiting = False
        while True:
            try:
                return act()
            except StorageUnavailableError as error:
                if not waiting:
                    self._progress.write()
                    log.error("run waits for its storage: %s", error.strerror, extra=self._log_as)
                waiting = True
            self._parts.sleep(STORAGE_PAUSE_SECONDS)
            yield
            if self.lease.drain:
                raise DrainedError
            if self.lease.stop[0]:
                raise StoppedError

    def _start(self) -> Array | None:
        """The parameters that the run is to begin with, if it names some. Raises `DamagedFileError`."""
        parts, param_id = self._parts, self._run.start_from
        if param_id is None:
            return None
        row = parts.store.parameters(param_id)
        if row is None:
            raise DamagedFileError(file_name(param_id), "is gone")
        return parts.parameters.read(param_id, row.written, parts.store.architecture(self._run))

    def _resume(self) -> State | None:
        """What an earlier attempt at the run left, if this one can resume from it."""
        if self._run.checkpoint is None:
            return None
        try:
            found = self._parts.checkpoints.read(self._run.checkpoint)
        except DamagedFileError as error:
            log.error("checkpoint corrupt, restarting from epoch 1: %s", error, extra=self._log_as)
            return None
        log.info("resuming run at epoch %d", found.epoch + 1, extra=self._log_as)
        return found

    def _succeed(self, architecture: Mapping[str, Any], trained: State, data: Dataset) -> Iterator[None]:
        """Evaluate the parameters and put them, then record both: a row never names a file that is not whole."""
        parts = self._parts
        evaluation = {
            "dataset": {"name": data.name, "checksum": data.checksum},
            **parts.evaluate(network.build(architecture), trained.result, data.test_images, data.test_labels),
        }
        yield
        param_id = parts.new_id("p")
        write = partial(parts.parameters.write, param_id, architecture, trained.result)
        written = yield from self._once_storage_answers(write)
        yield
        try:
            with self._progress.written_with():
                parts.store.succeed(
                    self._run.id,
                    self._owner,
                    param_id,
                    size_bytes=written.size_bytes,
                    sha256=written.sha256,
                    evaluation=evaluation,
                )
        except DatabaseLostError:
            raise  # the row may be there; if it is not, the file is swept as any that no row names
        except BaseException:
            parts.parameters.discard(param_id)
            raise


def _code_and_message(error: Exception) -> tuple[FailureCode, str]:
    """What a failed run tells its client: never a path, a traceback or SQL."""
    if isinstance(error, DivergedError):
        return "diverged", str(error)
    if isinstance(error, DataError):
        return "no_dataset", "The data set cannot be used; the log says why."
    if isinstance(error, DamagedFileError):  # a damaged checkpoint is no error: the run restarts
        return "start_unavailable", "The parameter set in start_from cannot be read; the log says why."
    if isinstance(error, MemoryError):
        return "out_of_memory", "There was not enough memory to train this network."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk_full", "There was no room on the server's disk for the parameters."
    if isinstance(error, DatabaseFullError):
        return "disk_full", "There was no room on the server's disk for the database."
    return "internal_error", f"The worker failed ({type(error).__name__}); the log says why."
