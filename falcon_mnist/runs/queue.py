"""Decides which runs to start, which have lost their worker, and what becomes of those. Starts nothing itself.

The rows are the queue. Each call of `poll` is one look at them and at the backend; nothing waits in it, so that a
thread can drive it by the system's clock and a simulation by its own.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.constants import QUEUED
from falcon_mnist.runs.backend import Backend, Ended, Outcome
from falcon_mnist.runs.leases import LEASE_SECONDS, LeaseObserver
from falcon_mnist.runs.pulse import SILENT_SECONDS
from falcon_mnist.storage.store import Store
from falcon_mnist.storage.tables import RunRow

log = logging.getLogger(__name__)

# After a worker that failed outside its run: the next may fail as fast, for want of room on a disk, say.
PAUSE_SECONDS = 1.0


@dataclass
class Assignment:
    """A run that was given to the backend."""

    run_id: str
    seen_at: float  # when its worker was last seen to hold the run; until it has claimed it, when it was assigned
    claimed: bool = False


def new_owner() -> str:
    """A name that no other attempt has."""
    return secrets.token_hex(16)


class Queue:
    """One server's part in executing the runs of a store; any number of servers may share it."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        *,
        clock: Clock = SYSTEM_CLOCK,
        new_owner: Callable[[], str] = new_owner,
        lease_seconds: float = LEASE_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
        claim_seconds: tuple[float, float] | None = None,
        only: str | None = None,
    ) -> None:
        """With `only`, the id of a run, that one alone is started, whatever else is queued."""
        self._store = store
        self._backend = backend
        self._clock = clock
        self._new_owner = new_owner
        self._leases = LeaseObserver(store, clock=clock, seconds=lease_seconds)
        self._first_claim_seconds, self._most_claim_seconds = claim_seconds or backend.claim_seconds
        self._claim_seconds = self._first_claim_seconds
        self._lease_seconds, self._silent_seconds = lease_seconds, silent_seconds
        self._assignments: dict[str, Assignment] = {}  # by owner
        self._ended: list[Ended] = []  # told by the backend once, and not yet requeued: the database may be locked
        self._paused_until = float("-inf")
        self._only = only

    def poll(self) -> None:
        """Look once: note what has ended, requeue what was lost, replace workers that hang, start what is queued.

        Raises what the store raises; the next call makes up for it.
        """
        self._kill_silent()
        self._requeue_ended()
        self._requeue_expired()
        self._replace_hung()
        self._start_queued()

    def drain(self) -> None:
        """Ask, through their rows, all workers of this server to save their runs and requeue them.

        One whose run is no longer its own, because that was cancelled, notices by itself, and deletes its checkpoint.
        """
        for owner, assignment in list(self._assignments.items()):
            if not self._store.request_drain(assignment.run_id, owner) and not assignment.claimed:
                self._backend.kill(owner)  # it has not claimed the run yet
                self._requeue(owner, worker_lost=False)

    def poll_draining(self) -> bool:
        """Note which workers have ended since; says whether all have."""
        self._requeue_ended()
        return not self._assignments

    def abandon(self) -> None:
        """Requeue what is still with the backend, whose workers are gone."""
        for owner in list(self._assignments):
            self._requeue(owner, worker_lost=False)

    def _kill_silent(self) -> None:
        """End our workers that are stopped: one may keep everybody from the database. Their leases run out as ever."""
        for owner in self._backend.kill_silent(self._silent_seconds):
            run_id = self._assignments[owner].run_id
            log.error("worker killed: it showed no sign of life", extra={"run_id": run_id})

    def _requeue_ended(self) -> None:
        """Requeue the runs of workers that have ended, unless the runs have ended too."""
        self._ended += self._backend.ended()
        while self._ended:
            owner, outcome = self._ended[0]
            if owner in self._assignments:
                if outcome is Outcome.LOST:
                    log.error("worker lost", extra={"run_id": self._assignments[owner].run_id})
                elif outcome is Outcome.FAILED:
                    self._paused_until = self._clock.monotonic() + PAUSE_SECONDS
                self._requeue(owner, worker_lost=outcome in (Outcome.LOST, Outcome.FAILED))
            del self._ended[0]

    def _requeue(self, owner: str, *, worker_lost: bool) -> None:
        _log_requeued(self._store.requeue(self._assignments[owner].run_id, owner, worker_lost=worker_lost))
        del self._assignments[owner]  # last: where the database is locked, it is tried again

    def _requeue_expired(self) -> None:
        """Requeue the runs of all servers whose leases have run out, and replace the workers that are ours."""
        for lease, run in self._leases.requeue_expired():
            _log_requeued(run)
            if lease.owner in self._assignments:
                self._replace(lease.owner, "it did not renew its lease")

    def _replace_hung(self) -> None:
        """Replace our workers that hold no run and do not return."""
        now = self._clock.monotonic()
        for owner, assignment in list(self._assignments.items()):
            unseen = now - assignment.seen_at
            if owner in self._leases.owners:
                assignment.seen_at, assignment.claimed = now, True
                self._claim_seconds = self._first_claim_seconds
            elif assignment.claimed and unseen > self._lease_seconds:
                self._replace(owner, "it did not return although the run is no longer its own")
            elif not assignment.claimed and unseen > self._claim_seconds:
                self._replace(owner, "it did not claim its run")
                self._claim_seconds = min(2 * self._claim_seconds, self._most_claim_seconds)

    def _replace(self, owner: str, why: str) -> None:
        """Kill a worker, so that another can start in its place; requeue its run if it has just claimed it."""
        run_id = self._assignments.pop(owner).run_id
        log.error("worker replaced: %s", why, extra={"run_id": run_id})
        self._backend.kill(owner)
        _log_requeued(self._store.requeue(run_id, owner, worker_lost=False))

    def _start_queued(self) -> None:
        free = self._backend.capacity - len(self._assignments)
        if free <= 0 or self._clock.monotonic() < self._paused_until:
            return
        ours = {assignment.run_id for assignment in self._assignments.values()}
        queued = [run_id for run_id in self._queued(free + len(ours)) if run_id not in ours]
        for run_id in queued[:free]:
            owner = self._new_owner()
            self._assignments[owner] = Assignment(run_id, self._clock.monotonic())
            self._backend.start(run_id, owner)

    def _queued(self, limit: int) -> list[str]:
        if self._only is None:
            return self._store.queued(limit)
        run = self._store.run(self._only)
        return [run.id] if run is not None and run.state == QUEUED else []


def _log_requeued(run: RunRow | None) -> None:
    if run is None:
        return
    if run.state == QUEUED:
        log.warning("run requeued, after %d lost workers", run.worker_losses, extra={"run_id": run.id})
    else:
        log.error("run failed: worker_lost: %s", run.error["message"], extra={"run_id": run.id})
