"""A process that was stopped in a transaction is found, and no other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from writers import stop, writer

from falcon_mnist.storage.stopped_writer import stopped_writer


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "rows.db"
    with closing(sqlite3.connect(path)) as connection:  # open, so that the `-shm` file stays
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE rows (number INTEGER)")
        yield path


def test_one_that_is_stopped_is_found(database: Path) -> None:
    with writer(database) as process:
        stop(process)
        assert stopped_writer(database) == process


def test_one_that_writes_is_not(database: Path) -> None:
    with writer(database):
        assert stopped_writer(database) is None


def test_nobody_is_found_where_nobody_writes(database: Path) -> None:
    assert stopped_writer(database) is None


def test_nobody_is_found_without_a_database(tmp_path: Path) -> None:
    assert stopped_writer(tmp_path / "rows.db") is None


@pytest.mark.parametrize("line", ["", "1: -> POSIX ADVISORY WRITE 1 00:00:1 0 EOF", "1: FLOCK ADVISORY WRITE 1 x"])
def test_other_lines_are_passed_over(database: Path, tmp_path: Path, line: str) -> None:
    locks = tmp_path / "locks"
    locks.write_text(f"{line}\n")
    assert stopped_writer(database, locks=locks) is None
