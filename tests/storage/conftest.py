"""A fresh database of each backend, and clocks that stand until they are told to move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from backends import BACKENDS, Backend, Processes
from manual_time import ManualTime

from falcon_mnist.storage.store import Store


@pytest.fixture(params=BACKENDS)
def new_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backend]:
    """Makes databases that no test has used."""
    if request.param == "postgresql":
        cluster = request.getfixturevalue("cluster")
        return lambda: Backend(cluster.database())
    numbers = count()
    return lambda: Backend(tmp_path / f"rows-{next(numbers)}.db")


@pytest.fixture
def backend(new_backend: Callable[[], Backend]) -> Backend:
    """A database that no test has used, to be opened any number of times."""
    return new_backend()


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
