"""The pool of worker processes: they are there before the first run, and each is replaced alone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import forked_workers
import pytest
from asking import PATIENCE, until
from checking_client import Client
from forked_workers import CONTEXT
from pebble import ProcessPool
from server_process import Server, alive
from small_networks import RESTING, SMALL

from falcon_mnist.constants import RUNNING, SUCCEEDED
from falcon_mnist.runs import worker
from falcon_mnist.runs.backend import Ended, Outcome
from falcon_mnist.runs.pool import SPAWN, PoolBackend, end_pool
from falcon_mnist.runs.queue import Queue
from falcon_mnist.runs.sharing import Sharing
from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import DatabaseBusyError
from falcon_mnist.storage.opening import open_database, open_home, open_store
from falcon_mnist.storage.store import Store
from falcon_mnist.storage.tables import RunRow

Serve = Callable[..., Server]


def test_workers_are_started_when_the_server_is(serve: Serve) -> None:
    server = serve(workers=2)
    with Client(server.url()) as client:
        workers = until(lambda: sorted(server.workers()) if len(server.workers()) == 2 else None, "both have started")
        client.trained(epochs=1)
        assert sorted(server.workers()) == workers
    assert server.stop() == 0


def test_a_killed_idle_worker_is_replaced_at_once(serve: Serve) -> None:
    server = serve()
    with Client(server.url()) as client:
        client.trained(epochs=1)
        (idle,) = server.workers()
        os.kill(idle, signal.SIGKILL)
        seen = "falcon_mnist_workers_alive 0.0"
        until(lambda: seen in client.get("/metrics").text, "its server has seen that it is gone")
        assert client.trained(epochs=1)["state"] == "succeeded"
    assert server.on_disk.query("SELECT worker_losses FROM runs") == [(0,), (0,)]
    assert "the queue could not be polled" not in server.log()
    assert "did not claim its run" not in server.log()
    assert server.stop() == 0


@contextmanager
def backend_of(settings: Settings, **parts: Any) -> Iterator[PoolBackend]:
    """A backend that this thread makes, and which blocks Ctrl-C there; ended, and unblocked, with the block."""
    backend = PoolBackend(settings, lambda: None, context=CONTEXT, **parts)
    try:
        yield backend
    finally:
        backend.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def queued(
    settings: Settings, execute: Callable[[Settings, str, str], None], **limits: Any
) -> Iterator[tuple[Store, Queue]]:
    """The rows of a new home, and their queue, which has these limits."""
    open_home(settings)
    store = open_store(settings, wait=0.1)
    with closing(store), backend_of(settings, execute=execute) as backend:
        yield store, Queue(store, backend, **limits)


def polled(store: Store, queue: Queue, run: RunRow) -> RunRow:
    """The run after a poll of the queue."""
    with suppress(DatabaseBusyError):
        queue.poll()
    found = store.run(run.id)
    assert found is not None
    return found


def write_process_id(settings: Settings, run_id: str, owner: str) -> None:
    """What a worker executes."""
    write(settings.home / owner, os.getpid())


def write(file: Path, number: int) -> None:
    """All of it or nothing."""
    new = file.with_suffix(".new")
    new.write_text(str(number))
    new.rename(file)


def sleep(settings: Settings, run_id: str, owner: str) -> None:
    """What a worker executes: nothing that ends, once its process id is written."""
    write_process_id(settings, run_id, owner)
    time.sleep(3600)


def test_a_worker_killed_before_it_takes_its_run_is_lost_like_any_other(tmp_path: Path) -> None:
    with backend_of(Settings(home=tmp_path, workers=1), execute=write_process_id) as backend:
        backend.start("r_1", "first")
        assert until(backend.ended, "its worker is idle") == [Ended("first", Outcome.FINISHED)]
        idle = int((tmp_path / "first").read_text())
        os.kill(idle, signal.SIGSTOP)
        backend.start("r_2", "second")
        os.kill(idle, signal.SIGKILL)
        assert until(backend.ended, "its worker is missed") == [Ended("second", Outcome.LOST)]


def test_nothing_waits_for_a_worker_that_is_killed_and_it_does_nothing_more(tmp_path: Path) -> None:
    """It might claim its run after that was given to another."""
    go_on = threading.Event()
    ended: list[bool] = []

    def end(pool: ProcessPool) -> None:
        ended.append(go_on.wait(PATIENCE))
        end_pool(pool)

    with backend_of(Settings(home=tmp_path, workers=1), execute=sleep, end_pool=end) as backend:
        backend.start("r_1", "owner")
        until(lambda: (tmp_path / "owner").exists(), "it has begun")
        process = int((tmp_path / "owner").read_text())
        backend.kill("owner")
        assert backend.alive() == 0
        until(lambda: not alive(process), "its process is gone", patience=PATIENCE / 2)
        go_on.set()
    assert ended == [True]


@pytest.mark.parametrize(("busy", "free"), [(0, 4), (1, 4), (2, 3), (4, 1), (9, 1)])
def test_a_run_may_use_the_cpus_that_no_other_needs(busy: int, free: int) -> None:
    sharing = Sharing(SPAWN, all_cpus=4)
    sharing.note_busy(busy)
    assert sharing.free_cpus() == free


def write_free_cpus(settings: Settings, run_id: str, owner: str) -> None:
    """What a worker executes: it writes once and again how many CPUs its run may use."""
    while True:
        write(settings.home / owner, worker.free_cpus())
        time.sleep(0.01)


def test_every_worker_knows_how_many_others_have_a_run(tmp_path: Path) -> None:
    with backend_of(Settings(home=tmp_path, workers=2), execute=write_free_cpus, all_cpus=8) as backend:

        def written(owner: str) -> int:
            file = tmp_path / owner
            return int(file.read_text()) if file.exists() else 0

        backend.start("r_1", "first")
        until(lambda: written("first") == 8, "the first run has all CPUs")
        backend.start("r_2", "second")
        until(lambda: written("first") == written("second") == 7, "each leaves one to the other")
        backend.kill("second")
        assert backend.ended() == []
        until(lambda: written("first") == 8, "the first run has all CPUs again")


def stop_in_transaction(settings: Settings, run_id: str, owner: str) -> None:
    """What a worker executes: it holds SQLite's one write lock, and does not go on."""
    database = open_database(settings.database, wait=PATIENCE)
    Store(database).claim(run_id, owner)
    with database.writing():
        os.kill(os.getpid(), signal.SIGSTOP)


