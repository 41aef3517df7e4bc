"""A database with many rows, what the service asks of it all the time, and how the database goes about that."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from falcon_mnist.constants import FAILED, RUNNING
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.postgresql import PostgreSQL
from falcon_mnist.storage.removal import remove_parameters, remove_run
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.storage.store import Store

HYPERPARAMS = (
    '{"epochs":3,"batch_size":64,"optimizer":{"type":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0},'
    '"loss":"cross_entropy","seed":0,"train_split":0.9,"shuffle":true,"label_smoothing":0.0,"averaging":0.0}'
)
ARCHITECTURE = '{"input_size":784,"layers":[{"type":"linear","in":784,"out":10}]}'
ACTIVE = 150  # of which 20 are running
LONG = 100  # runs with many epochs


def fill(database: Database, runs: int, *, epochs: int = 1000) -> None:
    """Half of the runs are of one model; the newest are active, the newest ended ones have so many epochs."""
    numbers = "WITH RECURSIVE numbers(i) AS (SELECT {} UNION ALL SELECT i + 1 FROM numbers WHERE i < {})"
    ended, models = runs - ACTIVE, runs // 100
    statements = (
        f"""INSERT INTO models (id, architecture, hyperparams, created_at, idempotency_key)
            {numbers.format(1, models)}
            SELECT 'm_' || i, '{ARCHITECTURE}', '{HYPERPARAMS}', '2026-01-01T00:00:00.000000Z', 'k' || i
            FROM numbers""",
        f"""INSERT INTO runs (id, model_id, state, hyperparams, created_at, started_at, finished_at, epoch, owner,
                best_accuracy_epoch, idempotency_key)
            {numbers.format(1, runs)}
            SELECT 'r_' || i, 'm_' || CASE WHEN i / 2 * 2 = i THEN 1 ELSE 1 + i / 101 END,
                CASE WHEN i > {ended + 20} THEN 'queued' WHEN i > {ended} THEN 'running'
                    WHEN i / 50 * 50 = i THEN 'failed' ELSE 'succeeded' END,
                '{HYPERPARAMS}', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:01.000000Z',
                '2026-01-01T00:00:02.000000Z',
                CASE WHEN i > {ended} OR i <= {ended - LONG} THEN 1 ELSE {epochs} END,
                'o' || i, 1, 'k' || i FROM numbers""",
        f"""INSERT INTO epochs (run_id, epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr, seconds, samples)
            {numbers.format(1, runs)}
            SELECT 'r_' || i, 1, 0.5, 0.5, 0.5, 0.5, 0.1, 0.05, 54000 FROM numbers""",
        f"""INSERT INTO epochs (run_id, epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr, seconds, samples)
            {numbers.format(2, epochs)}
            SELECT id, i, 0.5, 0.5, 0.5, 0.5, 0.1, 0.05, 54000 FROM runs, numbers
            WHERE number > {ended - LONG} AND number <= {ended}""",
        """INSERT INTO parameter_sets (id, run_id, model_id, size_bytes, sha256, created_at)
            SELECT 'p_' || number, id, model_id, 203000, id, created_at FROM runs WHERE state = 'succeeded'
            ORDER BY number""",
        """INSERT INTO evaluations (param_id, evaluation)
            SELECT id, '{"loss":0.1,"accuracy":0.97}' FROM parameter_sets""",
    )
    with database.writing_alone():
        for statement in statements:
            database.execute_sql(statement)
    database.execute_sql("ANALYZE")
    Store(database).count_further()


class Rows(NamedTuple):
    """Some of them, whose ids follow from their numbers."""

    runs: int

    @property
    def ended(self) -> str:
        return f"r_{self.runs - ACTIVE - LONG - 1}"

    @property
    def running(self) -> tuple[str, str]:
        """A run and its owner."""
        return f"r_{self.runs - ACTIVE + 1}", f"o{self.runs - ACTIVE + 1}"

    @property
    def queued(self) -> str:
        return f"r_{self.runs}"

    @property
    def middle(self) -> int:
        return self.runs // 2


EPOCH = {"train_loss": 0.5, "train_accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5, "samples": 54000}

# What requests, the queue, workers and scrapes of metrics ask, whatever the number of rows.
READS: dict[str, Callable[[Store, Rows], Any]] = {
    "newest runs": lambda store, rows: store.shown_epochs(store.runs(limit=101)),
    "runs after a cursor": lambda store, rows: store.shown_epochs(store.runs(limit=101, before=rows.middle)),
    "runs in a state": lambda store, rows: store.runs(limit=101, before=rows.middle, state=FAILED),
    "runs of a model": lambda store, rows: store.runs(limit=101, before=rows.middle, model_id="m_1"),
    "runs of a model in a state": lambda store, rows: store.runs(limit=101, model_id="m_1", state=RUNNING),
    "no runs of a model in a state": lambda store, rows: store.runs(limit=101, model_id="m_1", state="cancelled"),
    "models": lambda store, rows: store.models(limit=101, before=rows.runs // 200),
    "parameter sets": lambda store, rows: store.parameter_sets(limit=101, before=rows.middle),
    "parameter sets of a model": lambda store, rows: store.parameter_sets(limit=101, model_id="m_1"),
    "a run": lambda store, rows: (store.run(rows.ended), store.history(rows.ended)),
    "a model": lambda store, rows: store.model("m_1"),
    "a parameter set": lambda store, rows: store.parameters(f"p_{rows.middle + 1}"),
    "an evaluation": lambda store, rows: store.evaluation(f"p_{rows.middle + 1}"),
    "the queue": lambda store, rows: store.queued(8),
    "leases": lambda store, rows: store.leases(),
    "a lease": lambda store, rows: store.held(*rows.running),
    "runs by state": lambda store, rows: store.count_runs(),
    "totals": lambda store, rows: store.trained(),
    "checkpoints": lambda store, rows: store.recorded_checkpoints(),
}
WRITES: dict[str, Callable[[Store, Rows], Any]] = {
    "a new model": lambda store, rows: store.create_model({}, {}, key="new", fingerprint=""),
    "a new run": lambda store, rows: store.create_run(_model(store), {}, max_queued=10**6, key="new", fingerprint=""),
    "a claim": lambda store, rows: store.claim(rows.queued, "worker"),
    "a renewal": lambda store, rows: store.renew(*rows.running),
    "an epoch": lambda store, rows: store.record_epochs(*rows.running, {2: EPOCH}),
    "a checkpoint": lambda store, rows: store.record_checkpoint(*rows.running, {"file": "c"}),
    "a requeue": lambda store, rows: store.requeue(*rows.running, worker_lost=True),
    "a success": lambda store, rows: store.succeed(
        *_claimed(store, f"r_{rows.runs - 1}"), "p_new", size_bytes=1, sha256="", evaluation={}
    ),
    "a cancel": lambda store, rows: store.cancel(f"r_{rows.runs - 2}"),
    "a removed run": lambda store, rows: _remove(store, remove_run, rows.ended),
    "a removed set": lambda store, rows: _remove(store, remove_parameters, f"p_{rows.middle + 3}"),
}


def _model(store: Store) -> Any:
    model = store.model("m_2")
    assert model is not None
    return model


def _claimed(store: Store, run_id: str) -> tuple[str, str]:
    assert store.claim(run_id, "worker")
    return run_id, "worker"


def _remove(store: Store, which: Callable[..., Any], row_id: str) -> Any:
    return which(store._database, row_id)


class Recorded(NamedTuple):
    """A statement as it was executed."""

    sql: str
    params: Any


class RecordingSQLite(SQLite):
    """Remembers statements, and says how it would execute them."""

    recorded: list[Recorded]

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        self.__dict__.setdefault("recorded", []).append(Recorded(sql, params))
        return super().execute_sql(sql, params)

    def plan(self, statement: Recorded, *, how: str = "") -> list[str]:
        """`how` is PostgreSQL's."""
        rows = super().execute_sql(f"EXPLAIN QUERY PLAN {statement.sql}", statement.params)
        return [str(row[3]) for row in rows]


