"""What the store asks of a database beyond Peewee's own interface: each dialect is one subclass in one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import peewee


class DatabaseFileError(Exception):
    """A database that cannot be opened; the message is one sentence for a person, and says what to do."""


class DatabaseUnavailableError(peewee.OperationalError):
    """The database could not do what it was asked, through no fault of the statement."""


class DatabaseBusyError(DatabaseUnavailableError):
    """Another process held a lock for longer than this database object waits: trying again may help."""


class DatabaseLostError(DatabaseBusyError):
    """The database's server is gone. What was about to be committed may have been, or not."""


class DatabaseFullError(DatabaseUnavailableError):
    """There is no room on the database's disk."""


class Database(peewee.Database, ABC):
    """A Peewee database that says itself how its dialect locks, checks, and spells column types.

    Any number of threads may use it; each gets a connection of its own.
    """

    # What `{serial}` and so on stand for in the statements of `migrations`.
    column_types: ClassVar[Mapping[str, str]]

    @property
    def name(self) -> str:
        """As messages call it."""
        return str(self.database)

    @abstractmethod
    def create(self) -> None:
        """Make the database if there is none, private to this user. Raises `OSError`."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Any]:
        """A transaction whose reads all see the same moment."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Any]:
        """A transaction that writes: a row that it has changed is changed by no other until it ends."""

    @abstractmethod
    def writing_alone(self) -> AbstractContextManager[Any]:
        """As `writing`, and no other of this kind runs beside it: where all that make or remove rows are of this kind,
        what one has found there, or missing, stays so until it ends.
        """

    @abstractmethod
    def migrating(self) -> AbstractContextManager[Any]:
        """A transaction that may change the schema: of several processes, one at a time."""

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Execute a statement. Raises `DatabaseUnavailableError`, or the class below it that tells the cause."""
        return super().execute_sql(sql, params)  # type: ignore[no-untyped-call]

    def unless_locked(self, query: Any) -> Any:
        """A query of rows to be changed, without those that others are changing, where the dialect can tell."""
        return query

    @abstractmethod
    def compact(self) -> None:
        """Rewrite the stored data without its free space, unless others are using it."""

    @abstractmethod
    def give_back(self) -> bool:
        """Return some of what removals have freed to the system, as far as others let it; whether there is more."""

    @abstractmethod
    def greatest(self, first: Any, second: Any) -> Any:
        """The SQL function of the greater of two values."""

    def numbers_taken(self, table: str, last: int) -> None:
        """Rows were copied into `table` with numbers up to `last`: new ones get greater numbers."""

    @abstractmethod
    def faults(self) -> list[str]:
        """What is wrong with the stored data, one sentence each. Raises `peewee.DatabaseError`."""

    @abstractmethod
    def advice(self, error: peewee.DatabaseError) -> str:
        """What to do where the database cannot be opened, or is damaged."""
