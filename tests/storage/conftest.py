"""A fresh database of each backend, and clocks that stand until they are told to move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from backends import BACKENDS, Backend, EmptyFiles, EmptySchemas, Processes
from manual_time import ManualTime
from postgres import Cluster

from falcon_mnist.storage.store import Store


@pytest.fixture(params=BACKENDS)
def kind(request: pytest.FixtureRequest) -> str:
    """One of `BACKENDS`."""
    return str(request.param)


@pytest.fixture
def new_backend(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backend]:
    """Makes databases that nobody has opened: they have no tables yet."""
    if kind == "postgresql":
        cluster = request.getfixturevalue("cluster")
        return lambda: Backend(cluster.database())
    numbers = count()
    return lambda: Backend(tmp_path / f"new-{next(numbers)}.db")


@pytest.fixture(scope="session")
def empty_files(tmp_path_factory: pytest.TempPathFactory) -> EmptyFiles:
    return EmptyFiles(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def empty_schemas(cluster: Cluster) -> EmptySchemas:
    return EmptySchemas(cluster)


@pytest.fixture
def backend(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """A database without rows, to be opened any number of times."""
    if kind == "sqlite":
        yield request.getfixturevalue("empty_files").copy(tmp_path / "rows.db")
    else:
        with request.getfixturevalue("empty_schemas").one() as backend:
            yield backend


@pytest.fixture(scope="module")
def in_processes() -> Iterator[Processes]:
    processes = Processes()
    yield processes
    processes.end()


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
def store(backend: Backend, time: ManualTime) -> Iterator[Store]:
    store = backend.store(clock=time.clock)
    yield store
    store.close()
