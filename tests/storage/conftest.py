"""A fresh database of each backend, and clocks that stand until they are told to move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from backends import BACKENDS, Backend, Empty, EmptyFiles, EmptySchemas, Processes
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
def empty_schemas(cluster: Cluster) -> Iterator[EmptySchemas]:
    with closing(EmptySchemas(cluster)) as schemas:
        yield schemas


@pytest.fixture
def empty(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Empty]:
    """A database without rows."""
    if kind == "sqlite":
        made = request.getfixturevalue("empty_files").one(tmp_path / "rows.db")
    else:
        made = request.getfixturevalue("empty_schemas").one()
    with made as one:
        yield one


@pytest.fixture
def backend(empty: Empty) -> Backend:
    """A database without rows, to be opened any number of times."""
    return empty.backend


@pytest.fixture(scope="module")
def in_processes() -> Iterator[Processes]:
    processes = Processes()
    yield processes
    processes.end()


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
def store(empty: Empty, time: ManualTime) -> Store:
    return Store(empty.database, clock=time.clock)
