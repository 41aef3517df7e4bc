"""Places to fail at: whatever a process does that changes a file or the database."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from falcon_mnist.settings import Settings
from falcon_mnist.storage.disk import Disk
from falcon_mnist.storage.sqlite import SQLite

# These of Python's audit events, of files in the home.
EVENTS = {
    "os.mkdir": "mkdir",
    "open": "open",
    "os.rename": "rename",
    "os.link": "link",
    "os.remove": "unlink",
    "os.chmod": "chmod",
}
# These of SQL, and commits.
CHANGES = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER")

Fault = Callable[[int, str], None]


class Steps:
    """Asks a fault, while there is one, before each step of this process."""

    def __init__(self) -> None:
        self._home = ""
        self._fault: Fault | None = None
        self._count = 0
        sys.addaudithook(self._hear)

    @contextmanager
    def failing(self, settings: Settings, fault: Fault) -> Iterator[None]:
        """In this block `fault` is asked before each step in the home, with its number from 1 and its name."""
        self._home, self._count, self._fault = str(settings.home), 0, fault
        try:
            yield
        finally:
            self._fault = None

    def take(self, name: str) -> None:
        if self._fault:
            self._count += 1
            self._fault(self._count, name)

    def database(self, path: Path, *, wait: float) -> StepDatabase:
        return StepDatabase(self, path, wait)

    def _hear(self, event: str, args: Any) -> None:
        if event in EVENTS and str(args[0]).startswith(self._home) and (event != "open" or _writes(*args)):
            self.take(EVENTS[event])


def _writes(path: object, mode: str | None, flags: int) -> bool:
    """Python's own `open` has a mode, and calls `os.open`, which has none."""
    return mode is None and bool(flags & (os.O_WRONLY | os.O_RDWR))


class StepDatabase(SQLite):
    """A database whose writes are steps."""

    def __init__(self, steps: Steps, path: Path, wait: float) -> None:
        super().__init__(path, wait=wait)
        self._steps = steps

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        word = sql.split(maxsplit=1)[0]
        if word in CHANGES:
            self._steps.take(word)
        return super().execute_sql(sql, params)

    def commit(self) -> None:
        self._steps.take("commit")
        super().commit()


class StepDisk(Disk):
    """A disk whose syncs are steps."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self._steps = steps

    def sync(self, file: BinaryIO) -> None:
        self._steps.take("fsync")
        super().sync(file)

    def sync_folder(self, path: Path) -> None:
        self._steps.take("fsync")
        super().sync_folder(path)
