"""Every query of the service, as verbs on an object that stands on one database.

Each change of a run's state is one conditional write whose row count says whether it happened. A worker
writes under the `owner` that it claimed the run with, so one that has lost its run can change nothing.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import peewee
from peewee import EXCLUDED, Case, fn

from falcon_mnist.clock import SYSTEM_CLOCK, Clock, NewId, new_id
from falcon_mnist.constants import ACTIVE, CANCELLED, FAILED, QUEUED, RUNNING, SUCCEEDED
from falcon_mnist.storage import counts, migrations, pruning
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.files import Storage, Written
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.pruning import Ended
from falcon_mnist.storage.removal import Remover
from falcon_mnist.storage.tables import EpochRow, EvaluationRow, Meta, ModelRow, ParameterRow, RunRow, Table
from falcon_mnist.training.hyperparams import normalised

log = logging.getLogger(__name__)

# A run that has lost its worker so often is not tried again: it may be what kills them.
MAX_WORKER_LOSSES = 3

# The keys of `Meta` that hold a field of `Trained` begin with this.
_TOTAL = "trained_"


class Refused(StrEnum):
    """Why the store does not do what it was asked for."""

    KEY_REUSED = "the idempotency key was used before with another body"
    OTHER_HYPERPARAMS = "an active run of the model has other hyperparameters"
    QUEUE_FULL = "too many runs are queued"
    MODEL_REMOVED = "the model was removed meanwhile"
    START_REMOVED = "the parameter set in start_from was removed meanwhile"


class Conflict(Exception):
    """A write that the present state does not allow: `reason` for programs, `detail` for people."""

    def __init__(self, reason: Refused, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class RunLostError(Exception):
    """The run was cancelled, or belongs to another worker by now."""


class Lease(NamedTuple):
    """A running run as an observer sees it: while it has a living worker, `renewals` grows."""

    run_id: str
    owner: str
    renewals: int


class Epoch(NamedTuple):
    """A finished epoch of a run: tuples, because a run may have a thousand."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    lr: float | None  # of its last step; null, as the next two, where an earlier version trained
    seconds: float | None
    samples: int | None  # training rows


class Trained(NamedTuple):
    """What has been trained in the life of the database, also by runs that were removed since."""

    epochs: int
    samples: int  # training rows, counted once per epoch


_EPOCHS = EpochRow.select(EpochRow.run, *(getattr(EpochRow, name) for name in Epoch._fields)).tuples()

_Row = TypeVar("_Row", bound=Table)
_Made = TypeVar("_Made", ModelRow, RunRow, ParameterRow)