def test_a_worker_stopped_in_a_transaction_keeps_nobody_from_writing_for_long(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", workers=1)
    with queued(settings, stop_in_transaction, lease_seconds=0.5, silent_seconds=2) as (store, queue):
        run = store.create_run(store.create_model(SMALL, {}), {}, max_queued=1)
        until(lambda: polled(store, queue, run).worker_losses, "the run has lost its worker")


def train(settings: Settings, run_id: str, owner: str) -> None:
    """What a worker executes: the run, once its process id is written."""
    write_process_id(settings, owner, run_id)
    forked_workers.execute(settings, run_id, owner)


def test_a_stopped_worker_is_replaced_and_its_neighbour_is_not(tmp_path: Path, digits: Path) -> None:
    settings = Settings(home=tmp_path / "home", dataset=str(digits), workers=2)

    def process(run: RunRow) -> int:
        return int((settings.home / run.id).read_text())

    with queued(settings, train, lease_seconds=4, silent_seconds=4) as (store, queue):

        def trains(run: RunRow) -> bool:
            return bool(polled(store, queue, run).state == RUNNING)

        model = store.create_model(RESTING["architecture"], {})
        first, second = (store.create_run(model, RESTING["hyperparams"], max_queued=2) for _ in range(2))
        until(lambda: trains(first) and trains(second), "both runs train")
        stopped, neighbour = process(first), process(second)
        owner = polled(store, queue, second).owner
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: trains(first) and process(first) != stopped, "another has taken its place")
        until(lambda: not alive(stopped), "the stopped process is gone")  # nobody waits for it
        assert alive(neighbour)
        assert polled(store, queue, second).owner == owner


def idle(queue: Queue) -> bool:
    """Whether all workers are."""
    with suppress(DatabaseBusyError):
        return queue.poll_draining()
    return False


def test_a_stopped_idle_worker_keeps_no_run_waiting(tmp_path: Path, digits: Path) -> None:
    settings = Settings(home=tmp_path / "home", dataset=str(digits), workers=2)
    with queued(settings, train, claim_seconds=(1.0, 240.0)) as (store, queue):
        model = store.create_model(SMALL, {})

        def trained() -> int:
            """The process of a run that has succeeded."""
            run = store.create_run(model, {"epochs": 1}, max_queued=1)
            until(lambda: polled(store, queue, run).state == SUCCEEDED, "the run has succeeded")
            until(lambda: idle(queue), "its worker is idle")
            assert polled(store, queue, run).worker_losses == 0
            return int((settings.home / run.id).read_text())

        stopped = trained()  # and the first to be given the next run
        os.kill(stopped, signal.SIGSTOP)
        assert trained() != stopped
        until(lambda: not alive(stopped), "the stopped worker is ended")
