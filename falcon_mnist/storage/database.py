"""What the store asks of a database beyond Peewee's own interface: each dialect is one subclass in one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import peewee


class DatabaseFileError(Exception):
    """A database that cannot be opened; the message is one sentence for a person, and says what to do."""


class DatabaseBusyError(peewee.OperationalError):
    """Another process held a lock for longer than this database object waits: trying again may help."""


class DatabaseFullError(peewee.OperationalError):
    """There is no room on the database's disk."""


class Database(peewee.Database, ABC):
    """A Peewee database that says itself how its dialect locks, checks, and spells column types.

    Any number of threads may use it; each gets a connection of its own.
    """

    # What `{serial}` and so on stand for in the statements of `migrations`.
    column_types: ClassVar[Mapping[str, str]]

    @abstractmethod
    def create(self) -> None:
        """Make the database if there is none, private to this user. Raises `OSError`."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Any]:
        """A transaction whose reads all see the same moment."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Any]:
        """A transaction that no other writer runs beside: what it reads stays true until it ends."""

    @abstractmethod
    def migrating(self) -> AbstractContextManager[Any]:
        """A transaction that may change the schema: of several processes, one at a time."""

    @abstractmethod
    def copy_to(self, path: Path) -> None:
        """Write all rows as of one moment to a new SQLite file at `path`, while others write."""

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Execute a statement. Raises `DatabaseBusyError` and `DatabaseFullError` where those are the cause."""
        return super().execute_sql(sql, params)  # type: ignore[no-untyped-call]

    @abstractmethod
    def compact(self) -> None:
        """Write the stored data anew without what is free in it, unless others are using it."""

    @abstractmethod
    def give_back(self) -> None:
        """Return what removals have freed to the system, as far as others let it."""

    @abstractmethod
    def greatest(self, first: Any, second: Any) -> Any:
        """The SQL function of the greater of two values."""

    @abstractmethod
    def faults(self) -> list[str]:
        """What is wrong with the stored data, one sentence each. Raises `peewee.DatabaseError`."""
