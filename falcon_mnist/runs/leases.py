"""Which running runs have lost their worker: those whose lease nobody renews while this process watches."""

from __future__ import annotations

from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.storage.database import DatabaseBusyError
from falcon_mnist.storage.store import Lease, Store
from falcon_mnist.storage.tables import RunRow

# A worker renews its lease every few seconds; one that does not for this long is taken for dead.
LEASE_SECONDS = 15.0


class LeaseObserver:
    """Watches all leases by this process's monotonic clock: no setting of any wall clock ends or prolongs one."""

    def __init__(self, store: Store, *, clock: Clock = SYSTEM_CLOCK, seconds: float = LEASE_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._first_seen: dict[Lease, float] = {}

    def requeue_expired(self) -> list[RunRow]:
        """Requeue the runs whose lease has run out; returns them as they are then. To be called often."""
        now = self._clock.monotonic()
        self._first_seen = {lease: self._first_seen.get(lease, now) for lease in self._store.leases()}
        expired = [lease for lease, since in self._first_seen.items() if now - since > self._seconds]
        try:
            requeued = [self._store.requeue_expired(lease) for lease in expired]
        except DatabaseBusyError:
            self._first_seen.clear()  # what keeps this process from writing keeps workers from renewing
            raise
        return [run for run in requeued if run is not None]
