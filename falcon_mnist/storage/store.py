"""What outlives the process: tables and every query, on SQLite.

Each change of a run's state is one conditional write whose row count says whether it happened. A worker
writes under the `owner` that it claimed the run with, so one that has lost its run can change nothing.
"""

from __future__ import annotations

import logging
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from peewee import (
    AutoField,
    BooleanField,
    CompositeKey,
    DatabaseError,
    DatabaseProxy,
    DoubleField,
    ForeignKeyField,
    IntegerField,
    Model,
    OperationalError,
    SqliteDatabase,
    TextField,
    fn,
)

from falcon_mnist.constants import ACTIVE, CANCELLED, FAILED, QUEUED, RUNNING, STATES, SUCCEEDED
from falcon_mnist.storage.migrations import migrate

log = logging.getLogger(__name__)

# A worker renews its lease every few seconds; one that has not for this long is taken for dead.
LEASE_SECONDS = 15.0
# A run that has lost its worker so often is not tried again: it may be what kills them.
MAX_LOSSES = 3

# What to do about a damaged database.
RESTORE = "stop the servers and restore a backup, or save what is left with: sqlite3 FILE .recover"

database = DatabaseProxy()


class Conflict(Exception):
    """A write that the present state does not allow; `reason` is a kind of `errors.KINDS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class DatabaseFileError(Exception):
    """A database that cannot be opened; the message is one sentence for a person, and says what to do."""


class RunLostError(Exception):
    """The run was cancelled, or belongs to another worker by now."""


class JSONText(TextField):
    """A JSON document in a text column."""

    def db_value(self, value: Any) -> str | None:
        """Python to text."""
        return None if value is None else orjson.dumps(value).decode()

    def python_value(self, value: str | None) -> Any:
        """Text to Python."""
        return None if value is None else orjson.loads(value)


class Table(Model):
    """Base of all tables. Their constraints and indexes stand in `migrations`, which makes them."""

    class Meta:
        database = database
        legacy_table_names = False


class Meta(Table):
    """Facts about the database itself: the schema's version, the key that signs cursors."""

    key = TextField(primary_key=True)
    value = TextField()


class ModelRow(Table):
    """A model definition; it never changes."""

    number = AutoField()
    id = TextField()
    architecture = JSONText()
    hyperparams = JSONText()
    created_at = TextField()
    idempotency_key = TextField(null=True)
    fingerprint = TextField(null=True)

    class Meta:
        table_name = "models"


class RunRow(Table):
    """A training job: everything that a worker needs, and how far it has come."""

    number = AutoField()
    id = TextField()
    model = ForeignKeyField(ModelRow, field="id", column_name="model_id", lazy_load=False)
    model_id: str  # what the column holds; Peewee makes it
    state = TextField()
    hyperparams = JSONText()
    created_at = TextField()
    started_at = TextField(null=True)
    finished_at = TextField(null=True)
    epoch = IntegerField(default=0)
    dataset = JSONText(null=True)
    error = JSONText(null=True)
    checkpoint = JSONText(null=True)
    owner = TextField(null=True)
    lease_until = DoubleField(null=True)
    losses = IntegerField(default=0)
    progressed = BooleanField(default=False)  # whether it was saved since it was claimed
    idempotency_key = TextField(null=True)
    fingerprint = TextField(null=True)

    class Meta:
        table_name = "runs"


class EpochRow(Table):
    """The metrics of one finished epoch of a run."""

    run = ForeignKeyField(RunRow, field="id", column_name="run_id", lazy_load=False)
    run_id: str
    epoch = IntegerField()
    train_loss = DoubleField()
    train_accuracy = DoubleField()
    val_loss = DoubleField(null=True)
    val_accuracy = DoubleField(null=True)

    class Meta:
        table_name = "epochs"
        primary_key = CompositeKey("run", "epoch")


class ParameterRow(Table):
    """A trained parameter set and the file that holds it; it never changes."""

    id = TextField(primary_key=True)
    run = ForeignKeyField(RunRow, field="id", column_name="run_id", lazy_load=False)
    run_id: str
    model = ForeignKeyField(ModelRow, field="id", column_name="model_id", lazy_load=False)
    model_id: str  # what the column holds; Peewee makes it
    size_bytes = IntegerField()
    sha256 = TextField()
    created_at = TextField()

    class Meta:
        table_name = "parameters"


