"""One server process for all attacks: an attack that harms it is seen by the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import READ, WRITE, Document
from checking_client import Client
from server_process import Server, environment


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's folder of temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory, digits: Path, temporary: Path) -> Iterator[Server]:
    """The server that is attacked; its tokens are those of `asking`."""
    home = tmp_path_factory.mktemp("target") / "home"
    tokens = home.parent / "tokens"
    tokens.write_text(f"{WRITE}\n{READ} read\n")
    tokens.chmod(0o600)
    variables = environment(home, dataset=digits, workers=1, tokens=None, tokens_file=tokens)
    server = Server(variables | {"TMPDIR": str(temporary)})
    server.url()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def client(target: Server) -> Iterator[Client]:
    """A well-behaved client of the server."""
    with Client(target.url()) as client:
        yield client


@pytest.fixture(scope="session")
def trained(client: Client) -> Document:
    """A run that has succeeded."""
    return client.trained(epochs=1)
