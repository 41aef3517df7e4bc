"""Runs that are only to be running while a test looks at something else: they rest most of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from falcon_mnist.runs.leases import LeaseKeeper
from falcon_mnist.storage.store import Store
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.state import State

# Who has so many is endless.
EPOCHS = 1000
# An epoch of `small_networks.ENDLESS` takes 0.1 s of a CPU, which the tests beside it need.
REST_SECONDS = 0.4

lease: LeaseKeeper | None = None  # of the run that this worker executes


def keep_lease(store: Store, run_id: str, owner: str, **named: Any) -> LeaseKeeper:
    global lease
    lease = LeaseKeeper(store, run_id, owner, **named)
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
    """As `train_all`, with a rest after each segment of an endless run, until something is wanted of it."""
    for metrics in train_all(net, state, images, labels, hyperparams, **named):
        yield metrics
        if hyperparams.epochs == EPOCHS:
            _rest()


def _rest() -> None:
    end = time.monotonic() + REST_SECONDS
    while time.monotonic() < end and not (lease and (lease.stop[0] or lease.drain or lease.finish)):
        time.sleep(0.02)
