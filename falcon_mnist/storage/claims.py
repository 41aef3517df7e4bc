"""Who works on a run: the queue, claims and leases, and what ends or requeues a run from outside."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from peewee import Case, fn

from falcon_mnist.constants import ACTIVE, CANCELLED, FAILED, QUEUED, RUNNING
from falcon_mnist.storage.rows import Rows, failure, held_by
from falcon_mnist.storage.tables import RunRow

log = logging.getLogger(__name__)

# A run that has lost its worker so often is not tried again: it may be what kills them.
MAX_WORKER_LOSSES = 3


class Lease(NamedTuple):
    """A running run as an observer sees it: while it has a living worker, `renewals` grows."""

    run_id: str
    owner: str
    renewals: int


class Claims(Rows):
    """Verbs of the queue, of a worker's lease, and of clients that end a run early."""

    def queued(self, limit: int) -> list[str]:
        """Ids of the runs that have waited longest."""
        query = RunRow.select(RunRow.id).where(RunRow.state == QUEUED).order_by(RunRow.number).limit(limit)
        return [run.id for run in self._all(query)]

    def leases(self) -> list[Lease]:
        """Every running run. One whose lease stays the same for too long has lost its worker."""
        query = RunRow.select(RunRow.id, RunRow.owner, RunRow.renewals).where(RunRow.state == RUNNING)
        return [Lease(*row) for row in query.tuples().execute(self._database)]

    def claim(self, run_id: str, owner: str, renewals: int | None = None) -> RunRow | None:
        """The run, from now on `owner`'s and running; None if it was not queued any more.

        With the number of `renewals` that the run had earlier, None also if it was claimed since.
        """
        queued = RunRow.select(RunRow.number).where(RunRow.id == run_id, RunRow.state == QUEUED)
        if renewals is not None:
            queued = queued.where(RunRow.renewals == renewals)
        with self._database.writing():
            claimed = self._update(
                [RunRow.number == self._database.unless_locked(queued)],
                state=RUNNING,
                owner=owner,
                renewals=RunRow.renewals + 1,  # no lease is as an earlier one: a retry on Ray has the same owner
                checkpointed_since_claim=False,
                started_at=fn.COALESCE(RunRow.started_at, self._not_before(RunRow.created_at)),
            )
            return self.run(run_id) if claimed else None

    def renew(self, run_id: str, owner: str) -> bool:
        """Renew the lease; False if the run is no longer this owner's."""
        return self._update(held_by(run_id, owner), renewals=RunRow.renewals + 1)

    def held(self, run_id: str, owner: str) -> RunRow | None:
        """The run, if it is still this owner's: its `drain` says whether to save and requeue it. Reads only."""
        return self._first(RunRow, *held_by(run_id, owner))

    def cancel(self, run_id: str) -> bool:
        """End a queued or running run; says whether it was one."""
        cancelled = self._end(RunRow.id == run_id, RunRow.state.in_(ACTIVE), state=CANCELLED)
        if cancelled:
            log.info("run cancelled", extra={"run_id": run_id})
        return cancelled

    def finish(self, run_id: str) -> bool:
        """Ask for a running run to succeed at the end of the epoch under way; says whether it was running."""
        return self._update((RunRow.id == run_id, RunRow.state == RUNNING), finish=True)

    def request_drain(self, run_id: str, owner: str) -> bool:
        """Ask the run's worker to save and requeue it; says whether it was still this owner's."""
        return self._update(held_by(run_id, owner), drain=True)

    def requeue(self, run_id: str, owner: str, *, worker_lost: bool) -> RunRow | None:
        """Requeue a run that `owner` will not finish; returns it as it is then, None if it is not `owner`'s.

        One whose worker was lost, in the middle of that run, `MAX_WORKER_LOSSES` times is failed instead.
        """
        if self.held(run_id, owner) is None:  # most often it has ended: no other writer is to be waited for then
            return None
        return self._requeue(run_id, held_by(run_id, owner), worker_losses=int(worker_lost))

    def requeue_expired(self, lease: Lease) -> RunRow | None:
        """Requeue a run whose lease was not renewed since it was read; else as `requeue`.

        Nobody knows whether the run ended its worker or something else did. So this counts as a worker loss only if
        the run was not checkpointed since it was claimed: one that was gets further with each attempt, and so ends.
        """
        unrenewed = (*held_by(lease.run_id, lease.owner), RunRow.renewals == lease.renewals)
        return self._requeue(
            lease.run_id, unrenewed, worker_losses=Case(None, [(RunRow.checkpointed_since_claim, 0)], 1)
        )

    def _requeue(self, run_id: str, which: Sequence[Any], *, worker_losses: Any) -> RunRow | None:
        with self._database.writing():
            if not self._update(which, worker_losses=RunRow.worker_losses + worker_losses):
                return None
            error = failure("worker_lost", f"The run lost its worker {MAX_WORKER_LOSSES} times.")
            if not self._end(*which, RunRow.worker_losses >= MAX_WORKER_LOSSES, state=FAILED, error=error):
                self._update(which, state=QUEUED, owner=None, drain=False)
            return self.run(run_id)
