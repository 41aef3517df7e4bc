"""What a Ray worker process does: one run after another, on arrays that all workers of its node map."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from falcon_mnist import logs
from falcon_mnist.data.dataset import DataError, Dataset
from falcon_mnist.runs import worker
from falcon_mnist.runs.attempt import Parts
from falcon_mnist.settings import Settings
from falcon_mnist.storage.store import Lease, Store
from falcon_mnist.training.threads import Threads

Logging = tuple[int, logs.Style]
MakeParts = Callable[[Settings], Parts]


class Assignment(NamedTuple):
    """The run of a task, the same for all its tries. `renewals` are those that the run had before the first."""

    run_id: str
    owner: str
    renewals: int


def execute(
    settings: Settings,
    logging_as: Logging,
    make_parts: MakeParts,
    assignment: Assignment,
    cpus: int,
    data: Dataset | DataError,
) -> bool:
    """Claim the run as its assigned owner and run it to completion on so many CPUs.

    Ray tries a task again whose worker or node is lost. If an earlier try has claimed the run, that claim decides: the
    run is requeued if that has not happened yet, and False returned. The next claim has another owner, so that an
    earlier try which still computes, cut off from the others, can write nothing any more.
    """
    logs.configure(*logging_as)
    parts = make_parts(settings)
    parts = replace(parts, open_data=partial(_given, data), train=partial(parts.train, threads=lambda _: Threads(cpus)))
    run_id, owner, renewals = assignment
    return worker.execute_with(parts, run_id, owner, renewals) or not requeue_earlier_try(parts.store, run_id, owner)


def _given(data: Dataset | DataError) -> Dataset:
    if isinstance(data, DataError):
        raise data
    return data


def requeue_earlier_try(store: Store, run_id: str, owner: str) -> bool:
    """Requeue a run that another try has claimed as the same owner; says whether one had."""
    run = store.held(run_id, owner)
    return run is not None and store.requeue_expired(Lease(run_id, owner, run.renewals)) is not None


def end(owner: str) -> None:
    """End the worker of an attempt if it is on this node: Ray cannot end one that is stopped and does not answer."""
    title = f"ray::{name(owner)}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.joinpath("cmdline").read_bytes().startswith(title):
                os.kill(int(process.name), signal.SIGKILL)


def name(owner: str) -> str:
    """What Ray is to call the task of an attempt, and with it the process that executes it."""
    return f"run-of-{owner}"


def prepare(data: Dataset | DataError, seconds: float) -> None:
    """Import what `execute` does and map the data; takes so long that no worker process is given two of these."""
    time.sleep(seconds)
