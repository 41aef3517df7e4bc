"""The database's schema, as the steps that made it what it is.

Step n takes a database of version n-1 to version n; an empty one has version 0. A step that has been
released never changes: what comes later is a further step. The version is kept in `meta`.
"""

from __future__ import annotations

from peewee import SqliteDatabase

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE models (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            architecture TEXT NOT NULL,
            hyperparams TEXT NOT NULL,
            created_at TEXT NOT NULL,
            idempotency_key TEXT UNIQUE,
            fingerprint TEXT)""",
        """CREATE TABLE runs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            model_id TEXT NOT NULL REFERENCES models (id),
            state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
            hyperparams TEXT NOT NULL,
            created_at TEXT NOT NULL,
            started_at TEXT,
            finished_at TEXT,
            epoch INTEGER NOT NULL DEFAULT 0,
            dataset TEXT,
            error TEXT,
            owner TEXT,
            lease_until REAL,
            losses INTEGER NOT NULL DEFAULT 0,
            idempotency_key TEXT,
            fingerprint TEXT)""",
        "CREATE INDEX runs_by_state ON runs (state, number)",
        "CREATE INDEX runs_by_model ON runs (model_id, number)",
        "CREATE UNIQUE INDEX runs_by_key ON runs (model_id, idempotency_key)",
        """CREATE TABLE epochs (
            run_id TEXT NOT NULL REFERENCES runs (id),
            epoch INTEGER NOT NULL,
            train_loss REAL NOT NULL,
            train_accuracy REAL NOT NULL,
            val_loss REAL,
            val_accuracy REAL,
            PRIMARY KEY (run_id, epoch)) WITHOUT ROWID""",
        """CREATE TABLE parameters (
            id TEXT PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE REFERENCES runs (id),
            model_id TEXT NOT NULL REFERENCES models (id),
            size_bytes INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            created_at TEXT NOT NULL)""",
    ),
    ("ALTER TABLE runs ADD COLUMN checkpoint TEXT",),
    ("ALTER TABLE runs ADD COLUMN progressed INTEGER NOT NULL DEFAULT 0",),
)


class SchemaError(Exception):
    """A database that this version cannot use; the message is one sentence."""


def migrate(database: SqliteDatabase, steps: tuple[tuple[str, ...], ...] = STEPS) -> int:
    """Bring `database` to the newest version, in one transaction; returns the version it had.

    Raises `SchemaError` if a newer version of the service wrote it.
    """
    if (found := _version(database)) == len(steps):
        return found
    with database.atomic("EXCLUSIVE"):
        found = _version(database)
        if found > len(steps):
            raise SchemaError(
                f"{database.database} has schema version {found}, but this falcon-mnist knows only "
                f"{len(steps)}: start the version that wrote it, or a newer one"
            )
        database.execute_sql("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        for step in steps[found:]:
            for statement in step:
                database.execute_sql(statement)
        database.execute_sql(
            "INSERT INTO meta VALUES ('schema_version', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (str(len(steps)),),
        )
    return found


def _version(database: SqliteDatabase) -> int:
    if not database.table_exists("meta"):
        return 0
    row = database.execute_sql("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    return int(row[0]) if row else 0
