"""The store: every query of the service, as verbs on an object that stands on one database.

The verbs stand in `reading`, `making`, `claims` and `results`, by who needs them; here is what concerns them all.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import Any

import peewee

from falcon_mnist.clock import SYSTEM_CLOCK, Clock, NewId, new_id
from falcon_mnist.storage import counts, migrations, pruning
from falcon_mnist.storage.claims import MAX_WORKER_LOSSES, Claims, Lease
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.files import Storage
from falcon_mnist.storage.making import Conflict, Making, Refused
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.pruning import Ended
from falcon_mnist.storage.reading import Epoch, Reading
from falcon_mnist.storage.removal import Remover
from falcon_mnist.storage.results import Results, Trained
from falcon_mnist.storage.rows import RunLostError
from falcon_mnist.storage.tables import Meta

# Who needs the store needs these with it.
__all__ = ["MAX_WORKER_LOSSES", "Conflict", "Epoch", "Lease", "Refused", "RunLostError", "Store", "Trained"]


class Store(Reading, Making, Claims, Results):
    """The rows of the service. Any number of stores may be open in a process; any number of threads may use one."""

    def __init__(self, database: Database, *, clock: Clock = SYSTEM_CLOCK, new_id: NewId = new_id) -> None:
        """On a database of the newest schema (`migrations.migrate`); connects at the first query."""
        super().__init__(database, clock, new_id)

    def close(self) -> None:
        """Close this thread's connection; the next query opens another."""
        self._database.close()

    def check(self) -> None:
        """Raise if the database cannot be read."""
        Meta.select().first(self._database)

    def snapshot(self) -> AbstractContextManager[Any]:
        """All reads within it see the same moment: a run, its epochs and its parameter set fit together."""
        return self._database.snapshot()

    def together(self) -> AbstractContextManager[Any]:
        """All writes within it are one transaction."""
        return self._database.writing()

    def prepare(self) -> None:
        """Make the cursor key, if the database is not locked: the first list would have to wait for other writers."""
        with suppress(peewee.OperationalError):
            _ = self.cursor_key

    @cached_property
    def cursor_key(self) -> bytes:
        """The key that signs cursors, made once in the life of the database."""
        row = self._first(Meta, Meta.key == "cursor_key")
        if row is None:  # only then: lists are read also while the disk is full or another writes
            made = Meta.insert(key="cursor_key", value=secrets.token_hex(32))
            made.on_conflict_ignore().execute(self._database)
            row = Meta.select().where(Meta.key == "cursor_key").get(self._database)
        return bytes.fromhex(row.value)

    @property
    def identity(self) -> str:
        """What no other database has, and copies of this one do."""
        return hashlib.sha256(self.cursor_key).hexdigest()[:16]

    def remover(self, parameters: ParameterFiles, checkpoints: Storage) -> Remover:
        """What removes rows of this store, with their files."""
        return Remover(self._database, parameters, checkpoints)

    def prunable_runs(self, *, before: str, keep_best: int) -> list[Ended]:
        """As `pruning.prunable_runs`."""
        return pruning.prunable_runs(self._database, before=before, keep_best=keep_best)

    def empty_models(self, *, before: str) -> list[str]:
        """As `pruning.empty_models`."""
        return pruning.empty_models(self._database, before=before)

    def count_runs(self) -> dict[str, int]:
        """State to number of runs."""
        return counts.count_runs(self._database)

    def count_further(self, *, enough: int = counts.ENOUGH) -> None:
        """Do what keeps `count_runs` fast, if it is due."""
        counts.count_further(self._database, enough=enough)

    @property
    def schema_version(self) -> int:
        """How many of the migrations' steps made this database."""
        return migrations.version(self._database)

    def faults(self) -> list[str]:
        """What is wrong with the stored rows, one sentence each."""
        try:
            return self._database.faults()
        except peewee.DatabaseError as error:
            return [str(error)]

    @property
    def advice(self) -> str:
        """What to do about them."""
        return self._database.advice(peewee.DatabaseError())
