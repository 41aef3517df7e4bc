"""What only SQLite needs: waiting where it does not wait by itself, and its errors by type."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from contextlib import closing
from pathlib import Path

import pytest

from falcon_mnist.storage.database import (
    DatabaseBusyError,
    DatabaseFileError,
    DatabaseFullError,
    DatabaseUnavailableError,
)
from falcon_mnist.storage.migrations import STEPS, migrate, version
from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.sqlite import SQLite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.db"


def test_a_new_file_that_another_process_is_making_is_waited_for(path: Path) -> None:
    """SQLite gives up at once when it is to turn to WAL a file that is being written."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        opened = pool.submit(open_database, path, wait=1)
        try:
            with pytest.raises(StillWaiting):
                opened.result(timeout=0.3)
        finally:
            other.execute("COMMIT")
        assert version(opened.result(timeout=60)) == len(STEPS)


def test_a_lock_while_connecting_is_told_as_such(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusyError):
            SQLite(path, wait=0.01).execute_sql("SELECT 1")


def test_what_else_keeps_a_statement_from_running_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match="unable to open"):
        SQLite(tmp_path / "no folder" / "rows.db", wait=1).execute_sql("SELECT 1")


def test_a_full_disk_is_told_as_such(path: Path) -> None:
    database = SQLite(path, wait=1)
    migrate(database)
    database.execute_sql(f"PRAGMA max_page_count = {database.pragma('page_count')}")
    with pytest.raises(DatabaseFullError):
        database.execute_sql("INSERT INTO meta VALUES ('key', ?)", ("x" * 100_000,))
    database.close()


def test_a_full_disk_within_a_transaction_is_told_as_such(path: Path) -> None:
    """SQLite ends the transaction by itself then, so there is nothing left to roll back."""
    database = SQLite(path, wait=1)
    migrate(database)
    database.execute_sql(f"PRAGMA max_page_count = {database.pragma('page_count')}")
    with pytest.raises(DatabaseFullError), database.atomic():
        database.execute_sql("INSERT INTO meta VALUES ('key', ?)", ("x" * 100_000,))
    with database.atomic():
        database.execute_sql("INSERT INTO meta VALUES ('key', 'x')")
    database.close()


def test_what_is_no_database_is_told_in_one_sentence(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseFileError, match=r"^[^\n]+restore a backup[^\n]+$"):
        open_database(path, wait=1)


def test_a_database_in_memory_needs_no_file() -> None:
    database = SQLite(None, wait=0)
    database.create()
    assert migrate(database) == 0
    assert version(database) == len(STEPS)
    assert database.faults() == []


@pytest.mark.parametrize("name", ["a b.db", "a%20b?.db", "a#b.db"])
def test_any_file_name_can_be_looked_at(tmp_path: Path, name: str) -> None:
    made = open_database(tmp_path / name, wait=1)
    made.close()
    looking = SQLite(tmp_path / name, wait=1, read_only=True)
    assert version(looking) == len(STEPS)
    assert looking.name == str(tmp_path / name)
    looking.close()
    assert [each.name for each in tmp_path.iterdir()] == [name]
