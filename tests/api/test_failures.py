"""What a client learns when the service itself fails: that it did, and nothing of its insides."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import peewee
import pytest
from asking import WRITE, Document
from away import AwayFolder
from checking_client import Client, kind
from on_disk import OnDisk
from small_networks import SMALL, architecture

from falcon_mnist.app import open_service
from falcon_mnist.inference.predictors import Predictors
from falcon_mnist.server.serve import running
from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import DatabaseLostError, DatabaseUnavailableError
from falcon_mnist.storage.opening import REQUEST_WAIT, open_database
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.store import Store

LAYER = {"type": "linear", "W": [[0.5] * 10] * 784, "b": [0.0] * 10}
BODY = {
    "architecture": architecture(),
    "parameters": {"layers": [LAYER], "dtype": "float32", "layout": "row_major"},
}


class FailingStore(Store):
    """A store that raises `error`, where there is one."""

    error: Exception | None = None

    def check(self) -> None:
        if self.error:
            raise self.error
        super().check()

    def import_parameters(self, *args: Any, **named: Any) -> Any:
        made = super().import_parameters(*args, **named)
        if self.error:  # after the commit
            raise self.error
        return made

    def create_model(self, *args: Any, **named: Any) -> Any:
        if self.error:
            raise self.error
        return super().create_model(*args, **named)


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> OnDisk:
    return OnDisk(tmp_path_factory.mktemp("failing") / "home")


@pytest.fixture(scope="module")
def failing_store(on_disk: OnDisk) -> FailingStore:
    return FailingStore(open_database(Settings(home=on_disk.home).database, wait=REQUEST_WAIT))


@pytest.fixture(scope="module")
def storage(on_disk: OnDisk) -> AwayFolder:
    return AwayFolder(on_disk.storage / "parameters")


@pytest.fixture(scope="module")
def client(on_disk: OnDisk, failing_store: FailingStore, storage: AwayFolder, digits: Path) -> Iterator[Client]:
    """A client of a server with this store, and this storage of parameters."""
    tokens = on_disk.home.parent / "tokens"
    tokens.write_text(WRITE)
    service = open_service(Settings(home=on_disk.home, tokens_file=tokens, dataset=str(digits), workers=1))
    files = ParameterFiles(storage)
    store = failing_store
    parts: Document = {"store": store, "files": files, "predictors": Predictors(store, files)}
    parts["remover"] = store.remover(files, storage)
    with running(replace(service, **parts)) as url, Client(url) as client:
        yield client


@pytest.fixture
def store(failing_store: FailingStore) -> Iterator[FailingStore]:
    """That store, which raises nothing before and after a test."""
    yield failing_store
    failing_store.error = None


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
    store.error = DatabaseUnavailableError("database is locked")
    with on_disk.unchanged():
        response = client.post("/api/models", {"architecture": SMALL})
    assert response.status_code == 503
    assert kind(response) == "storage-unavailable"
    assert int(response.headers["Retry-After"]) > 0
    assert "locked" not in response.text
    assert "locked" in caplog.text


def test_a_storage_that_is_away_is_a_503_that_asks_for_patience(
    client: Client, storage: AwayFolder, caplog: pytest.LogCaptureFixture
) -> None:
    param_id = client.post("/api/params", BODY).json()["param_id"]
    infer = {"param_id": param_id, "inputs": [[0] * 784]}
    for act in (
        lambda: client.post("/api/params", BODY),
        lambda: client.post("/api/infer", infer),
        lambda: client.get(f"/api/params/{param_id}"),
        lambda: client.get(f"/api/params/{param_id}/evaluation"),
    ):
        storage.failures = 1
        response = act()
        assert response.status_code == 503
        assert kind(response) == "storage-unavailable"
        assert int(response.headers["Retry-After"]) > 0
        assert "secret" not in response.text
    assert caplog.text.count("request failed: the storage failed: the secret place") == 4
    assert client.post("/api/infer", infer).status_code == 200


def test_a_deletion_does_not_wait_for_a_storage_that_is_away(
    client: Client, on_disk: OnDisk, storage: AwayFolder, caplog: pytest.LogCaptureFixture
) -> None:
    param_id = client.post("/api/params", BODY).json()["param_id"]
    storage.failures = 1
    assert client.request("DELETE", f"/api/params/{param_id}").status_code == 204
    assert "cannot be deleted, a sweep tries again: the secret place does not answer" in caplog.text
    assert client.get(f"/api/params/{param_id}").status_code == 404


def test_an_import_whose_commit_is_not_answered_keeps_its_file(client: Client, store: FailingStore) -> None:
    """The row may be there; if it is not, the file is swept as any that no row names."""
    before = client.get("/api/params").json()["items"]
    store.error = DatabaseLostError("server closed the connection unexpectedly")
    assert client.post("/api/params", BODY).status_code == 503
    store.error = None
    found, *others = client.get("/api/params").json()["items"]
    assert others == before
    assert client.get(f"/api/params/{found['param_id']}").status_code == 200


def test_an_import_that_is_not_recorded_leaves_no_file(
    client: Client, store: FailingStore, storage: AwayFolder
) -> None:
    before = {entry.name for entry in storage.list()}
    store.error = DatabaseUnavailableError("database is locked")
    assert client.post("/api/params", BODY).status_code == 503
    assert {entry.name for entry in storage.list()} == before


def test_a_server_without_its_database_is_alive_but_not_ready(client: Client, store: FailingStore) -> None:
    store.error = peewee.DatabaseError("gone")
    response = client.get("/readyz", token=None)
    assert response.status_code == 503
    assert kind(response) == "not-ready"
    assert "gone" not in response.text
    assert client.get("/healthz", token=None).json() == {"status": "live"}
    store.error = None
    assert client.get("/readyz", token=None).json() == {"status": "ready"}