class Store:
    """The rows of the service. Any number of stores may be open in a process; any number of threads may use one."""

    def __init__(self, database: Database, *, clock: Clock = SYSTEM_CLOCK, new_id: NewId = new_id) -> None:
        """On a database of the newest schema (`migrations.migrate`); connects at the first query."""
        self._database = database
        self._clock = clock
        self._new_id = new_id

    def close(self) -> None:
        """Close this thread's connection; the next query opens another."""
        self._database.close()

    def check(self) -> None:
        """Raise if the database cannot be read."""
        Meta.select().first(self._database)

    def snapshot(self) -> AbstractContextManager[Any]:
        """All reads within it see the same moment: a run, its epochs and its parameter set fit together."""
        return self._database.snapshot()

    def together(self) -> AbstractContextManager[Any]:
        """All writes within it are one transaction."""
        return self._database.writing()

    def prepare(self) -> None:
        """Make the cursor key, if the database is not locked: the first list would have to wait for other writers."""
        with suppress(peewee.OperationalError):
            _ = self.cursor_key

    @cached_property
    def cursor_key(self) -> bytes:
        """The key that signs cursors, made once in the life of the database."""
        row = self._first(Meta, Meta.key == "cursor_key")
        if row is None:  # only then: lists are read also while the disk is full or another writes
            made = Meta.insert(key="cursor_key", value=secrets.token_hex(32))
            made.on_conflict_ignore().execute(self._database)
            row = Meta.select().where(Meta.key == "cursor_key").get(self._database)
        return bytes.fromhex(row.value)

    @property
    def identity(self) -> str:
        """What no other database has, and copies of this one do."""
        return hashlib.sha256(self.cursor_key).hexdigest()[:16]

    # Models

    def create_model(
        self,
        architecture: Mapping[str, Any],
        hyperparams: Mapping[str, Any],
        *,
        key: str | None = None,
        fingerprint: str | None = None,
    ) -> ModelRow:
        """A new model; with an idempotency `key` that was used before, the model that it made then.

        Raises `Conflict` if the key was used with another body.
        """
        with self._database.writing_alone():
            if key and (earlier := self._first(ModelRow, ModelRow.idempotency_key == key)):
                return _same(earlier, fingerprint)
            model = ModelRow(
                id=self._new_id("m"),
                architecture=architecture,
                hyperparams=hyperparams,
                created_at=self._clock.timestamp(),
                idempotency_key=key,
                fingerprint=fingerprint,
            )
            model.number = self._insert(model)
            return model

    def model(self, model_id: str) -> ModelRow | None:
        """The model, if there is one."""
        return self._first(ModelRow, ModelRow.id == model_id)

    def models(self, *, limit: int, before: int | None = None) -> list[ModelRow]:
        """Up to `limit` models, newest first, all with a `number` under `before`."""
        return self._all(_newest(ModelRow, limit, before))

    def parameter_sets(
        self, *, limit: int, before: int | None = None, model_id: str | None = None
    ) -> list[ParameterRow]:
        """Up to `limit` parameter sets, newest first: with a `number` under `before`, of this model."""
        return self._all(_newest(ParameterRow, limit, before, model_id))

    # Runs, as clients see them

    def create_run(
        self,
        model: ModelRow,
        hyperparams: Mapping[str, Any],
        *,
        max_queued: int,
        start_from: str | None = None,
        key: str | None = None,
        fingerprint: str | None = None,
    ) -> RunRow:
        """A new queued run; with an idempotency `key` that was used before, the run that it made then.

        Raises `Conflict` if the key was used with another body, if an active run of the model has other
        hyperparameters or another `start_from` (a parameter set's id), if the queue is full, or if the model or that
        set was removed meanwhile.
        """
        with self._database.writing_alone():
            of_model = RunRow.model == model.id
            if key and (earlier := self._first(RunRow, of_model, RunRow.idempotency_key == key)):
                return _same(earlier, fingerprint)
            if self.model(model.id) is None:
                raise Conflict(Refused.MODEL_REMOVED, "There is no model with this model_id any more.")
            if start_from is not None and self.parameters(start_from) is None:
                raise Conflict(Refused.START_REMOVED, "There is no parameter set start_from any more.")
            unfinished = RunRow.select().where(of_model, RunRow.state.in_(ACTIVE)).order_by(RunRow.number)
            for active in self._all(unfinished):
                if (normalised(active.hyperparams), active.start_from) != (normalised(hyperparams), start_from):
                    raise Conflict(
                        Refused.OTHER_HYPERPARAMS,
                        f"Run {active.id} of this model is {active.state} with other hyperparameters or another "
                        "start_from: wait for it, cancel it, or create another model.",
                    )
            if RunRow.select().where(RunRow.state == QUEUED).count(self._database) >= max_queued:
                raise Conflict(Refused.QUEUE_FULL, f"{max_queued} runs are queued already: try again later.")
            run = RunRow(
                id=self._new_id("r"),
                model=model.id,
                state=QUEUED,
                hyperparams=hyperparams,
                start_from=start_from,
                created_at=self._clock.timestamp(),
                idempotency_key=key,
                fingerprint=fingerprint,
            )
            run.number = self._insert(run)
        log.info("run queued", extra={"run_id": run.id, "model_id": model.id})
        return run

    def run(self, run_id: str) -> RunRow | None:
        """The run, if there is one."""
        return self._first(RunRow, RunRow.id == run_id)

    def runs(
        self, *, limit: int, before: int | None = None, model_id: str | None = None, state: str | None = None
    ) -> list[RunRow]:
        """Up to `limit` runs, newest first: with a `number` under `before`, of this model, in this state."""
        query = _newest(RunRow, limit, before, model_id)
        return self._all(query if state is None else query.where(RunRow.state == state))

    def history(self, run_id: str) -> list[Epoch]:
        """The finished epochs of a run, in order."""
        query = _EPOCHS.where(EpochRow.run == run_id).order_by(EpochRow.epoch)
        return [Epoch(*row) for _, *row in query.execute(self._database)]

    def shown_epochs(self, runs: Sequence[RunRow]) -> dict[str, dict[int, Epoch]]:
        """Run id to the last finished epoch and that of best accuracy, by number, where there are any."""
        found: dict[str, dict[int, Epoch]] = {run.id: {} for run in runs}
        for number in (RunRow.epoch, RunRow.best_accuracy_epoch):  # each by itself: it is a key of the index
            shown = (EpochRow.run == RunRow.id) & (EpochRow.epoch == number)
            for run_id, *row in (
                _EPOCHS.join(RunRow, on=shown).where(RunRow.id.in_(list(found))).execute(self._database)
            ):
                found[run_id][row[0]] = Epoch(*row)
        return found

    def cancel(self, run_id: str) -> bool:
        """End a queued or running run; says whether it was one."""
        cancelled = self._end(RunRow.id == run_id, RunRow.state.in_(ACTIVE), state=CANCELLED)
        if cancelled:
            log.info("run cancelled", extra={"run_id": run_id})
        return cancelled

    def finish(self, run_id: str) -> bool:
        """Ask for a running run to succeed at the end of the epoch under way; says whether it was running."""
        return self._update((RunRow.id == run_id, RunRow.state == RUNNING), finish=True)

    def parameters(self, param_id: str) -> ParameterRow | None:
        """The parameter set, if there is one."""
        return self._first(ParameterRow, ParameterRow.id == param_id)

    def import_parameters(
        self,
        param_id: str,
        architecture: Mapping[str, Any],
        hyperparams: Mapping[str, Any],
        written: Written,
        *,
        key: str | None = None,
        fingerprint: str | None = None,
    ) -> ParameterRow:
        """A parameter set whose file is stored already, and the model that it is of.

        With an idempotency `key` that was used before, the set that it made then. Raises `Conflict` if the key was
        used with another body.
        """
        with self._database.writing_alone():
            if earlier := self.imported(key, fingerprint):
                return earlier
            model = ModelRow(
                id=self._new_id("m"),
                architecture=architecture,
                hyperparams=hyperparams,
                created_at=self._clock.timestamp(),
            )
            self._insert(model)
            row = ParameterRow(
                id=param_id,
                model=model.id,
                **written._asdict(),
                created_at=model.created_at,
                idempotency_key=key,
                fingerprint=fingerprint,
            )
            self._insert(row)
            return row

    def imported(self, key: str | None, fingerprint: str | None) -> ParameterRow | None:
        """The parameter set that was imported under this idempotency key. Raises `Conflict` as that does."""
        earlier = self._first(ParameterRow, ParameterRow.idempotency_key == key) if key else None
        return earlier and _same(earlier, fingerprint)

    def evaluation(self, param_id: str) -> Any:
        """What a parameter set reached on the test images; None if nobody has looked yet."""
        row = self._first(EvaluationRow, EvaluationRow.param_id == param_id)
        return row and row.evaluation

    def record_evaluation(self, param_id: str, evaluation: Any) -> Any:
        """Store an evaluation unless there is one already; returns the stored one, None if the set is gone."""
        with self._database.writing_alone():
            if self.parameters(param_id):
                row = EvaluationRow.insert(param_id=param_id, evaluation=evaluation)
                row.on_conflict_ignore().execute(self._database)
            return self.evaluation(param_id)

    # Runs, as the queue sees them

    def queued(self, limit: int) -> list[str]:
        """Ids of the runs that have waited longest."""
        query = RunRow.select(RunRow.id).where(RunRow.state == QUEUED).order_by(RunRow.number).limit(limit)
        return [run.id for run in self._all(query)]

    def leases(self) -> list[Lease]:
        """Every running run. One whose lease stays the same for too long has lost its worker."""
        query = RunRow.select(RunRow.id, RunRow.owner, RunRow.renewals).where(RunRow.state == RUNNING)
        return [Lease(*row) for row in query.tuples().execute(self._database)]

    def request_drain(self, run_id: str, owner: str) -> bool:
        """Ask the run's worker to save and requeue it; says whether it was still this owner's."""
        return self._update(_held(run_id, owner), drain=True)

    def requeue(self, run_id: str, owner: str, *, worker_lost: bool) -> RunRow | None:
        """Requeue a run that `owner` will not finish; returns it as it is then, None if it is not `owner`'s.

        One whose worker was lost, in the middle of that run, `MAX_WORKER_LOSSES` times is failed instead.
        """
        if self.held(run_id, owner) is None:  # most often it has ended: no other writer is to be waited for then
            return None
        return self._requeue(run_id, _held(run_id, owner), worker_losses=int(worker_lost))

    def requeue_expired(self, lease: Lease) -> RunRow | None:
        """Requeue a run whose lease was not renewed since it was read; else as `requeue`.

        Nobody knows whether the run ended its worker or something else did. So this counts as a worker loss only if
        the run was not checkpointed since it was claimed: one that was gets further with each attempt, and so ends.
        """
        unrenewed = (*_held(lease.run_id, lease.owner), RunRow.renewals == lease.renewals)
        return self._requeue(
            lease.run_id, unrenewed, worker_losses=Case(None, [(RunRow.checkpointed_since_claim, 0)], 1)
        )

    def _requeue(self, run_id: str, which: Sequence[Any], *, worker_losses: Any) -> RunRow | None:
        with self._database.writing():
            if not self._update(which, worker_losses=RunRow.worker_losses + worker_losses):
                return None
            error = {"code": "worker_lost", "message": f"The run lost its worker {MAX_WORKER_LOSSES} times."}
            if not self._end(*which, RunRow.worker_losses >= MAX_WORKER_LOSSES, state=FAILED, error=error):
                self._update(which, state=QUEUED, owner=None, drain=False)
            return self.run(run_id)

    # Runs, as workers see them

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

    def architecture(self, run: RunRow) -> Any:
        """The architecture of the run's model. Raises `RunLostError` if both were removed meanwhile."""
        model = self.model(run.model_id)
        if model is None:
            raise RunLostError(run.id)
        return model.architecture

    def renew(self, run_id: str, owner: str) -> bool:
        """Renew the lease; False if the run is no longer this owner's."""
        return self._update(_held(run_id, owner), renewals=RunRow.renewals + 1)

    def held(self, run_id: str, owner: str) -> RunRow | None:
        """The run, if it is still this owner's: its `drain` says whether to save and requeue it. Reads only."""
        return self._first(RunRow, *_held(run_id, owner))

    def record_basis(self, run_id: str, owner: str, *, dataset: Mapping[str, Any], isa: str) -> None:
        """Note what the run trains on and with: with others its bits would differ. Raises `RunLostError`."""
        self._update_held(run_id, owner, dataset=dataset, isa=isa)

    def record_checkpoint(self, run_id: str, owner: str, checkpoint: Mapping[str, Any] | None) -> None:
        """Note which file the run resumes from. Raises `RunLostError`."""
        self._update_held(run_id, owner, checkpoint=checkpoint, checkpointed_since_claim=True)

    def restart(self, run_id: str, owner: str) -> None:
        """Forget the epochs of an attempt with another basis. Raises `RunLostError`."""
        with self._database.writing():
            self._update_held(run_id, owner, epoch=0, best_epoch=0, best_accuracy_epoch=0, checkpoint=None)
            EpochRow.delete().where(EpochRow.run == run_id).execute(self._database)

    def record_epochs(
        self, run_id: str, owner: str, epochs: Mapping[int, Mapping[str, float | None]], *, best_epoch: int = 0
    ) -> None:
        """Add finished epochs: by number, counted from 1, their columns of `Epoch`. Raises `RunLostError`."""
        with self._database.writing():
            # After a crash, epochs since the last checkpoint are run again: to the same metrics, which stay.
            greatest = self._database.greatest
            changes = {
                "epoch": greatest(RunRow.epoch, max(epochs)),
                "best_epoch": greatest(RunRow.best_epoch, best_epoch),
            }
            self._update_held(run_id, owner, **changes)
            rows = [{"run": run_id, "epoch": epoch, **metrics} for epoch, metrics in epochs.items()]
            if added := EpochRow.insert_many(rows).on_conflict_ignore().as_rowcount().execute(self._database):
                self._note_best_accuracy(run_id)
                samples = int(epochs[max(epochs)].get("samples") or 0)  # of each: a run's epochs have as many
                self._add_to_totals(Trained(added, added * samples))

    def _note_best_accuracy(self, run_id: str) -> None:
        """Kept in the run, for lists: to find it among a thousand epochs of each run takes too long there."""
        measured = (EpochRow.run == run_id) & EpochRow.val_accuracy.is_null(False)
        ranked = EpochRow.select(EpochRow.epoch).where(measured).order_by(EpochRow.val_accuracy.desc(), EpochRow.epoch)
        best = fn.COALESCE(ranked.limit(1), 0)
        RunRow.update(best_accuracy_epoch=best).where(RunRow.id == run_id).execute(self._database)

    def _add_to_totals(self, trained: Trained) -> None:
        """Kept beside the epochs, whose rows may be removed: a total never falls."""
        rows = [{"key": _TOTAL + name, "value": str(count)} for name, count in trained._asdict().items()]
        total = (Meta.value.cast("BIGINT") + EXCLUDED.value.cast("BIGINT")).cast("TEXT")
        added = Meta.insert_many(rows).on_conflict(conflict_target=[Meta.key], update={Meta.value: total})
        added.execute(self._database)

    def succeed(
        self, run_id: str, owner: str, param_id: str, *, size_bytes: int, sha256: str, evaluation: Any = None
    ) -> None:
        """End the run with its parameter set, whose file is on disk already, and what that reached on the test images.

        Raises `RunLostError`.
        """
        with self._database.writing():
            if not self._end(*_held(run_id, owner), state=SUCCEEDED, param_id=param_id):
                raise RunLostError(run_id)
            run = RunRow.select(RunRow.model).where(RunRow.id == run_id).get(self._database)
            parameters = {"id": param_id, "run": run_id, "model": run.model_id, "size_bytes": size_bytes}
            created_at = self._clock.timestamp()
            ParameterRow.insert(**parameters, sha256=sha256, created_at=created_at).execute(self._database)
            if evaluation is not None:
                EvaluationRow.insert(param_id=param_id, evaluation=evaluation).execute(self._database)

    def fail(self, run_id: str, owner: str, code: str, message: str) -> bool:
        """End the run with an error; says whether it was still this owner's."""
        return self._end(*_held(run_id, owner), state=FAILED, error={"code": code, "message": message})

    # Removal

    def remover(self, parameters: ParameterFiles, checkpoints: Storage) -> Remover:
        """What removes rows of this store, with their files."""
        return Remover(self._database, parameters, checkpoints)

    def prunable_runs(self, *, before: str, keep_best: int) -> list[Ended]:
        """As `pruning.prunable_runs`."""
        return pruning.prunable_runs(self._database, before=before, keep_best=keep_best)

    def empty_models(self, *, before: str) -> list[str]:
        """As `pruning.empty_models`."""
        return pruning.empty_models(self._database, before=before)

    # All of them

    def recorded_checkpoints(self) -> list[Any]:
        """What active runs resume from."""
        runs = self._all(RunRow.select(RunRow.checkpoint).where(RunRow.state.in_(ACTIVE)))
        return [run.checkpoint for run in runs if run.checkpoint]

    def all_parameters(self) -> list[ParameterRow]:
        """Every parameter set."""
        return self._all(ParameterRow.select())

    def parameter_ids(self) -> set[str]:
        """The id of every parameter set."""
        return {param_id for (param_id,) in ParameterRow.select(ParameterRow.id).tuples().execute(self._database)}

    def count_runs(self) -> dict[str, int]:
        """State to number of runs."""
        return counts.count_runs(self._database)

    def count_further(self, *, enough: int = counts.ENOUGH) -> None:
        """Do what keeps `count_runs` fast, if it is due."""
        counts.count_further(self._database, enough=enough)

    def trained(self) -> Trained:
        """Epochs and samples, counted when their epoch was recorded; 0 for what earlier versions recorded."""
        query = Meta.select(Meta.key, Meta.value).where(Meta.key.startswith(_TOTAL)).tuples()
        totals = {key.removeprefix(_TOTAL): int(value) for key, value in query.execute(self._database)}
        return Trained(*(totals.get(name, 0) for name in Trained._fields))

    @property
    def schema_version(self) -> int:
        """How many of the migrations' steps made this database."""
        return migrations.version(self._database)

    def faults(self) -> list[str]:
        """What is wrong with the stored rows, one sentence each. Raises `peewee.DatabaseError`."""
        return self._database.faults()

    @property
    def advice(self) -> str:
        """What to do about them."""
        return self._database.advice(peewee.DatabaseError())

    def _first(self, table: type[_Row], *where: Any) -> _Row | None:
        row: _Row | None = table.select().where(*where).first(self._database)
        return row

    def _all(self, query: Any) -> list[Any]:
        return list(query.execute(self._database))

    def _insert(self, row: Table) -> Any:
        """Returns the row's key."""
        return type(row).insert(row.__data__).execute(self._database)

    def _update(self, where: Sequence[Any], **changes: Any) -> bool:
        return bool(RunRow.update(**changes).where(*where).execute(self._database))

    def _update_held(self, run_id: str, owner: str, **changes: Any) -> None:
        if not self._update(_held(run_id, owner), **changes):
            raise RunLostError(run_id)

    def _end(self, *where: Any, **changes: Any) -> bool:
        finished_at = self._not_before(fn.COALESCE(RunRow.started_at, RunRow.created_at))
        return self._update(where, finished_at=finished_at, owner=None, drain=False, **changes)

    def _not_before(self, earlier: Any) -> Any:
        """Now, or at an `earlier` timestamp that is later: another machine's clock may be ahead of this one's."""
        return self._database.greatest(earlier, self._clock.timestamp())


def _newest(table: Any, limit: int, before: int | None, model_id: str | None = None) -> Any:
    query = table.select().order_by(table.number.desc()).limit(limit)
    if before is not None:
        query = query.where(table.number < before)
    return query if model_id is None else query.where(table.model == model_id)


def _held(run_id: str, owner: str) -> tuple[Any, ...]:
    return (RunRow.id == run_id, RunRow.state == RUNNING, RunRow.owner == owner)


def _same(earlier: _Made, fingerprint: str | None) -> _Made:
    if earlier.fingerprint != fingerprint:
        raise Conflict(Refused.KEY_REUSED, "This idempotency key was used before with another body.")
    return earlier
