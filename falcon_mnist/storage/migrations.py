"""The database's schema, as the steps that made it what it is.

Step n takes a database of version n-1 to version n; an empty one has version 0. A step that has been
released never changes: what comes later is a further step. The version is kept in `meta`. What each dialect
spells in its own way stands in braces (`Database.column_types`).
"""

from __future__ import annotations

from falcon_mnist.storage.database import Database
from falcon_mnist.storage.tables import Meta

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE models (
            number {serial},
            id TEXT NOT NULL UNIQUE,
            architecture TEXT NOT NULL,
            hyperparams TEXT NOT NULL,
            created_at TEXT NOT NULL,
            idempotency_key TEXT UNIQUE,
            fingerprint TEXT)""",
        """CREATE TABLE runs (
            number {serial},
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
            lease_until {double},
            losses INTEGER NOT NULL DEFAULT 0,
            idempotency_key TEXT,
            fingerprint TEXT)""",
        "CREATE INDEX runs_by_state ON runs (state, number)",
        "CREATE INDEX runs_by_model ON runs (model_id, number)",
        "CREATE UNIQUE INDEX runs_by_key ON runs (model_id, idempotency_key)",
        """CREATE TABLE epochs (
            run_id TEXT NOT NULL REFERENCES runs (id),
            epoch INTEGER NOT NULL,
            train_loss {double} NOT NULL,
            train_accuracy {double} NOT NULL,
            val_loss {double},
            val_accuracy {double},
            PRIMARY KEY (run_id, epoch)){by_primary_key}""",
        """CREATE TABLE parameters (
            id TEXT PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE REFERENCES runs (id),
            model_id TEXT NOT NULL REFERENCES models (id),
            size_bytes {bytes} NOT NULL,
            sha256 TEXT NOT NULL,
            created_at TEXT NOT NULL)""",
    ),
    ("ALTER TABLE runs ADD COLUMN checkpoint TEXT",),
    ("ALTER TABLE runs ADD COLUMN progressed {flag}",),
    (
        # A lease is what an observer sees renewed, by its own clock: no time is stored.
        "ALTER TABLE runs DROP COLUMN lease_until",
        "ALTER TABLE runs ADD COLUMN renewals INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN drain {flag}",
        "ALTER TABLE runs ADD COLUMN isa TEXT",
        "ALTER TABLE runs RENAME COLUMN losses TO worker_losses",
        "ALTER TABLE runs RENAME COLUMN progressed TO checkpointed_since_claim",
    ),
    (
        "ALTER TABLE epochs ADD COLUMN lr {double}",
        "ALTER TABLE epochs ADD COLUMN seconds {double}",
        "ALTER TABLE epochs ADD COLUMN samples INTEGER",
        "ALTER TABLE runs ADD COLUMN best_epoch INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN start_from TEXT",
    ),
    (
        """CREATE TABLE evaluations (
            param_id TEXT PRIMARY KEY REFERENCES parameters (id),
            evaluation TEXT NOT NULL)""",
    ),
    (
        # A run keeps the id of its parameter set when that is deleted, and a set that was imported has no run.
        "ALTER TABLE runs ADD COLUMN param_id TEXT",
        "UPDATE runs SET param_id = (SELECT parameters.id FROM parameters WHERE parameters.run_id = runs.id)",
        """CREATE TABLE parameter_sets (
            number {serial},
            id TEXT NOT NULL UNIQUE,
            run_id TEXT UNIQUE REFERENCES runs (id),
            model_id TEXT NOT NULL REFERENCES models (id),
            size_bytes {bytes} NOT NULL,
            sha256 TEXT NOT NULL,
            created_at TEXT NOT NULL,
            idempotency_key TEXT UNIQUE,
            fingerprint TEXT)""",
        "CREATE INDEX parameter_sets_by_model ON parameter_sets (model_id, number)",
        """INSERT INTO parameter_sets (id, run_id, model_id, size_bytes, sha256, created_at)
            SELECT id, run_id, model_id, size_bytes, sha256, created_at FROM parameters ORDER BY created_at, id""",
        "ALTER TABLE evaluations RENAME TO evaluations_of_parameters",
        """CREATE TABLE evaluations (
            param_id TEXT PRIMARY KEY REFERENCES parameter_sets (id),
            evaluation TEXT NOT NULL)""",
        "INSERT INTO evaluations (param_id, evaluation) SELECT param_id, evaluation FROM evaluations_of_parameters",
        "DROP TABLE evaluations_of_parameters",
        "DROP TABLE parameters",
    ),
    ("ALTER TABLE runs ADD COLUMN finish {flag}",),
    (
        "ALTER TABLE runs ADD COLUMN best_accuracy_epoch INTEGER NOT NULL DEFAULT 0",
        """UPDATE runs SET best_accuracy_epoch = coalesce(
            (SELECT epoch FROM epochs WHERE run_id = runs.id AND val_accuracy IS NOT NULL
                ORDER BY val_accuracy DESC, epoch LIMIT 1), 0)""",
    ),
    # A model may have most of a million runs, of which few are in the state that is asked for.
    ("CREATE INDEX runs_by_model_and_state ON runs (model_id, state, number)",),
)


class SchemaError(Exception):
    """A database that this version cannot use; the message is one sentence."""


def statements(database: Database, step: tuple[str, ...]) -> list[str]:
    """A step in the database's dialect."""
    return [statement.format_map(database.column_types) for statement in step]


def migrate(database: Database, steps: tuple[tuple[str, ...], ...] = STEPS) -> int:
    """Bring `database` to the newest version, in one transaction; returns the version it had.

    Raises `SchemaError` if a newer version of the service wrote it.
    """
    if (found := version(database)) == len(steps):
        return found
    with database.migrating():
        found = version(database)
        if found > len(steps):
            raise SchemaError(
                f"{database.name} has schema version {found}, but this falcon-mnist knows only "
                f"{len(steps)}: start the version that wrote it, or a newer one"
            )
        database.execute_sql("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        for step in steps[found:]:
            for statement in statements(database, step):
                database.execute_sql(statement)
        newest = {"key": "schema_version", "value": str(len(steps))}
        Meta.insert(newest).on_conflict(conflict_target=[Meta.key], preserve=[Meta.value]).execute(database)
    database.compact()
    return found


def version(database: Database) -> int:
    """How many steps have made this database; 0 for an empty one."""
    if not database.table_exists("meta"):
        return 0
    row = Meta.select().where(Meta.key == "schema_version").first(database)
    return int(row.value) if row else 0
