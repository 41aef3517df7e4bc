"""What a client learns when the service itself fails: that it did, and nothing of its insides."""

from __future__ import annotations

import logging

import peewee
import pytest
from serving import SMALL, Client, OnDisk, kind

from falcon_mnist.api.service import Service


def failing(error: Exception) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_bug_is_a_500_that_says_nothing_but_the_log_says_all(
    client: Client,
    on_disk: OnDisk,
    service: tuple[Service, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(service[0].store, "create_model", failing(RuntimeError("secret insides of /tmp/x.py")))
    with on_disk.unchanged(), caplog.at_level(logging.ERROR):
        response = client.post("/api/models", {"architecture": SMALL})
    assert response.status_code == 500
    assert kind(response) == "internal-error"
    assert "secret" not in response.text
    assert [record.request_id for record in caplog.records] == [response.json()["instance"]]
    assert "secret insides" in caplog.text


def test_a_database_that_cannot_write_is_a_503_that_asks_for_patience(
    client: Client,
    on_disk: OnDisk,
    service: tuple[Service, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(service[0].store, "create_model", failing(peewee.OperationalError("database is locked")))
    with on_disk.unchanged():
        response = client.post("/api/models", {"architecture": SMALL})
    assert response.status_code == 503
    assert kind(response) == "storage-unavailable"
    assert int(response.headers["Retry-After"]) > 0
    assert "locked" not in response.text
    assert "locked" in caplog.text


def test_a_server_without_its_database_is_alive_but_not_ready(
    client: Client, service: tuple[Service, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service[0].store, "check", failing(peewee.DatabaseError("gone")))
    response = client.get("/readyz", token=None)
    assert response.status_code == 503
    assert kind(response) == "not-ready"
    assert "gone" not in response.text
    assert client.get("/healthz", token=None).json() == {"status": "live"}
    monkeypatch.undo()
    assert client.get("/readyz", token=None).json() == {"status": "ready"}
