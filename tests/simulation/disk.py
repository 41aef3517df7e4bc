"""A disk and a database that fail as real ones do."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass, field
from typing import Any

from falcon_mnist.clock import Clock
from falcon_mnist.storage.database import DatabaseBusyError, DatabaseFullError
from falcon_mnist.storage.files import DamagedFileError, Entry, Written
from falcon_mnist.storage.migrations import migrate
from falcon_mnist.storage.sqlite import SQLite

from .world import Crashed, Process, World


@dataclass
class Disk:
    """Files in memory, as bytes and the time of writing."""

    files: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    deleted: dict[str, tuple[bytes, float]] = field(default_factory=dict)  # and this is not synced yet
    full: bool = False
    changes: int = 0

    def lose_unsynced(self, world: World) -> None:
        """The power fails: what was deleted may be there again."""
        for name, content in self.deleted.items():
            if world.chance(0.5):
                self.files[name] = content
        self.deleted.clear()


class ProcessStorage:
    """The `Storage` of one process on a disk; the process may end in the middle of a `put`."""

    def __init__(self, disk: Disk, process: Process, clock: Clock) -> None:
        self._disk = disk
        self._process = process
        self._clock = clock
        self.crash_in_put = False

    def put(self, name: str, data: bytes) -> Written:
        """Durable when it returns. At a crash a part is left, under its name or another."""
        random = self._process.world.random
        if self.crash_in_put:
            part = data[: random.randrange(len(data))]
            self._keep(random.choice([name, f".{name}.tmp"]), part)
            self._process.crash()
            raise Crashed
        if self._disk.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._keep(name, data)
        return Written(len(data), hashlib.sha256(data).hexdigest())

    def get(self, name: str, expected: Written) -> bytes:
        """Verified."""
        data, _ = self._disk.files.get(name, (b"", 0.0))
        if (len(data), hashlib.sha256(data).hexdigest()) != expected:
            raise DamagedFileError(name, "is gone")
        return data

    def delete(self, name: str) -> None:
        """A process that has crashed deletes nothing any more."""
        if not self._process.alive:
            raise Crashed
        if name in self._disk.files:
            self._disk.deleted[name] = self._disk.files.pop(name)
            self._disk.changes += 1

    def list(self) -> list[Entry]:
        """With ages by the process's wall clock."""
        now = self._clock.wall()
        return [Entry(name, now - at) for name, (_, at) in self._disk.files.items()]

    def _keep(self, name: str, data: bytes) -> None:
        self._disk.files[name] = (data, self._clock.wall())
        self._disk.changes += 1


class SimulatedDatabase(SQLite):
    """SQLite in memory, for all processes. A write may find it locked or full, and a process may end in a commit."""

    def __init__(self, world: World) -> None:
        super().__init__(None, wait=0)
        self._world = world
        self.busy = 0.0  # the share of writes that finds it so
        self.full = 0.0
        self.crash_in_commit: Process | None = None
        self.acting: Process | None = None
        _template().backup(raw(self))

    @property
    def in_trouble(self) -> bool:
        """Whether writes may fail now."""
        return bool(self.busy or self.full)

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Reads always work."""
        if not sql.startswith("SELECT"):
            self._find_trouble()
        return super().execute_sql(sql, params)

    def begin(self, lock_type: str | None = None) -> None:
        """Takes the lock, if it can be had."""
        self._find_trouble()
        super().begin(lock_type)

    def commit(self) -> None:
        """May find no room; a crash comes before it or after it."""
        if self._world.chance(self.full):
            raise DatabaseFullError("simulated")
        crashes = self.crash_in_commit is not None and self.crash_in_commit is self.acting
        if not crashes or self._world.chance(0.5):
            super().commit()
        if crashes:
            self._crash()

    def _crash(self) -> None:
        process, self.crash_in_commit = self.crash_in_commit, None
        assert process is not None
        if raw(self).in_transaction:
            self.rollback()
        process.crash()
        raise Crashed

    def _find_trouble(self) -> None:
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
