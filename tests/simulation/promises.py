"""What must be true after each event, whatever happened, and what must be true at the end."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from falcon_mnist.constants import ACTIVE, QUEUED, RUNNING, SUCCEEDED
from falcon_mnist.runs.backend import Outcome
from falcon_mnist.storage.parameter_files import file_name
from falcon_mnist.storage.store import MAX_WORKER_LOSSES, Store

from .database import raw
from .files import CHECKPOINTS, PARAMETERS
from .servers import Server
from .shared import Shared
from .training import undisturbed
from .workers import Worker
from .world import Process


class BrokenPromiseError(AssertionError):
    """What was promised and is not so."""


class Run(NamedTuple):
    """A row of `runs`, as it lies in the database."""

    id: str
    state: str
    owner: str | None
    epoch: int
    worker_losses: int
    checkpointed_since_claim: bool
    drain: bool
    finish: bool
    renewals: int
    checkpoint: str | None
    error: str | None
    dataset: str | None
    isa: str | None
    finished_at: str | None
    hyperparams: str


_RUNS = f"SELECT {', '.join(Run._fields)} FROM runs"


def check(kept: object, promise: str) -> None:
    """Raise if a promise is not kept."""
    if not kept:
        raise BrokenPromiseError(promise)


class Promises:
    """Compares what is stored after each event with what was before."""

    def __init__(self, shared: Shared) -> None:
        self.answered: dict[str, str] = {}  # idempotency key to id
        self._shared = shared
        self._connection = raw(shared.database)
        self._seen = (-1, -1)
        self._runs: dict[str, Run] = {}
        self._epochs: dict[str, int] = {}
        self._losses: dict[str, int] = {}  # run to losses, by our own count

    def answer(self, key: str, made: str) -> None:
        """A client was told that its request with `key` made this."""
        check(self.answered.setdefault(key, made) == made, f"{key} gives {made}, and gave {self.answered[key]}")

    def look(self, actor: Process | None) -> None:
        """After an event in which this process acted (None for a client)."""
        seen = (self._connection.total_changes, self._shared.disk.changes)
        if seen == self._seen:
            return
        self._seen = seen
        runs = {row[0]: Run(*row) for row in self._connection.execute(_RUNS)}
        epochs = dict(self._connection.execute("SELECT run_id, COUNT(*) FROM epochs GROUP BY run_id"))
        for run_id in self._runs.keys() | self._epochs.keys():
            check(run_id in runs, f"{run_id} is forgotten")
        for run_id, run in runs.items():
            before = self._runs.get(run_id)
            if before is not None and (before != run or self._epochs.get(run_id) != epochs.get(run_id)):
                self._shared.world.note(f"{actor.name if actor else 'a client'}: {before.state} -> {_short(run)}")
                self._check_change(before, run, actor)
        self._runs, self._epochs = runs, epochs
        self._check_answers()
        self._check_files()

    def _check_change(self, before: Run, run: Run, actor: Process | None) -> None:
        check(before.state in ACTIVE, f"{run.id} was {before.state}, and changes")
        if isinstance(actor, Worker):
            claims = before.state == QUEUED and run.state == RUNNING and run.owner == actor.name
            held = before.state == RUNNING and before.owner == actor.name
            check(claims or held, f"{actor.name} changes {run.id}, which is {before.owner}'s")
        losses = self._losses.get(run.id, 0)
        if isinstance(actor, Server) and before.state == RUNNING and run.owner != before.owner:
            losses += self._expected_losses(before, actor)
        self._losses[run.id] = losses
        check(run.worker_losses == losses, f"{run.id} counts {run.worker_losses} losses of {losses}")
        if run.error and json.loads(run.error)["code"] == "worker_lost":
            check(losses >= MAX_WORKER_LOSSES, f"{run.id} failed after {losses} losses")

    def _expected_losses(self, before: Run, server: Server) -> int:
        """How much a requeue by a server is to count."""
        if server.doing in ("abandon", "answer") or before.owner is None:
            return 0
        outcome = server.backend.told.get(before.owner)
        if outcome is None and server.doing in ("drain", "poll_draining"):
            return 0
        counted = outcome is not Outcome.FINISHED if outcome else not before.checkpointed_since_claim
        if counted:
            worker = next(each for each in self._shared.workers if each.name == before.owner)
            check(worker.disturbed, f"{worker.name} counts as lost, and nothing had happened to it")
        return int(counted)

    def _check_answers(self) -> None:
        models = {row[0] for row in self._connection.execute("SELECT id FROM models")}
        for key, made in self.answered.items():
            check(made in models or made in self._runs, f"{made} of {key} is forgotten")

    def _check_files(self) -> None:
        """Each file that a row names is there, whole, and stays so if the power fails now."""
        for run in self._runs.values():
            if run.checkpoint and run.state in ACTIVE:
                checkpoint = json.loads(run.checkpoint)
                self._check_file(CHECKPOINTS / checkpoint["file"], checkpoint["size_bytes"], checkpoint["sha256"])
        query = "SELECT id, size_bytes, sha256 FROM parameter_sets"
        for param_id, size_bytes, sha256 in self._connection.execute(query):
            self._check_file(PARAMETERS / file_name(param_id), size_bytes, sha256)

    def _check_file(self, path: Path, size_bytes: int, sha256: str) -> None:
        data = self._shared.disk.file(path, lasting=False)
        check(data is not None, f"{path} is gone")
        assert data is not None
        check(len(data) == size_bytes, f"{path} has {len(data)} bytes of {size_bytes}")
        check(hashlib.sha256(data).hexdigest() == sha256, f"{path} is damaged")
        check(self._shared.disk.file(path, lasting=True) == data, f"{path} would not survive a power failure")

    def active(self) -> list[str]:
        """The runs that have not ended."""
        return [run.id for run in self._runs.values() if run.state in ACTIVE]

    def holder(self, run_id: str) -> str | None:
        """Who executes the run."""
        return self._runs[run_id].owner

    def look_at_end(self, store: Store, allowed: set[str]) -> None:
        """When all runs have ended; those that failed may have done so for the `allowed` reasons."""
        check(not self.active(), f"never end: {self.active()}")
        for run in self._runs.values():
            if run.error:
                code = json.loads(run.error)["code"]
                check(code in allowed, f"{run.id} failed: {code}")
        of_runs = {row.run_id: row for row in store.all_parameters()}
        succeeded = {run.id for run in self._runs.values() if run.state == SUCCEEDED}
        check(of_runs.keys() == succeeded, "parameter sets and succeeded runs differ")
        for run_id, row in of_runs.items():
            run = self._runs[run_id]
            given, dataset = json.loads(run.hyperparams), json.loads(run.dataset or "{}")
            check(run.finish or run.epoch == given["epochs"], f"{run_id} ended after {run.epoch} epochs")
            data, history = undisturbed(run.epoch, given["seed"], dataset["name"], run.isa or "")
            check(tuple(store.history(run_id)) == history, f"{run_id} has another history than an undisturbed run")
            file = self._shared.disk.file(PARAMETERS / file_name(row.id), lasting=False)
            check(file == data, f"{run_id} has other parameters than an undisturbed run")


def _short(run: Run) -> str:
    return (
        f"{run.id} {run.state} of {run.owner}, epoch {run.epoch}, {run.worker_losses} losses, "
        f"{run.renewals} renewals, drain {run.drain}, {(run.checkpoint or '')[:16]} {run.error or ''}"
    )
