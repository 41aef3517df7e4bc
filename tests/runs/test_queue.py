"""What the queue does with workers when its server ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from small_networks import SMALL

from falcon_mnist.runs.backend import Ended, Outcome
from falcon_mnist.runs.queue import Queue
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import open_store
from falcon_mnist.storage.store import Store


class Workers:
    """A backend whose only worker does what the test says."""

    claim_seconds = (15.0, 240.0)
    capacity = 1

    def __init__(self) -> None:
        self.owner = ""
        self.killed: list[str] = []
        self.over: list[Ended] = []

    def start(self, run_id: str, owner: str) -> None:
        self.owner = owner

    def ended(self) -> list[Ended]:
        told, self.over = self.over, []
        return told

    def kill(self, owner: str) -> None:
        self.killed.append(owner)

    def kill_silent(self, seconds: float) -> list[str]:
        return []

    def problem(self) -> str | None:
        return None

    def alive(self) -> int:
        return 1

    def close(self) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(Settings(home=tmp_path), wait=0.1)) as opened:
        yield opened


def test_a_worker_whose_run_was_cancelled_may_end_its_attempt(store: Store) -> None:
    """It has a checkpoint to delete."""
    workers = Workers()
    queue = Queue(store, workers)
    run = store.create_run(store.create_model(SMALL, {}), {}, max_queued=1)
    queue.poll()
    assert store.claim(run.id, workers.owner)
    queue.poll()
    assert store.cancel(run.id)
    queue.drain()
    assert not queue.poll_draining()
    assert workers.killed == []
    workers.over.append(Ended(workers.owner, Outcome.FINISHED))
    assert queue.poll_draining()


def test_a_worker_that_has_claimed_nothing_is_not_waited_for(store: Store) -> None:
    workers = Workers()
    queue = Queue(store, workers)
    run = store.create_run(store.create_model(SMALL, {}), {}, max_queued=1)
    queue.poll()
    queue.drain()
    assert workers.killed == [workers.owner]
    assert queue.poll_draining()
    assert store.queued(1) == [run.id]
