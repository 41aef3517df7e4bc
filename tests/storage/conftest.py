"""A fresh database of each backend, and clocks that stand until they are told to move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from backends import BACKENDS, Backend, ManualTime

from falcon_mnist.storage.store import Store


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """A database that no test has used, to be opened any number of times."""
    return Backend(request.param, str(tmp_path / "rows.db"))


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
def store(backend: Backend, time: ManualTime) -> Iterator[Store]:
    store = backend.store(clock=time.clock)
    yield store
    store.close()
