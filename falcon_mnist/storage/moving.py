"""Moves the rows of an SQLite home to the PostgreSQL database that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from peewee import chunked

from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import Database, DatabaseBusyError
from falcon_mnist.storage.opening import REQUEST_WAIT, open_database
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.storage.tables import EpochRow, EvaluationRow, Meta, ModelRow, ParameterRow, RunRow, Table

# Each after those that it refers to.
TABLES: tuple[type[Table], ...] = (ModelRow, RunRow, EpochRow, ParameterRow, EvaluationRow)
# Rows in a statement, which may have 32,766 values in SQLite and 65,535 in PostgreSQL.
BATCH = 500

Progress = Callable[[str, int, int], None]


class MoveError(Exception):
    """Rows that cannot be moved; the message is one sentence."""


def move_home(settings: Settings, *, progress: Progress) -> dict[str, int]:
    """Copy the rows of the home's SQLite file, which stays as it is; returns how many there are of each kind.

    Raises `MoveError`, and as `open_database`.
    """
    file, url = settings.home_database, settings.database
    if isinstance(url, Path):
        raise MoveError("there is nowhere to move to: set FALCON_MNIST_DATABASE_URL to a URL of PostgreSQL")
    if not file.exists():
        raise MoveError(f"there is nothing to move: {file} does not exist")
    with closing(open_database(file, wait=REQUEST_WAIT)) as source:
        assert isinstance(source, SQLite)
        try:
            source.check_unused()
        except DatabaseBusyError:
            raise MoveError(f"a server or another process uses {file}: stop it first") from None
        with closing(open_database(url, wait=REQUEST_WAIT)) as target:
            return copy_rows(source, target, progress=progress)


def copy_rows(source: Database, target: Database, *, progress: Progress) -> dict[str, int]:
    """Copy all rows from one database to another that has none, or nothing. Both have the newest schema.

    Raises `MoveError`.
    """
    with source.writing_alone(), target.writing_alone():
        if any(table.select().limit(1).first(target) for table in TABLES):
            raise MoveError(f"{target.name} has rows already: move to a database that is new")
        for row in Meta.select().where(Meta.key != "schema_version").execute(source):
            key = Meta.insert(key=row.key, value=row.value)
            key.on_conflict(conflict_target=[Meta.key], preserve=[Meta.value]).execute(target)
        return {table._meta.table_name: _copy(table, source, target, progress) for table in TABLES}


def _copy(table: type[Table], source: Database, target: Database, progress: Progress) -> int:
    name, total, done = table._meta.table_name, table.select().count(source), 0
    for rows in chunked(table.select().dicts().iterator(source), BATCH):
        table.insert_many(rows).execute(target)
        done += len(rows)
        progress(name, done, total)
        if "number" in rows[-1]:
            target.numbers_taken(name, max(row["number"] for row in rows))
    return done
