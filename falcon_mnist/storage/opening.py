"""The store and the storages that the settings name, opened alike by servers, workers and commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import peewee

from falcon_mnist.clock import SYSTEM_CLOCK, Clock, NewId, new_id
from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import Database, DatabaseFileError
from falcon_mnist.storage.disk import SYSTEM_DISK, Disk
from falcon_mnist.storage.files import LocalFolder, Storage
from falcon_mnist.storage.migrations import STEPS, SchemaError, migrate, version
from falcon_mnist.storage.private import make_private, tighten
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.storage.store import Store

# How long statements wait for a lock, in seconds. A request gives up soon: it holds one of few threads, and its
# client can ask again. A worker would lose what it has computed.
REQUEST_WAIT = 2.0
WORKER_WAIT = 60.0

Dialect = Callable[..., Database]  # a class of databases: takes the path, and `wait` as a statement's seconds

# What to do about a damaged database.
RESTORE = "stop the servers and restore a backup, or save what is left with: sqlite3 FILE .recover"


def open_home(settings: Settings) -> None:
    """Make the home folder, or close it to other users. Raises `NotPrivateError`, `OSError`."""
    make_private(settings.home)
    tighten(settings.home)


def open_database(path: Path, *, wait: float, dialect: Dialect = SQLite) -> Database:
    """The database at `path`, made or migrated as needed.

    Raises `migrations.SchemaError` if a newer version of the service wrote it, `DatabaseFileError`,
    `NotPrivateError` and `OSError`.
    """
    database = dialect(path, wait=WORKER_WAIT)
    try:
        database.create()
        migrate(database)
    except peewee.DatabaseError as error:
        raise _unusable(path, error) from error
    finally:
        database.close()
    return dialect(path, wait=wait)


def open_store(
    settings: Settings, *, wait: float, clock: Clock = SYSTEM_CLOCK, new_id: NewId = new_id, dialect: Dialect = SQLite
) -> Store:
    """The store of the settings' database; raises as `open_database`."""
    return Store(open_database(settings.database, wait=wait, dialect=dialect), clock=clock, new_id=new_id)


def look_at_store(settings: Settings) -> Store:
    """The store as it is, for reading: nothing is made, migrated or changed. Raises as `open_database`."""
    database = SQLite(settings.database, wait=WORKER_WAIT, read_only=True)
    try:
        if (found := version(database)) != len(STEPS):
            raise SchemaError(
                f"{settings.database} has schema version {found}, and this falcon-mnist works with {len(STEPS)}: "
                + ("start a server, which migrates it" if found < len(STEPS) else "start the version that wrote it")
            )
    except peewee.DatabaseError as error:
        raise _unusable(settings.database, error) from error
    return Store(database)


def _unusable(path: Path, error: peewee.DatabaseError) -> DatabaseFileError:
    mend = "make room, or let others end" if isinstance(error, peewee.OperationalError) else RESTORE
    return DatabaseFileError(f"the database {path} cannot be used ({error}): {mend}")


def parameter_storage(settings: Settings, *, clock: Clock = SYSTEM_CLOCK, disk: Disk = SYSTEM_DISK) -> Storage:
    """Where parameter files are."""
    return LocalFolder(settings.storage / "parameters", clock=clock, disk=disk)


def checkpoint_storage(settings: Settings, *, clock: Clock = SYSTEM_CLOCK, disk: Disk = SYSTEM_DISK) -> Storage:
    """Where checkpoints are."""
    return LocalFolder(settings.storage / "checkpoints", clock=clock, disk=disk)
