"""What a client learns when the service itself fails: that it did, and nothing of its insides."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import peewee
import pytest
from serving import SMALL, WRITE, Client, OnDisk, kind

from falcon_mnist.app import open_service
from falcon_mnist.server.serve import running
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import REQUEST_WAIT, open_database
from falcon_mnist.storage.store import Store


class FailingStore(Store):
    """A store that raises `error`, where there is one."""

    error: Exception | None = None

    def check(self) -> None:
        if self.error:
            raise self.error
        super().check()

    def create_model(self, *args: Any, **named: Any) -> Any:
        if self.error:
            raise self.error
        return super().create_model(*args, **named)


@pytest.fixture
def on_disk(tmp_path: Path) -> OnDisk:
    return OnDisk(tmp_path / "home")


@pytest.fixture
def store(on_disk: OnDisk) -> FailingStore:
    return FailingStore(open_database(Settings(home=on_disk.home).database, wait=REQUEST_WAIT))


@pytest.fixture
def client(on_disk: OnDisk, store: FailingStore, digits: Path) -> Iterator[Client]:
    """A client of a server with this store."""
    tokens = on_disk.home.parent / "tokens"
    tokens.write_text(WRITE)
    service = open_service(Settings(home=on_disk.home, tokens_file=tokens, dataset=str(digits), workers=1))
    with running(replace(service, store=store)) as url, Client(url) as client:
        yield client


def test_a_bug_is_a_500_that_says_nothing_but_the_log_says_all(
    client: Client, on_disk: OnDisk, store: FailingStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.error = RuntimeError("secret insides of /tmp/x.py")
    with on_disk.unchanged(), caplog.at_level(logging.ERROR):
        response = client.post("/api/models", {"architecture": SMALL})
    assert response.status_code == 500
    assert kind(response) == "internal-error"
    assert "secret" not in response.text
    assert [record.request_id for record in caplog.records] == [response.json()["instance"]]
    assert "secret insides" in caplog.text


def test_a_database_that_cannot_write_is_a_503_that_asks_for_patience(
    client: Client, on_disk: OnDisk, store: FailingStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.error = peewee.OperationalError("database is locked")
    with on_disk.unchanged():
        response = client.post("/api/models", {"architecture": SMALL})
    assert response.status_code == 503
    assert kind(response) == "storage-unavailable"
    assert int(response.headers["Retry-After"]) > 0
    assert "locked" not in response.text
    assert "locked" in caplog.text


def test_a_server_without_its_database_is_alive_but_not_ready(client: Client, store: FailingStore) -> None:
    store.error = peewee.DatabaseError("gone")
    response = client.get("/readyz", token=None)
    assert response.status_code == 503
    assert kind(response) == "not-ready"
    assert "gone" not in response.text
    assert client.get("/healthz", token=None).json() == {"status": "live"}
    store.error = None
    assert client.get("/readyz", token=None).json() == {"status": "ready"}
