"""`falcon-mnist` with faults: a server whose test decides, by files, where its workers stop or fail.

Workers are spawned, so they run what stands here too. A switch is a file in HOME/faults:

    hold-EPOCH-DONE   training waits where so many epochs and rows of the next are done and saved, or it goes on there
    hold-saved        a worker waits between writing a checkpoint and recording it
    hold-written      the same of its parameters
    full              the disk of the stored files is full
    database-full     the disk of the database is full
    deaf              a run computes without an end, and hears no signal
    deadly            a run kills its server and its worker as it begins
    brief-leases      leases are over after two seconds, where nobody renews them
    stuck             the executor does not end, and the server is impatient
    brief-claims      the pool of workers is taken for broken very soon
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peewee

from falcon_mnist.runs import checkpoints, leases
from falcon_mnist.runs.attempt import Attempt
from falcon_mnist.storage import files
from falcon_mnist.storage.database import DatabaseFullError
from falcon_mnist.storage.store import Store
from falcon_mnist.training import trainer
from falcon_mnist.training.state import State

SWITCHES = Path(os.environ["FALCON_MNIST_HOME"]) / "faults"
PATIENCE = 60.0


def on(name: str) -> bool:
    return (SWITCHES / name).exists()


def before(owner: Any, name: str, act: Callable[..., None]) -> None:
    """Let `act` see the arguments of a call before it happens."""
    inner = getattr(owner, name)

    def call(*args: Any, **named: Any) -> Any:
        act(*args, **named)
        return inner(*args, **named)

    setattr(owner, name, call)


def after(owner: Any, name: str, act: Callable[..., None]) -> None:
    """Let `act` see the arguments of a call after it has happened."""
    inner = getattr(owner, name)

    def call(*args: Any, **named: Any) -> Any:
        result = inner(*args, **named)
        act(*args, **named)
        return result

    setattr(owner, name, call)


lease: leases.LeaseKeeper | None = None  # of the run that this worker executes


def note_lease(keeper: leases.LeaseKeeper, *_: object) -> None:
    global lease
    lease = keeper


def hold(name: str) -> None:
    end = time.monotonic() + PATIENCE
    while on(name) and not (lease and lease.drain) and time.monotonic() < end:
        time.sleep(0.01)


def resume(attempt: Attempt) -> State | None:
    state = resumed(attempt)
    if state is not None:
        hold(f"hold-{state.epoch}-{state.done}")
    return state


def saved(writer: checkpoints.CheckpointWriter, state: State, **named: bool) -> Iterator[None]:
    yield from maybe_save(writer, state, **named)
    hold(f"hold-{state.epoch}-{state.done}")


def refuse(*_: object) -> None:
    if on("full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refuse_rows(_: object, sql: str, *__: object) -> None:
    if on("database-full") and sql.split(maxsplit=1)[0] in ("INSERT", "UPDATE", "DELETE"):
        raise DatabaseFullError("database or disk is full")


def die(*_: object) -> None:
    if on("deadly"):
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def compute(*_: object) -> None:
    """As a kernel does: without the GIL, and without an ear for signals before it is done."""
    if on("deaf"):
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


# A checkpoint after each batch.
checkpoints.MIN_INTERVAL_SECONDS = 0.0
checkpoints.MAX_SHARE = math.inf
trainer.SEGMENT_FLOP = (1, 1)
maybe_save, checkpoints.CheckpointWriter.maybe_save = checkpoints.CheckpointWriter.maybe_save, saved
resumed, Attempt._resume = Attempt._resume, resume
after(leases.LeaseKeeper, "__init__", note_lease)
before(Store, "record_checkpoint", lambda *_, **__: hold("hold-saved"))
before(Store, "succeed", lambda *_, **__: hold("hold-written"))
before(files.os, "fsync", refuse)
before(peewee.SqliteDatabase, "execute_sql", refuse_rows)
before(Attempt, "_train", die)
before(trainer, "_train_segment", compute)
if on("brief-leases"):
    leases.RENEW_SECONDS = 0.5

if __name__ == "__main__":
    from falcon_mnist.cli.entry import main
    from falcon_mnist.runs import executor, queue
    from falcon_mnist.server import serve as server

    executor.POLL_SECONDS = 0.1
    executor.SWEEP_SECONDS = 0.2
    if on("brief-claims"):
        queue.Queue.__init__.__kwdefaults__["claim_seconds"] = (0.05, 240.0)
    if on("brief-leases"):
        queue.Queue.__init__.__kwdefaults__["lease_seconds"] = 2.0
    executor.DRAIN_SECONDS = 3.0
    server.DRAIN_SECONDS, server.EXIT_SECONDS = 30.0, 60.0
    if on("stuck"):
        server.DRAIN_SECONDS, server.EXIT_SECONDS = 1.0, 2.0
    if on("deaf"):  # three workers would take longer if the server were to end one after the other
        server.EXIT_SECONDS = executor.DRAIN_SECONDS + 7.0
    before(executor.Executor, "stop", lambda *_: hold("stuck"))

    sys.argv[0] = "falcon-mnist"
    main()