def new_id(prefix: str) -> str:
    """`prefix` and a random UUID, as in `m_1b4e28ba2fa14c3e8d5b0c6f3a9d7e21`."""
    return f"{prefix}_{uuid.uuid4().hex}"


def now() -> str:
    """The present time, ISO 8601 in UTC with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Store:
    """Every query of the service. One store is open in a process at a time (Peewee's tables are global)."""

    def __init__(self, path: Path) -> None:
        """Open the database at `path`; make or migrate it as needed.

        Raises `migrations.SchemaError` if a newer version of the service wrote it, and `DatabaseFileError`.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._database = SqliteDatabase(
            str(path),
            # WAL lets readers go on beside the one writer. FULL syncs at each commit: what was answered
            # stays, also when the power fails.
            pragmas={"journal_mode": "wal", "synchronous": "full", "foreign_keys": 1},
            timeout=10,
        )
        database.initialize(self._database)
        try:
            migrate(self._database)
            path.chmod(0o600)
            self.cursor_key = bytes.fromhex(self._fact("cursor_key", secrets.token_hex(32)))
        except DatabaseError as error:
            self._database.close()
            mend = "make room, or let others end" if isinstance(error, OperationalError) else RESTORE
            raise DatabaseFileError(f"the database {path} cannot be used ({error}): {mend}") from error

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()

    def check(self) -> None:
        """Raise if the database cannot be read."""
        Meta.select().first()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction that holds the write lock from its start, so that what it reads stays true."""
        with self._database.atomic("IMMEDIATE"):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read within sees the same moment: a run, its epochs, and its parameter set belong together."""
        with self._database.atomic():
            yield

    def _fact(self, key: str, initial: str) -> str:
        Meta.insert(key=key, value=initial).on_conflict_ignore().execute()
        return str(Meta.get_by_id(key).value)

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
        with self._writing():
            if key and (earlier := ModelRow.get_or_none(ModelRow.idempotency_key == key)):
                return _same(earlier, fingerprint)
            model: ModelRow = ModelRow.create(
                id=new_id("m"),
                architecture=architecture,
                hyperparams=hyperparams,
                created_at=now(),
                idempotency_key=key,
                fingerprint=fingerprint,
            )
            return model

    def model(self, model_id: str) -> ModelRow | None:
        """The model, if there is one."""
        return ModelRow.get_or_none(ModelRow.id == model_id)

    # Runs, as clients see them

    def create_run(
        self,
        model: ModelRow,
        hyperparams: Mapping[str, Any],
        *,
        max_queued: int,
        key: str | None = None,
        fingerprint: str | None = None,
    ) -> RunRow:
        """A new queued run; with an idempotency `key` that was used before, the run that it made then.

        Raises `Conflict` if the key was used with another body, if an active run of the model has other
        hyperparameters, or if the queue is full.
        """
        with self._writing():
            of_model = RunRow.model == model.id
            if key and (earlier := RunRow.get_or_none(of_model, RunRow.idempotency_key == key)):
                return _same(earlier, fingerprint)
            for active in RunRow.select().where(of_model, RunRow.state.in_(ACTIVE)):
                if active.hyperparams != hyperparams:
                    raise Conflict(
                        "conflicting-hyperparams",
                        f"Run {active.id} of this model is {active.state} with other hyperparameters: wait for "
                        "it, cancel it, or create another model.",
                    )
            if RunRow.select().where(RunRow.state == QUEUED).count() >= max_queued:
                raise Conflict("queue-full", f"{max_queued} runs are queued already: try again later.")
            run: RunRow = RunRow.create(
                id=new_id("r"),
                model=model.id,
                state=QUEUED,
                hyperparams=hyperparams,
                created_at=now(),
                idempotency_key=key,
                fingerprint=fingerprint,
            )
        log.info("run queued", extra={"run_id": run.id, "model_id": model.id})
        return run

    def run(self, run_id: str) -> RunRow | None:
        """The run, if there is one."""
        return RunRow.get_or_none(RunRow.id == run_id)

    def runs(self, model_id: str, *, limit: int, before: int | None = None) -> list[RunRow]:
        """Up to `limit` runs of a model, newest first, all with a `number` under `before`."""
        query = RunRow.select().where(RunRow.model == model_id).order_by(RunRow.number.desc()).limit(limit)
        return list(query.where(RunRow.number < before) if before is not None else query)

    def histories(self, runs: Sequence[RunRow]) -> dict[str, list[EpochRow]]:
        """The finished epochs of each run, in order."""
        histories: dict[str, list[EpochRow]] = {run.id: [] for run in runs}
        for epoch in EpochRow.select().where(EpochRow.run.in_(list(histories))).order_by(EpochRow.epoch):
            histories[epoch.run_id].append(epoch)
        return histories

    def latest_epochs(self, runs: Sequence[RunRow]) -> dict[str, EpochRow]:
        """Run id to its last finished epoch, for the runs that have finished one."""
        last = (EpochRow.run == RunRow.id) & (EpochRow.epoch == RunRow.epoch)
        query = EpochRow.select().join(RunRow, on=last).where(RunRow.id.in_([run.id for run in runs]))
        return {epoch.run_id: epoch for epoch in query}

    def param_ids(self, runs: Sequence[RunRow]) -> dict[str, str]:
        """Run id to parameter set, for the runs that have one."""
        rows = ParameterRow.select().where(ParameterRow.run.in_([run.id for run in runs]))
        return {row.run_id: row.id for row in rows}

    def cancel(self, run_id: str) -> bool:
        """End a queued or running run; says whether it was one."""
        cancelled = self._end(RunRow.id == run_id, RunRow.state.in_(ACTIVE), state=CANCELLED)
        if cancelled:
            log.info("run cancelled", extra={"run_id": run_id})
        return cancelled

    def parameters(self, param_id: str) -> ParameterRow | None:
        """The parameter set, if there is one."""
        return ParameterRow.get_or_none(ParameterRow.id == param_id)

    # Runs, as executors and workers see them

    def queued(self, limit: int) -> list[str]:
        """Ids of the runs that have waited longest."""
        query = RunRow.select(RunRow.id).where(RunRow.state == QUEUED).order_by(RunRow.number).limit(limit)
        return [run.id for run in query]

    def claim(self, run_id: str, owner: str) -> RunRow | None:
        """The run, from now on `owner`'s and running; None if it was not queued any more."""
        with self._writing():
            claimed = RunRow.update(
                state=RUNNING,
                owner=owner,
                lease_until=time.time() + LEASE_SECONDS,
                progressed=False,
                started_at=fn.COALESCE(RunRow.started_at, now()),
            ).where(RunRow.id == run_id, RunRow.state == QUEUED)
            if claimed.execute() != 1:
                return None
            return RunRow.get(RunRow.id == run_id)

    def architecture(self, run: RunRow) -> Any:
        """The architecture of the run's model."""
        return ModelRow.get(ModelRow.id == run.model_id).architecture

    def renew(self, run_id: str, owner: str) -> bool:
        """Prolong the lease; False if the run is no longer this owner's."""
        return self._update(_held(run_id, owner), lease_until=time.time() + LEASE_SECONDS)

    def holds(self, run_id: str, owner: str) -> bool:
        """Whether the run is still this owner's; reads only."""
        return RunRow.select().where(*_held(run_id, owner)).exists()

    def record_dataset(self, run_id: str, owner: str, dataset: Mapping[str, Any]) -> None:
        """Note what the run trains on. Raises `RunLostError`."""
        if not self._update(_held(run_id, owner), dataset=dataset):
            raise RunLostError(run_id)

    def record_checkpoint(self, run_id: str, owner: str, checkpoint: Mapping[str, Any] | None) -> None:
        """Note which file the run goes on from. Raises `RunLostError`."""
        if not self._update(_held(run_id, owner), checkpoint=checkpoint, progressed=True):
            raise RunLostError(run_id)

    def recorded_checkpoints(self) -> list[Any]:
        """What active runs go on from."""
        runs = RunRow.select(RunRow.checkpoint).where(RunRow.state.in_(ACTIVE))
        return [run.checkpoint for run in runs if run.checkpoint]

    def all_parameters(self) -> list[ParameterRow]:
        """Every parameter set."""
        return list(ParameterRow.select())

    def restart(self, run_id: str, owner: str) -> None:
        """Forget the epochs of an attempt on other data. Raises `RunLostError`."""
        with self._writing():
            if not self._update(_held(run_id, owner), epoch=0, checkpoint=None):
                raise RunLostError(run_id)
            EpochRow.delete().where(EpochRow.run == run_id).execute()

    def record_epoch(self, run_id: str, owner: str, epoch: int, metrics: Mapping[str, float | None]) -> None:
        """Add a finished epoch, counted from 1, with its `METRICS`. Raises `RunLostError`."""
        with self._writing():
            # After a crash, epochs since the last checkpoint are run again: to the same metrics, which stay.
            if not self._update(_held(run_id, owner), epoch=fn.MAX(RunRow.epoch, epoch)):
                raise RunLostError(run_id)
            EpochRow.insert(run=run_id, epoch=epoch, **metrics).on_conflict_ignore().execute()

    def succeed(self, run_id: str, owner: str, param_id: str, *, size_bytes: int, sha256: str) -> None:
        """End the run with its parameter set, whose file is on disk already. Raises `RunLostError`."""
        with self._writing():
            if not self._end(*_held(run_id, owner), state=SUCCEEDED):
                raise RunLostError(run_id)
            ParameterRow.create(
                id=param_id,
                run=run_id,
                model=RunRow.get(RunRow.id == run_id).model_id,
                size_bytes=size_bytes,
                sha256=sha256,
                created_at=now(),
            )

    def fail(self, run_id: str, owner: str, code: str, message: str) -> bool:
        """End the run with an error; says whether it was still this owner's."""
        return self._end(*_held(run_id, owner), state=FAILED, error={"code": code, "message": message})

    def give_back(self, run_id: str, owner: str, *, worker_lost: bool) -> RunRow | None:
        """Queue a run again that `owner` will not finish; gives it as it is then, None if it is not `owner`'s.

        One whose worker was lost, in the middle of that run, `MAX_LOSSES` times is failed instead.
        """
        given = self._queue_again(_held(run_id, owner), losses=int(worker_lost))
        return given[0] if given else None

    def expired(self) -> bool:
        """Whether there are runs whose lease has run out: their server and worker are gone."""
        return RunRow.select().where(*_expired()).exists()

    def give_back_expired(self) -> list[RunRow]:
        """Queue those runs again; gives them as they are then.

        Nobody saw what happened: a run may have taken its server down with it, or somebody else did. So this
        counts as a loss of its worker only if the run was not saved since it was claimed. Any other gets a
        little further with each attempt, and so comes to its end whoever is to blame.
        """
        return self._queue_again(_expired(), losses=1 - RunRow.progressed) if self.expired() else []

    def _queue_again(self, which: Sequence[Any], *, losses: Any) -> list[RunRow]:
        with self._writing():
            ids = [run.id for run in RunRow.select(RunRow.id).where(*which)]
            self._update(which, losses=RunRow.losses + losses)
            error = {"code": "worker_lost", "message": f"The run lost its worker {MAX_LOSSES} times."}
            self._end(*which, RunRow.losses >= MAX_LOSSES, state=FAILED, error=error)
            self._update(which, state=QUEUED, owner=None, lease_until=None)
            return list(RunRow.select().where(RunRow.id.in_(ids)))

    # The database itself

    def count_runs(self) -> dict[str, int]:
        """State to number of runs."""
        return {state: RunRow.select().where(RunRow.state == state).count() for state in STATES}

    @property
    def schema_version(self) -> int:
        """How many of the migrations' steps made this database."""
        return int(Meta.get_by_id("schema_version").value)

    def integrity_faults(self) -> list[str]:
        """What SQLite finds wrong with the file and with the references between tables. Raises `DatabaseError`."""
        lines = [str(row[0]) for row in self._database.execute_sql("PRAGMA integrity_check(10)")]
        dangling = self._database.execute_sql("PRAGMA foreign_key_check").fetchall()
        faults = [] if lines == ["ok"] else lines
        return faults + ([f"{len(dangling)} rows refer to rows that are not there"] if dangling else [])

    def _end(self, *where: Any, **changes: Any) -> bool:
        return self._update(where, finished_at=now(), owner=None, lease_until=None, **changes)

    @staticmethod
    def _update(where: Sequence[Any], **changes: Any) -> bool:
        return bool(RunRow.update(**changes).where(*where).execute())


_Row = TypeVar("_Row", ModelRow, RunRow)


def _expired() -> tuple[Any, ...]:
    return (RunRow.state == RUNNING, RunRow.lease_until < time.time())


def _held(run_id: str, owner: str) -> tuple[Any, ...]:
    return (RunRow.id == run_id, RunRow.state == RUNNING, RunRow.owner == owner)


def _same(earlier: _Row, fingerprint: str | None) -> _Row:
    if earlier.fingerprint != fingerprint:
        raise Conflict("idempotency-key-reused", "This Idempotency-Key was used before with another body.")
    return earlier
