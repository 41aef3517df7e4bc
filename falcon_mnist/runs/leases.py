"""Leases: a worker renews that of its run; one that is not renewed while a server watches has lost its worker."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.storage.database import DatabaseBusyError
from falcon_mnist.storage.store import Lease, Store
from falcon_mnist.storage.tables import RunRow

# A worker renews its lease every few seconds; one that does not for this long is taken for dead.
LEASE_SECONDS = 15.0
RENEW_SECONDS = LEASE_SECONDS / 4

log = logging.getLogger(__name__)


class LeaseKeeper:
    """A worker's side: renews the lease of its run, and learns what its row asks for."""

    def __init__(self, store: Store, run_id: str, owner: str, *, renew_seconds: float = RENEW_SECONDS) -> None:
        self._store = store
        self._run_id = run_id
        self._owner = owner
        self._renew_seconds = renew_seconds
        self._unrenewed_seconds = 0.0
        self.stop: npt.NDArray[np.uint8] = np.zeros(1, dtype=np.uint8)  # 1 when the run is no longer this worker's
        self.drain = False  # whether it is to be saved and requeued
        self.finish = False  # whether it is to succeed at the end of the epoch under way

    def beat(self, seconds: float) -> bool:
        """Look at the row, `seconds` after the last time, and renew the lease if it is due; False if it is lost."""
        self._unrenewed_seconds += seconds
        try:
            run = self._store.held(self._run_id, self._owner)
            held = run is not None
            if run is not None:
                self.drain, self.finish = bool(run.drain), bool(run.finish)
            if held and self._unrenewed_seconds >= self._renew_seconds:
                held = self._store.renew(self._run_id, self._owner)
                self._unrenewed_seconds = 0.0
        except Exception as error:  # a full disk, say: the lease may still be renewed in time
            log.error("the lease could not be renewed; trying again: %s", error, extra={"run_id": self._run_id})
            return True
        self.stop[0] = not held
        return held


class LeaseObserver:
    """Watches all leases by this process's monotonic clock: no setting of any wall clock ends or prolongs one.

    A lease's age counts from the call that first saw it, so `requeue_expired` is to be called every few seconds.
    """

    def __init__(self, store: Store, *, clock: Clock = SYSTEM_CLOCK, seconds: float = LEASE_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._first_seen: dict[Lease, float] = {}

    @property
    def owners(self) -> set[str]:
        """Who held a run at the last call of `requeue_expired`, without those that lost it then."""
        return {lease.owner for lease in self._first_seen}

    def requeue_expired(self) -> list[tuple[Lease, RunRow]]:
        """Requeue the runs whose lease has run out; returns these leases and the runs as they are then."""
        requeued = []
        try:
            leases = self._store.leases()
            now = self._clock.monotonic()  # after the read, which may take long: no lease is to seem older than it is
            self._first_seen = {lease: self._first_seen.get(lease, now) for lease in leases}
            expired = [lease for lease, since in self._first_seen.items() if now - since > self._seconds]
            for lease in expired:
                if run := self._store.requeue_expired(lease):
                    requeued.append((lease, run))
                    del self._first_seen[lease]  # one that was renewed at that moment is still held
        except DatabaseBusyError:
            self._first_seen.clear()  # what keeps this process from the database keeps workers from renewing
            if not requeued:
                raise
        return requeued
