"""The store and the storages that the settings name, opened alike by servers, workers and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import peewee

from falcon_mnist.clock import SYSTEM_CLOCK, Clock, NewId, new_id
from falcon_mnist.settings import Settings, SettingsError, variable
from falcon_mnist.storage.cache import Cache, CachedStorage
from falcon_mnist.storage.database import Database, DatabaseFileError
from falcon_mnist.storage.disk import SYSTEM_DISK, Disk
from falcon_mnist.storage.files import LocalFolder, Storage
from falcon_mnist.storage.migrations import STEPS, SchemaError, migrate, version
from falcon_mnist.storage.private import make_private, obstacle, tighten
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.storage.store import Store

if TYPE_CHECKING:
    from falcon_mnist.storage.object_store import Patience

# How long statements wait for a lock, in seconds. A request gives up soon: it holds one of few threads, and its
# client can ask again. A worker would lose what it has computed.
REQUEST_WAIT = 2.0
WORKER_WAIT = 60.0

# The folders of a storage.
PARAMETERS, CHECKPOINTS = "parameters", "checkpoints"

Dialect = Callable[..., Database]  # makes the database at a place, with `wait` as a statement's seconds


def open_home(settings: Settings) -> None:
    """Make the home folder, or close it to other users. Raises `NotPrivateError`, `OSError`."""
    make_private(settings.home)
    tighten(settings.home)


def open_database(place: Path | str, *, wait: float, dialect: Dialect | None = None) -> Database:
    """The database at `place`, an SQLite file or the URL of a PostgreSQL database, made or migrated as needed.

    Raises `migrations.SchemaError` if a newer version of the service wrote it, `DatabaseFileError`,
    `NotPrivateError` and `OSError`.
    """
    dialect = dialect or database_at
    with closing(dialect(place, wait=WORKER_WAIT)) as database, _explaining(database):
        database.create()
        migrate(database)
    return dialect(place, wait=wait)


def open_store(
    settings: Settings,
    *,
    wait: float,
    clock: Clock = SYSTEM_CLOCK,
    new_id: NewId = new_id,
    dialect: Dialect | None = None,
) -> Store:
    """The store of the settings' database; raises as `open_database`."""
    return Store(open_database(settings.database, wait=wait, dialect=dialect), clock=clock, new_id=new_id)


def open_read_only(settings: Settings) -> Store | None:
    """The store, for reading alone, if there is one: nothing is made, migrated or changed.

    Raises as `open_database`.
    """
    place = settings.database
    if isinstance(place, Path) and not place.exists():
        return None
    database = database_at(place, wait=WORKER_WAIT, read_only=True)
    with _explaining(database):
        found = version(database)
    if found == 0 and not isinstance(place, Path):
        return None
    if found != len(STEPS):
        raise SchemaError(
            f"{database.name} has schema version {found}, and this falcon-mnist works with {len(STEPS)}: "
            + ("start a server, which migrates it" if found < len(STEPS) else "start the version that wrote it")
        )
    return Store(database)


def database_at(place: Path | str, *, wait: float, read_only: bool = False) -> Database:
    """The dialect that fits the place."""
    if isinstance(place, Path):
        return SQLite(place, wait=wait, read_only=read_only)
    try:
        from falcon_mnist.storage.postgresql import PostgreSQL
    except ImportError as error:  # psycopg, or the library of PostgreSQL that it needs
        advice = "pip install 'falcon-mnist[postgresql]'"
        raise DatabaseFileError(f"PostgreSQL cannot be used ({error}): {advice}") from None
    try:
        return PostgreSQL(place, wait=wait, read_only=read_only)
    except peewee.DatabaseError:  # whose text may repeat a password
        advice = "correct it, and percent-encode what is special in a password"
        raise DatabaseFileError(f"the database URL is none that PostgreSQL takes: {advice}") from None


@contextmanager
def _explaining(database: Database) -> Iterator[None]:
    """Says of a database that cannot be used what to do."""
    try:
        yield
    except peewee.DatabaseError as error:
        advice = database.advice(error)
        raise DatabaseFileError(f"the database {database.name} cannot be used ({error}): {advice}") from error


class _Kind(NamedTuple):
    """An object store: the package that fsspec needs for it, which extra of ours brings that, and what connects."""

    package: str
    extra: str
    connect: str


_OBJECT_STORES = {"s3": _Kind("s3fs", "s3", "connect_s3"), "gs": _Kind("gcsfs", "gcs", "connect_gcs")}


def parameter_storage(
    settings: Settings,
    *,
    cached: bool = True,
    clock: Clock = SYSTEM_CLOCK,
    disk: Disk = SYSTEM_DISK,
    patience: Patience | None = None,
) -> Storage:
    """Where parameter files are; of a bucket's, this machine keeps copies if `cached`. Raises `SettingsError`.

    `patience` is what a bucket may take, if not as usual.
    """
    storage = _storage(settings, PARAMETERS, clock, disk, patience)
    if cached and not isinstance(settings.storage, Path):
        return CachedStorage(storage, Cache(settings.cached_parameters))
    return storage


def checkpoint_storage(
    settings: Settings, *, clock: Clock = SYSTEM_CLOCK, disk: Disk = SYSTEM_DISK, patience: Patience | None = None
) -> Storage:
    """Where checkpoints are; they are read too rarely to be worth a copy. Raises `SettingsError`."""
    return _storage(settings, CHECKPOINTS, clock, disk, patience)


def check_storage(settings: Settings) -> None:
    """Look whether files can be kept where the settings say; a bucket is not asked. Raises `SettingsError`."""
    place = settings.storage
    if not isinstance(place, Path):
        return
    for folder in (PARAMETERS, CHECKPOINTS):
        if found := obstacle(place / folder):
            setting = variable("storage_url" if settings.storage_url else "home")
            advice = f"name a folder that can be written in {setting}"
            raise SettingsError(f"the storage {place} cannot be used ({found}): {advice}")


def _storage(settings: Settings, name: str, clock: Clock, disk: Disk, patience: Patience | None) -> Storage:
    place = settings.storage
    if isinstance(place, Path):
        return LocalFolder(place / name, clock=clock, disk=disk)
    scheme, _, prefix = place.partition("://")
    kind = _OBJECT_STORES[scheme]
    if find_spec(kind.package) is None:
        raise SettingsError(f"FALCON_MNIST_STORAGE_URL needs {kind.package}: pip install 'falcon-mnist[{kind.extra}]'")
    # Brings fsspec, which a folder does not need: every command and every worker would wait for it.
    from falcon_mnist.storage import object_store

    connect = getattr(object_store, kind.connect)
    return object_store.ObjectStore(
        f"{prefix}/{name}", connect, clock=clock, patience=patience or object_store.PATIENCE
    )