class RecordingPostgreSQL(PostgreSQL):
    """As `RecordingSQLite`."""

    recorded: list[Recorded]

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        self.__dict__.setdefault("recorded", []).append(Recorded(sql, params))
        return super().execute_sql(sql, params)

    def plan(self, statement: Recorded, *, how: str = "COSTS OFF") -> list[str]:
        return [str(row[0]) for row in super().execute_sql(f"EXPLAIN ({how}) {statement.sql}", statement.params)]


def recording(place: Path | str, *, wait: float = 60.0) -> RecordingSQLite | RecordingPostgreSQL:
    """The database at a place, which is there already."""
    return RecordingSQLite(place, wait=wait) if isinstance(place, Path) else RecordingPostgreSQL(place, wait=wait)


def plans(
    database: RecordingSQLite | RecordingPostgreSQL,
    act: Callable[[Store, Rows], Any],
    rows: Rows,
    *,
    how: str = "COSTS OFF",
) -> dict[str, list[str]]:
    """The plan of each statement of a verb; what the verb writes is undone."""
    store = Store(database)
    with database.atomic() as transaction:
        database.recorded = []
        act(store, rows)
        made = [each for each in database.recorded if each.sql.split(maxsplit=1)[0] in ("SELECT", "UPDATE", "DELETE")]
        found = {each.sql: database.plan(each, how=how) for each in made if "advisory" not in each.sql}
        transaction.rollback()
    return found


def pages_read(plan: list[str]) -> int:
    """How many pages of the database PostgreSQL read to execute a statement: its first line of them is for all."""
    total = next(line for line in plan if "Buffers: shared" in line)
    return sum(int(pages) for pages in re.findall(r"(?:hit|read)=(\d+)", total))


# The tables that grow with the number of runs.
TABLES = ("models", "runs", "epochs", "parameter_sets", "evaluations")


def scans(sql: str, plan: list[str]) -> list[str]:
    """The lines of a plan that read one of `TABLES` from end to end."""
    if "WHERE" not in sql and "LIMIT" in sql:  # in the order of its key, to the end of a page
        return []
    names = {alias: table for table, alias in re.findall(r'"(\w+)" AS "(\w+)"', sql)}
    read = {line: re.search(r"^SCAN (\w+)|Seq Scan on (\w+)", line.strip()) for line in plan}
    return [line for line, found in read.items() if found and names.get(name := found[1] or found[2], name) in TABLES]
