"""What a Ray worker process does: one run after another, on arrays that all workers of its node map."""

from __future__ import annotations

import time
from functools import partial

from falcon_mnist import logs
from falcon_mnist.data.dataset import DataError, Dataset
from falcon_mnist.runs import worker
from falcon_mnist.runs.attempt import Parts
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import WORKER_WAIT, checkpoint_storage, open_store, parameter_storage
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.store import Lease, Store
from falcon_mnist.training import trainer
from falcon_mnist.training.threads import Threads

Logging = tuple[int, logs.Style]


def execute(
    settings: Settings, logging_as: Logging, run_id: str, owner: str, cpus: int, data: Dataset | DataError
) -> bool:
    """Claim the run as `owner` and run it to completion on so many CPUs.

    Ray tries a task again whose worker or node is lost. If an earlier try has claimed the run, that claim decides: the
    run is requeued, and False returned. The next claim has another owner, so that an earlier try which still computes,
    cut off from the others, can write nothing any more.
    """
    logs.configure(*logging_as)
    store = open_store(settings, wait=WORKER_WAIT)
    parts = Parts(
        store=store,
        checkpoints=Checkpoints(checkpoint_storage(settings)),
        parameters=ParameterFiles(parameter_storage(settings)),
        open_data=partial(_given, data),
        train=partial(trainer.train, threads=Threads(cpus)),
    )
    return worker.execute_with(parts, run_id, owner) or not _requeue_earlier_try(store, run_id, owner)


def _given(data: Dataset | DataError) -> Dataset:
    if isinstance(data, DataError):
        raise data
    return data


def _requeue_earlier_try(store: Store, run_id: str, owner: str) -> bool:
    try:
        run = store.held(run_id, owner)
        return run is not None and store.requeue_expired(Lease(run_id, owner, run.renewals)) is not None
    finally:
        store.close()


def prepare(data: Dataset | DataError, seconds: float) -> None:
    """Import what `execute` does and map the data; takes so long that no worker process is given two of these."""
    time.sleep(seconds)
