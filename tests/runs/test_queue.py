"""What the queue does with workers when its server ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from small_networks import SMALL

from falcon_mnist.runs.backend import Ended, Outcome
from falcon_mnist.runs.executor import Executor
from falcon_mnist.runs.queue import Queue
from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import DatabaseFullError
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
        self.closed = False

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
        self.closed = True


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


def test_workers_are_waited_for_where_the_database_is_full(store: Store, tmp_path: Path) -> None:
    """One that has left its run, for want of room, kept the others from saving theirs: the thread that waits ended."""
    workers = Workers()
    answers = [DatabaseFullError("database or disk is full"), False, True]

    class Full(Queue):
        def poll_draining(self) -> bool:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    executor = Executor(Settings(home=tmp_path), store, lambda *_: workers, make_queue=Full, poll_seconds=0.01)
    executor.start()
    executor.stop()
    assert answers == []
    assert workers.closed
