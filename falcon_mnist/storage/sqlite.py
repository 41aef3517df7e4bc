"""SQLite: all that is this dialect's own (locks, pragmas, files and their modes, integrity, types)."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import peewee

from falcon_mnist.storage.database import Database, DatabaseBusyError, DatabaseFullError, DatabaseUnavailableError
from falcon_mnist.storage.private import make_private, tighten

# The write-ahead log is cut to this when it starts again from its beginning.
_WAL_BYTES = 4 * 2**20

# So many pages are given back at a time, 4 MB: others wait for it.
_PAGES = 1000

# SQLITE_IOERR is what a full disk gives where SQLite cannot extend its shared memory.
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)

_RESTORE = "stop the servers and restore a backup, or save what is left with: sqlite3 FILE .recover"


class SQLite(Database, peewee.SqliteDatabase):
    """An SQLite database in a file, or with `path=None` in memory, for one thread and as long as that is open."""

    # As the released migrations wrote them; PostgreSQL has other words for each.
    column_types: ClassVar = {
        "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "bytes": "INTEGER",
        "double": "REAL",
        "flag": "INTEGER NOT NULL DEFAULT 0",
        "by_primary_key": " WITHOUT ROWID",
    }

    def __init__(self, path: Path | None, *, wait: float, read_only: bool = False) -> None:
        """Connects at the first statement. `wait` is how many seconds a statement waits for another's lock."""
        self.path = path
        self._wait = wait
        if path and read_only:
            # Where no process has the database open it is read as it lies, else SQLite would make `-wal` and `-shm`.
            how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
            super().__init__(f"file:{quote(str(path))}?{how}", timeout=wait, uri=True)
            return
        # WAL lets readers continue beside the one writer. FULL syncs at each commit: what was answered stays,
        # also when the power fails.
        pragmas = {
            "journal_mode": "wal",
            "journal_size_limit": _WAL_BYTES,
            "synchronous": "full",
            "foreign_keys": 1,
        }
        super().__init__(str(path or ":memory:"), pragmas=pragmas, timeout=wait)

    @property
    def name(self) -> str:
        """The file, and not the URL by which it may be opened."""
        return str(self.path or self.database)

    def create(self) -> None:
        """Make the file, whose mode SQLite gives to its `-wal` and `-shm` as well."""
        if self.path is None:
            return
        make_private(self.path.parent)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for suffix in ("", "-wal", "-shm"):  # made by an older version, or under another umask
            tighten(self.path.with_name(self.path.name + suffix))

    def snapshot(self) -> AbstractContextManager[Any]:
        """Reads see the moment of the first one."""
        return self.atomic()

    def writing(self) -> AbstractContextManager[Any]:
        """Takes the write lock at its start: a transaction that has read cannot wait for it any more."""
        return self.atomic("IMMEDIATE")

    def writing_alone(self) -> AbstractContextManager[Any]:
        """There is one writer in any case."""
        return self.writing()

    def migrating(self) -> AbstractContextManager[Any]:
        """Keeps readers out as well."""
        return self.atomic("EXCLUSIVE")

    def compact(self) -> None:
        """VACUUM, from which on `give_back` works."""
        with suppress(peewee.OperationalError):  # locked, or no room for the copy
            self.execute_sql("PRAGMA auto_vacuum = incremental")
            self.execute_sql("VACUUM")

    def give_back(self) -> bool:
        """The file is cut when its pages have gone from the log into it, which no reader is waited for."""
        connection = self.connection()  # type: ignore[no-untyped-call]
        try:
            before = _free_pages(connection)
            # As a script, which runs to its end: a statement without columns is stepped once, and frees one page.
            connection.executescript(f"PRAGMA incremental_vacuum({_PAGES}); PRAGMA wal_checkpoint(PASSIVE)")
            return 0 < _free_pages(connection) < before
        except sqlite3.OperationalError:
            return False

    def copy_to(self, path: Path) -> None:
        """In one read transaction, which keeps no writer waiting; private to this user, and on the disk."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(path)) as copy:
            self.connection().backup(copy)  # type: ignore[no-untyped-call]

    def greatest(self, first: Any, second: Any) -> Any:
        """MAX of two arguments is no aggregate here."""
        return peewee.fn.MAX(first, second)

    def faults(self) -> list[str]:
        """Of the file, and of references between tables."""
        try:
            lines = [str(row[0]) for row in self.execute_sql("PRAGMA integrity_check(10)")]
            dangling = self.execute_sql("PRAGMA foreign_key_check").fetchall()
        except sqlite3.DatabaseError as error:  # while rows are fetched
            raise peewee.DatabaseError(str(error)) from error
        faults = [] if lines == ["ok"] else lines
        return faults + ([f"{len(dangling)} rows refer to rows that are not there"] if dangling else [])

    def check_unused(self) -> None:
        """Raise `DatabaseBusyError` if another connection has the file open: WAL cannot be left then."""
        self.execute_sql("PRAGMA journal_mode = delete")

    def advice(self, error: peewee.DatabaseError) -> str:
        """Room, or a backup."""
        return "make room, or let others end" if isinstance(error, peewee.OperationalError) else _RESTORE

    def _connect(self) -> Any:
        """Waits as a statement does: SQLite itself does not, where two processes turn a new file to WAL."""
        end = time.monotonic() + self._wait
        while True:
            try:
                return super()._connect()  # type: ignore[misc]
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() >= end:
                    raise
                time.sleep(0.01)

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """With the causes of errors told."""
        with _telling():
            return super().execute_sql(sql, params)

    def begin(self, lock_type: str | None = None) -> None:
        """As `execute_sql`."""
        with _telling():
            super().begin(lock_type)

    def commit(self) -> None:
        """As `execute_sql`."""
        with _telling():
            super().commit()

    def rollback(self) -> None:
        """Nothing where SQLite has rolled back by itself, as on a full disk: an error here would hide that one."""
        if self.connection().in_transaction:  # type: ignore[no-untyped-call]
            super().rollback()


@contextmanager
def _telling() -> Iterator[None]:
    """Turns SQLite's result codes into error types."""
    try:
        yield
    except peewee.OperationalError as error:
        code = _code(error)
        if code in _BUSY:
            raise DatabaseBusyError(str(error)) from error
        if code in _FULL:
            raise DatabaseFullError(str(error)) from error
        raise DatabaseUnavailableError(str(error)) from error


def _free_pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def _code(error: BaseException | None) -> int:
    """SQLite's result code, without its extension, of an error that Peewee may have wrapped; 0 if there is none."""
    while error is not None and not isinstance(error, sqlite3.Error):
        error = error.__context__
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
