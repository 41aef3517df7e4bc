"""What must be true after each event, whatever happened, and what must be true at the end."""

from __future__ import annotations

import json

from falcon_mnist.constants import ACTIVE, QUEUED, RUNNING, SUCCEEDED
from falcon_mnist.runs.backend import Outcome
from falcon_mnist.runs.leases import LEASE_SECONDS
from falcon_mnist.storage.removal import Removed
from falcon_mnist.storage.store import MAX_WORKER_LOSSES, Epoch

from .database import raw
from .rows import ParameterSet, Rows, Run, read_rows
from .servers import Server
from .shared import Shared
from .stored import StoredFiles, check
from .training import uninterrupted
from .workers import Worker
from .world import Process


class Promises:
    """Compares what is stored after each event with what was before."""

    def __init__(self, shared: Shared) -> None:
        self.answered: dict[str, str] = {}  # idempotency key to id
        self.allowed = {"worker_lost"}  # codes that a run may fail with after the faults so far
        self._shared = shared
        self._connection = raw(shared.database)
        self._files = StoredFiles(shared)
        self._seen = (-1, -1)
        self._rows = Rows(set(), {}, {}, {})
        self._losses: dict[str, int] = {}  # run to losses, by our own count
        self._claimed: dict[str, Worker] = {}  # run to the worker that has claimed it last
        self._claimed_at: dict[str, float] = {}
        self._renewed: dict[str, float] = {}  # run to when its lease was last renewed, or its owner changed
        self._removing: list[str] = []  # what a server is removing now
        self._gone: set[str] = set()  # what was removed

    # What clients know

    def answer(self, key: str, made: str) -> None:
        """A client was told that its request with `key` made this."""
        earlier = self.answered.setdefault(key, made)
        check(earlier == made or earlier in self._gone, f"{key} gives {made}, and gave {earlier}")
        self.answered[key] = made

    def active(self) -> list[str]:
        """The runs that have not ended."""
        return [run.id for run in self._rows.runs.values() if run.state in ACTIVE]

    def stored_sets(self) -> list[str]:
        """All parameter sets."""
        return sorted(self._rows.sets)

    def rows(self) -> list[str]:
        """The ids of all models, runs and parameter sets."""
        return sorted(self._rows.models) + sorted(self._rows.runs) + sorted(self._rows.sets)

    def holder(self, run_id: str) -> str | None:
        """Who executes the run."""
        run = self._rows.runs.get(run_id)
        return run.owner if run else None

    def renewals(self, run_id: str) -> int:
        """How often the one that executes the run has renewed its lease."""
        run = self._rows.runs.get(run_id)
        return run.renewals if run else 0

    def removal_begins(self, row_id: str) -> None:
        """A server is asked to remove this: what belongs to it may go from now on."""
        self._removing.append(row_id)

    def removal_ends(self, server: Server, row_id: str, answer: object) -> None:
        """A client was told what was removed, or why not, or nothing."""
        self.look(server)
        self._removing.remove(row_id)
        there = row_id in self.rows()
        if isinstance(answer, Removed):
            check(not there, f"{row_id} is there after its removal")
            self._files.check_removed(answer)
            orphans = "SELECT param_id FROM evaluations WHERE param_id NOT IN (SELECT id FROM parameter_sets)"
            check(not self._connection.execute(orphans).fetchall(), f"{row_id} leaves evaluations")
        elif answer is not None:
            check(there == isinstance(answer, Exception), f"{row_id} is answered with {answer!r}")

    # After each event

    def look(self, actor: Process | None) -> None:
        """After an event in which this process acted (None for a client)."""
        seen = (self._connection.total_changes, self._shared.disk.changes + self._shared.bucket.changes)
        if seen == self._seen:
            return
        self._seen = seen
        before, self._rows = self._rows, read_rows(self._connection)
        self._check_missing(before)
        for run_id, run in self._rows.runs.items():
            earlier = before.runs.get(run_id)
            if earlier is None or (earlier, before.epochs.get(run_id)) == (run, self._rows.epochs.get(run_id)):
                continue
            self._shared.world.note(f"{actor.name if actor else 'a client'}: {earlier.state} -> {_short(run)}")
            self._check_change(earlier, run, actor)
            if (earlier.owner, earlier.renewals) != (run.owner, run.renewals):
                self._renewed[run_id] = self._shared.world.now
        self._files.check(self._rows)
        for param_id in self._rows.sets.keys() - before.sets.keys():
            self._check_result(self._rows.sets[param_id])

    def _check_missing(self, before: Rows) -> None:
        """Nothing goes but what a client wants removed, with all that belongs to it, and nothing comes back."""
        rows, removing = self._rows, self._removing
        gone = before.models - rows.models
        check(gone.issubset(removing), f"{gone} are forgotten")
        for run in [run for run in before.runs.values() if run.id not in rows.runs]:
            check(run.id in removing or run.model_id in removing, f"{run.id} is forgotten")
            check(run.state not in ACTIVE, f"{run.id} is removed while it is {run.state}")
            gone.add(run.id)
        starts = {run.start_from for run in rows.runs.values() if run.state in ACTIVE}
        for each in [each for each in before.sets.values() if each.id not in rows.sets]:
            check({each.id, each.run_id, each.model_id}.intersection(removing), f"{each.id} is forgotten")
            check(each.id not in starts, f"{each.id} is removed although an active run begins with it")
            gone.add(each.id)
        self._gone |= gone
        back = self._gone & (rows.models | rows.runs.keys() | rows.sets.keys())
        check(not back, f"{back} are back after their removal")
        for key, made in self.answered.items():
            check(made in rows.models or made in rows.runs or made in self._gone, f"{made} of {key} is forgotten")

    def _check_change(self, before: Run, run: Run, actor: Process | None) -> None:
        check(before.state in ACTIVE, f"{run.id} was {before.state}, and changes")
        if isinstance(actor, Worker):
            claims = before.state == QUEUED and run.state == RUNNING and run.owner == actor.name
            held = before.state == RUNNING and before.owner == actor.name
            check(claims or held, f"{actor.name} changes {run.id}, which is {before.owner}'s")
            if claims:
                self._claimed[run.id], self._claimed_at[run.id] = actor, self._shared.world.now
            else:
                its_own = self._claimed[run.id] is actor or actor.requeues
                check(its_own, f"{actor.name} changes {run.id}, which another worker of this name has claimed")
        losses = self._losses.get(run.id, 0)
        if isinstance(actor, Server) and before.state == RUNNING and run.owner != before.owner:
            losses += self._expected_losses(before, actor)
        if isinstance(actor, Worker) and actor.requeues and run.owner != before.owner:
            losses += not before.checkpointed_since_claim
        self._losses[run.id] = losses
        check(run.worker_losses == losses, f"{run.id} counts {run.worker_losses} losses of {losses}")
        if run.error:
            code = json.loads(run.error)["code"]
            check(code in self.allowed, f"{run.id} failed: {code}")
            check(code != "worker_lost" or losses >= MAX_WORKER_LOSSES, f"{run.id} failed after {losses} losses")

    def _expected_losses(self, before: Run, server: Server) -> int:
        """How much a requeue by a server is to count."""
        if server.doing not in ("poll", "drain", "poll_draining") or before.owner is None:
            return 0
        told = server.backend.told.get(before.owner)
        # What was told before the claim says nothing of it: of a driver that is lost, workers go on for a while.
        outcome = told.outcome if told is not None and told.at >= self._claimed_at[before.id] else None
        if outcome is None and server.doing != "poll":
            return 0
        hit = any(worker.hit for worker in self._shared.workers if worker.name == before.owner)
        if outcome is None:
            unrenewed = self._shared.world.now - self._renewed[before.id]
            waited = self._claimed_at[before.id] - self._claimed[before.id].started_at
            if unrenewed <= LEASE_SECONDS and waited > server.backend.claim_seconds[0]:
                return 0  # it was about to be replaced, as it had not claimed its run
            check(unrenewed > LEASE_SECONDS, f"{before.owner} loses {before.id} {unrenewed:.1f} s after it renewed")
        counted = outcome in (Outcome.LOST, Outcome.FAILED) if outcome else not before.checkpointed_since_claim
        check(not counted or hit, f"{before.owner} counts as lost, and nothing had happened to it")
        return int(counted)

    def _check_result(self, made: ParameterSet) -> None:
        """A run ends with the parameters and the history that it has without faults."""
        run = self._rows.runs[made.run_id]
        check((run.state, run.param_id) == (SUCCEEDED, made.id), f"{made.id} is of a run that is {run.state}")
        given, dataset = json.loads(run.hyperparams), json.loads(run.dataset or "{}")
        check(run.finish or run.epoch == given["epochs"], f"{run.id} ended after {run.epoch} epochs")
        start = self._files.contents[run.start_from] if run.start_from else None
        data, history = uninterrupted(run.epoch, given["seed"], dataset["name"], run.isa or "", start)
        query = f"SELECT {', '.join(Epoch._fields)} FROM epochs WHERE run_id = ? ORDER BY epoch"
        epochs = tuple(Epoch(*row) for row in self._connection.execute(query, (run.id,)))
        check(epochs == history, f"{run.id} has another history than an uninterrupted run")
        check(self._files.contents[made.id] == data, f"{run.id} has other parameters than an uninterrupted run")

    def look_at_end(self) -> None:
        """When all runs have ended."""
        check(not self.active(), f"never end: {self.active()}")
        for run in self._rows.runs.values():
            if run.state == SUCCEEDED:
                check(run.param_id in self._rows.sets or run.param_id in self._gone, f"{run.id} has no parameters")


def _short(run: Run) -> str:
    return (
        f"{run.id} {run.state} of {run.owner}, epoch {run.epoch}, {run.worker_losses} losses, "
        f"{run.renewals} renewals, drain {run.drain}, {(run.checkpoint or '')[:16]} {run.error or ''}"
    )
