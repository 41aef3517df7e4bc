"""Servers with faults in them: one that all tests share, and as many more as a test starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asking import Document
from checking_client import Client
from faulty_servers import RUN, Faulty, ended_after
from small_networks import write_digits


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture
def start(tmp_path: Path, digits: Path) -> Iterator[Callable[..., Faulty]]:
    """Starts servers, all on one home; they are killed after the test."""
    with ended_after() as begin:
        yield lambda *faults, **settings: begin(tmp_path / "home", digits, *faults, **settings)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Iterator[Faulty]:
    """A server for tests that leave it as it was; its own end is a test too."""
    with ended_after() as begin:
        home = tmp_path_factory.mktemp("shared") / "home"
        yield begin(home, digits, "calm", max_queued_runs=3, max_body_bytes=200_000)


@pytest.fixture(scope="session")
def client(shared: Faulty) -> Iterator[Client]:
    with Client(shared.url()) as client:
        yield client


@pytest.fixture(scope="session")
def finished(client: Client) -> Document:
    """The run when nothing happens to it."""
    return client.trained(RUN)


@pytest.fixture(scope="session")
def undisturbed(client: Client, finished: Document) -> str:
    """The digest of its parameters."""
    return client.digest_of_parameters(finished)
