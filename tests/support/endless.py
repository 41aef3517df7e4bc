"""How the workers of tests train: a run that only has to be running while something else happens rests mostly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

from falcon_mnist.runs import worker
from falcon_mnist.runs.attempt import Parts
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.runs.leases import LeaseKeeper
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import checkpoint_storage
from falcon_mnist.storage.store import Store
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.state import State

# Who has so many is endless.
EPOCHS = 1000
# Who has so many is interrupted once it has been saved, and has to end.
INTERRUPTED_EPOCHS = 13
# Long enough that its epochs and checkpoints leave the CPU to the tests beside it.
REST_SECONDS = {EPOCHS: 0.4, INTERRUPTED_EPOCHS: 0.2}
# A run can be interrupted when it has been saved: it need not last for seconds.
SAVE_SECONDS = 0.25
RENEW_SECONDS = 1.0

lease: LeaseKeeper | None = None  # of the run that this worker executes


@cache
def parts(settings: Settings) -> Parts:
    """As those of `worker`, with leases that are renewed and runs that are saved sooner; what is endless rests."""
    usual = worker.parts(settings)
    return replace(
        usual,
        checkpoints=Checkpoints(checkpoint_storage(settings), min_interval_seconds=SAVE_SECONDS),
        train=partial(train, usual.train),
        keep_lease=keep_lease,
    )


def keep_lease(store: Store, run_id: str, owner: str) -> LeaseKeeper:
    global lease
    lease = LeaseKeeper(store, run_id, owner, renew_seconds=RENEW_SECONDS)
    return lease


def train(
    train_all: Callable[..., Iterator[Any]],
    net: Any,
    state: State,
    images: Any,
    labels: Any,
    hyperparams: Hyperparams,
    **named: Any,
) -> Iterator[Any]:
    """As `train_all`, with a rest after each segment of such a run, until something is wanted of it."""
    for metrics in train_all(net, state, images, labels, hyperparams, **named):
        yield metrics
        _rest(REST_SECONDS.get(hyperparams.epochs, 0.0))


def _rest(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (lease and (lease.stop[0] or lease.drain or lease.finish)):
        time.sleep(0.02)
