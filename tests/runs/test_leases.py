"""When an observer takes a worker for dead: by its own monotonic clock, whatever the wall clock says."""

from __future__ import annotations

from typing import Any

import pytest

from falcon_mnist.clock import Clock
from falcon_mnist.runs.leases import LEASE_SECONDS, LeaseObserver
from falcon_mnist.storage.database import Database, DatabaseBusyError, DatabaseLostError
from falcon_mnist.storage.migrations import migrate
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.storage.store import Lease, Store
from falcon_mnist.storage.tables import RunRow


class Scene:
    """A run that a worker has claimed, and an observer, each of whose clocks is moved by hand."""

    def __init__(self, database: Database) -> None:
        self.wall, self.monotonic = 1e9, 0.0
        self.database = database
        self.clock = Clock(wall=lambda: self.wall, monotonic=lambda: self.monotonic)
        self.store = Store(database, clock=self.clock)
        model = self.store.create_model({}, {})
        self.run_id = self.store.create_run(model, {}, max_queued=1).id
        self.store.claim(self.run_id, "worker")
        self.observer = LeaseObserver(self.store, clock=self.clock)

    def requeued_after(self, seconds: float) -> list[str]:
        self.monotonic += seconds
        return [run.id for _, run in self.observer.requeue_expired()]


@pytest.fixture
def scene() -> Scene:
    database = SQLite(None, wait=0)
    migrate(database)
    return Scene(database)


def test_a_run_whose_lease_is_not_renewed_is_requeued_once(scene: Scene) -> None:
    assert scene.requeued_after(1000) == []  # seen for the first time
    assert scene.requeued_after(LEASE_SECONDS - 0.5) == []
    assert scene.requeued_after(1) == [scene.run_id]
    assert scene.requeued_after(1000) == []


def test_a_run_whose_lease_is_renewed_stays(scene: Scene) -> None:
    for _ in range(20):
        assert scene.requeued_after(LEASE_SECONDS - 1) == []
        scene.store.renew(scene.run_id, "worker")


def test_a_lease_is_no_older_than_the_read_that_found_it_however_long_that_took(scene: Scene) -> None:
    """The observer's process may be stopped before the read, or the database make it wait."""

    delays = [1000.0, 0.0]

    class SlowStore(Store):
        def leases(self) -> list[Lease]:
            scene.monotonic += delays.pop(0)
            return super().leases()

    scene.observer = LeaseObserver(SlowStore(scene.database), clock=scene.clock)
    assert scene.requeued_after(0) == []
    assert scene.requeued_after(1) == []


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_wall_clock_that_jumps_neither_keeps_nor_ends_a_lease(scene: Scene, jump: float) -> None:
    scene.requeued_after(0)
    scene.wall += jump
    assert scene.requeued_after(LEASE_SECONDS - 1) == []
    assert scene.requeued_after(2) == [scene.run_id]


class Reachable(SQLite):
    """A database whose server may be away."""

    away = False

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        if self.away:
            raise DatabaseLostError("connection refused")
        return super().execute_sql(sql, params)


def test_while_the_database_is_away_no_lease_runs_out() -> None:
    database = Reachable(None, wait=0)
    migrate(database)
    scene = Scene(database)
    scene.requeued_after(0)
    database.away = True
    with pytest.raises(DatabaseLostError):
        scene.requeued_after(LEASE_SECONDS + 1)
    database.away = False
    assert scene.requeued_after(1) == []  # its worker could not renew it either


def test_while_the_database_is_locked_no_lease_runs_out(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("locked") / "rows.db"
    database, holder = SQLite(path, wait=0.01), SQLite(path, wait=0.01)
    migrate(database)
    locked = Scene(database)
    locked.requeued_after(0)
    with holder.writing(), pytest.raises(DatabaseBusyError):
        locked.requeued_after(LEASE_SECONDS + 1)
    assert locked.requeued_after(1) == []  # its worker has as long as ever to renew it
    locked.store.renew(locked.run_id, "worker")
    assert locked.requeued_after(LEASE_SECONDS) == []


def test_who_renews_a_lease_just_as_it_is_taken_still_holds_its_run(scene: Scene) -> None:
    class RenewedMeanwhile(Store):
        def requeue_expired(self, lease: Lease) -> RunRow | None:
            self.renew(lease.run_id, lease.owner)
            return super().requeue_expired(lease)

    observer = LeaseObserver(RenewedMeanwhile(scene.database, clock=scene.clock), clock=scene.clock)
    observer.requeue_expired()
    scene.monotonic += LEASE_SECONDS + 1
    assert observer.requeue_expired() == []
    assert observer.owners == {"worker"}


def test_a_second_claim_of_the_same_owner_is_another_lease(scene: Scene) -> None:
    """A task that Ray tries again keeps its owner."""
    scene.requeued_after(0)
    scene.store.requeue(scene.run_id, "worker", worker_lost=False)
    scene.store.claim(scene.run_id, "worker")
    assert scene.requeued_after(LEASE_SECONDS + 1) == []


def test_observers_whose_clocks_differ_agree_with_the_worker(scene: Scene) -> None:
    """No time stands in a lease: each counts how long it has seen the same number of renewals, by its own clock."""
    now = 0.0
    clocks = [
        Clock(wall=lambda ahead=ahead: 1e9 + ahead + now, monotonic=lambda ahead=ahead: ahead**2 + now)
        for ahead in (-1200.0, 0.0, 1200.0)
    ]
    observers = [LeaseObserver(Store(scene.database, clock=clock), clock=clock) for clock in clocks]

    def requeued_after(seconds: float) -> list[str]:
        nonlocal now
        now += seconds
        return [run.id for observer in observers for _, run in observer.requeue_expired()]

    for _ in range(20):
        assert requeued_after(LEASE_SECONDS - 1) == []
        scene.store.renew(scene.run_id, "worker")
    assert requeued_after(0) == []
    assert requeued_after(LEASE_SECONDS - 1) == []
    assert requeued_after(2) == [scene.run_id]  # by one of them
