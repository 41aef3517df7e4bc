"""The database backends under test, and what their tests share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import forked_workers
from postgres import Cluster

from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.moving import TABLES
from falcon_mnist.storage.opening import database_at, open_database
from falcon_mnist.storage.store import Store
from falcon_mnist.storage.tables import ModelRow, RunRow

# The databases that a store can stand on.
BACKENDS = ["sqlite", "postgresql"]

ARCHITECTURE = {"input_size": 784, "layers": [{"type": "linear", "in": 784, "out": 10}]}
HYPERPARAMS = {"epochs": 3, "optimizer": {"lr": 0.1}}
METRICS = {"train_loss": 1.5, "train_accuracy": 0.25, "val_loss": None, "val_accuracy": None}
DATASET = {"name": "mnist", "checksum": "sha256:0"}


class Backend(NamedTuple):
    """A database by its place, which other processes can be told: an SQLite file, or a URL of PostgreSQL."""

    place: Path | str

    def database(self, *, wait: float = 60.0) -> Database:
        """It is made or migrated as needed; statements wait so many seconds for locks."""
        return open_database(self.place, wait=wait)

    def store(self, *, wait: float = 60.0, clock: Clock = SYSTEM_CLOCK) -> Store:
        return Store(self.database(wait=wait), clock=clock)


class Empty(NamedTuple):
    """A database without rows, and one opening of it."""

    backend: Backend
    database: Database


class EmptyFiles:
    """SQLite databases with the newest schema and no rows: copies of one, for to make one takes ten times as long."""

    def __init__(self, folder: Path) -> None:
        self._made = folder / "empty.db"
        open_database(self._made, wait=60).close()

    @contextmanager
    def one(self, at: Path) -> Iterator[Empty]:
        """A copy at this place."""
        shutil.copyfile(self._made, at)
        with closing(database_at(at, wait=60)) as database:
            yield Empty(Backend(at), database)


class EmptySchemas:
    """The same in PostgreSQL: those that earlier tests have filled are emptied, and their connections kept."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._empty: list[Empty] = []

    @contextmanager
    def one(self) -> Iterator[Empty]:
        """One that nobody else uses before this block ends."""
        if not self._empty:
            backend = Backend(self._cluster.database())
            self._empty.append(Empty(backend, backend.database()))
        used = self._empty.pop()
        yield used
        used.database.execute_sql(TO_EMPTY)
        self._empty.append(used)

    def close(self) -> None:
        for each in self._empty:
            each.database.close()


TO_EMPTY = f"""{"".join(f"DELETE FROM {table._meta.table_name};" for table in reversed(TABLES))}
    DELETE FROM meta WHERE key <> 'schema_version';
    SELECT setval(oid, 1, false) FROM pg_class
    WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace"""


def new_model(store: Store) -> ModelRow:
    return store.create_model(ARCHITECTURE, HYPERPARAMS)


def new_run(store: Store, model: ModelRow | None = None) -> RunRow:
    return store.create_run(model or new_model(store), HYPERPARAMS, max_queued=1000)


def running(store: Store, owner: str = "worker") -> RunRow:
    """A run that `owner` has claimed."""
    run = store.claim(new_run(store).id, owner)
    assert run
    return run


def seen(store: Store, run_id: str) -> dict[str, Any]:
    """The run's row as it is now."""
    run = store.run(run_id)
    assert run
    return dict(run.__data__)


class Processes:
    """Four processes, kept from test to test, for to start one takes longer than what it is asked for."""

    COUNT = 4

    def __init__(self) -> None:
        context = forked_workers.CONTEXT
        barrier = context.Barrier(self.COUNT)
        self._pool = ProcessPoolExecutor(self.COUNT, mp_context=context, initializer=_join, initargs=(barrier,))

    def __call__(self, act: Callable[..., Any], *arguments: tuple[Any, ...]) -> list[Any]:
        """What `act` returns for each of four arguments, in as many processes that begin together."""
        assert len(arguments) == self.COUNT
        futures = [self._pool.submit(_act, act, each) for each in arguments]
        return [future.result(timeout=60) for future in futures]

    def end(self) -> None:
        self._pool.shutdown()


together: Any = None  # the barrier of such a process


def _join(barrier: Any) -> None:
    global together
    together = barrier


def wait_for_the_others() -> None:
    """In one of the processes: go on when all of them have come here."""
    together.wait(60)


def _act(act: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    wait_for_the_others()  # so no process takes two of the four
    return act(*arguments)
