"""A database that fails as real ones do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import peewee

from falcon_mnist.storage.database import DatabaseBusyError, DatabaseFullError, DatabaseLostError
from falcon_mnist.storage.migrations import migrate
from falcon_mnist.storage.sqlite import SQLite

from .world import Crashed, Process, World


@dataclass
class Pause:
    """A process is about to wait between two statements: what it has read may be outdated when it writes."""

    process: Process | None  # None for whoever is the first
    seconds: float
    after: int = 0  # so many statements
    only_writes: bool = False  # count those that write, and wait before one of them
    only_while: Callable[[], bool] = lambda: True  # as above
    at_start: Callable[[], object] = lambda: None
    over: Callable[[], bool] = lambda: False  # whether to wait no longer


@dataclass
class Hold:
    """A process is about to be stopped in a transaction: until that is over, nobody else can write."""

    process: Process
    seconds: float
    at_start: Callable[[], object]
    over: Callable[[], bool]


TROUBLES = ("busy", "full", "lost", "unanswered", "locked")


class SimulatedDatabase(SQLite):
    """SQLite in memory, for all processes. A write may find it locked or full, and a process may end in a commit.

    As PostgreSQL's, a connection may be lost, at a COMMIT too, and a row may be skipped because another has locked it.
    """

    def __init__(self, world: World) -> None:
        super().__init__(None, wait=0)
        self._world = world
        self.busy = 0.0  # the share of writes that finds it so
        self.full = 0.0
        self.lost = 0.0  # the share of statements that lose the connection
        self.unanswered = 0.0  # the share of commits that lose it
        self.locked = 0.0  # the share of rows that another transaction has locked
        self.crash_in_commit: Process | None = None
        self.acting: Process | None = None
        self.pause: Pause | None = None
        self.hold: Hold | None = None
        self._holder: Process | None = None  # who is stopped in a transaction
        _template().backup(raw(self))

    @property
    def in_trouble(self) -> bool:
        """Whether writes may fail now."""
        return bool(self.busy or self.full or self.lost or self.unanswered or self._holder)

    def unless_locked(self, query: Any) -> Any:
        """SKIP LOCKED: another transaction, that comes to nothing, may have locked the row."""
        return query.where(peewee.SQL("FALSE")) if self._world.chance(self.locked) else query

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Reads find it neither locked nor full."""
        writes = not sql.startswith("SELECT")
        self._maybe_pause(writes=writes)
        if writes:
            self._find_trouble()
        self._maybe_lose_connection()
        if not writes or raw(self).in_transaction:
            return super().execute_sql(sql, params)
        with self._maybe_losing_answer():
            return super().execute_sql(sql, params)

    def begin(self, lock_type: str | None = None) -> None:
        """Takes the lock, if it can be had."""
        self._maybe_pause(writes=True)
        self._find_trouble()
        self._maybe_lose_connection()
        self._maybe_hold()
        super().begin(lock_type)

    def commit(self) -> None:
        """May find no room; a crash, or a lost answer, comes before it or after it."""
        if self._world.chance(self.full):
            raise DatabaseFullError("simulated")
        crashes = self.crash_in_commit is not None and self.crash_in_commit is self.acting
        with self._maybe_losing_answer():
            if not crashes or self._world.chance(0.5):
                super().commit()
        if crashes:
            self._crash()

    def rollback(self) -> None:
        """Nothing where the answer to a commit was lost."""
        if raw(self).in_transaction:
            super().rollback()

    def _crash(self) -> None:
        process, self.crash_in_commit = self.crash_in_commit, None
        assert process is not None
        self.rollback()
        process.crash()
        raise Crashed

    def _maybe_pause(self, *, writes: bool) -> None:
        """Outside of transactions, others may act between any two statements of a process."""
        pause, process = self.pause, self.acting
        if pause is None or process is None or pause.process not in (None, process) or raw(self).in_transaction:
            return
        if (pause.only_writes and not writes) or not pause.only_while():
            return
        if pause.after:
            pause.after -= 1
            return
        self.pause = None
        pause.at_start()
        self.wait(process, pause.seconds, pause.over)

    def _maybe_hold(self) -> None:
        """Stop with the lock in hand; before the transaction begins, as all processes have one connection here.

        Not while another process waits: that could go on only when this one does.
        """
        hold = self.hold
        if hold is None or hold.process is not self.acting or self._world.waiting:
            return
        self.hold, self._holder = None, hold.process
        hold.at_start()
        self._world.note(f"{hold.process.name} is stopped in a transaction")
        try:
            self.wait(hold.process, hold.seconds, hold.over)
        finally:
            self._holder = None

    def wait(self, process: Process, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        """This process waits in the middle of its event, outside of transactions, while others act."""
        process.stop(seconds)
        self._world.run_within(seconds, over)
        process.wake()
        self.acting = process
        if not process.alive:
            raise Crashed

    def _maybe_lose_connection(self) -> None:
        if self.lost and self._world.chance(self.lost):
            raise DatabaseLostError("simulated")

    @contextmanager
    def _maybe_losing_answer(self) -> Iterator[None]:
        """What is committed may have happened, or not; the process learns neither."""
        loses = self.unanswered and self._world.chance(self.unanswered)
        if loses and self._world.chance(0.5):
            raise DatabaseLostError("simulated, before")
        yield
        if loses:
            raise DatabaseLostError("simulated, after")

    def _find_trouble(self) -> None:
        if self._holder is not None:
            raise DatabaseBusyError("simulated, held")
        if self.busy and self._world.chance(self.busy):
            raise DatabaseBusyError("simulated")
        if self.full and self._world.chance(self.full):
            raise DatabaseFullError("simulated")


def raw(database: Any) -> Any:
    """The `sqlite3.Connection` of a database."""
    return database.connection()


_templates: list[Any] = []


def _template() -> Any:
    """An empty database of the newest schema, migrated once in the life of the process."""
    if not _templates:
        database = SQLite(None, wait=0)
        migrate(database)
        _templates.append(raw(database))
    return _templates[0]
