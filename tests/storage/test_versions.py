"""A database of every schema version, as that version wrote it, is migrated and answers for all of its rows.

`versions/` has each as SQL: a model, a run in each state, epochs and a parameter set, whose file lies beside them. They
are not made from the steps that are tested, so a released step that changes shows.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import forked_workers
import numpy as np
import pytest
from asking import WRITE
from checking_client import Client

from falcon_mnist.app import open_service
from falcon_mnist.server.serve import running
from falcon_mnist.settings import Settings
from falcon_mnist.storage.migrations import STEPS
from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.store import Store

FOLDER = Path(__file__).parent / "versions"
NEWEST = len(STEPS)
MODEL, PARAMETERS = f"m_{'1' * 32}", f"p_{'1' * 32}"
SUCCEEDED, FAILED, CANCELLED, RUNNING, QUEUED = (f"r_{digit * 32}" for digit in "12345")

every_version = pytest.mark.parametrize("version", range(1, NEWEST + 1))


def write(path: Path, version: int) -> Path:
    """The database of a version, at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.executescript((FOLDER / f"{version}.sql").read_text())
    return path


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def schema(path: Path) -> list[Any]:
    """Tables with their columns, and indexes, whatever order the columns came in."""
    columns = """SELECT tables.name, columns.name, columns.type, columns.[notnull], columns.dflt_value, columns.pk
        FROM sqlite_master tables, pragma_table_info(tables.name) columns"""
    return sorted(rows(path, columns)) + sorted(rows(path, "SELECT name, sql FROM sqlite_master WHERE type = 'index'"))


def test_there_is_a_database_of_every_version() -> None:
    there = {int(file.stem) for file in FOLDER.glob("*.sql")}
    assert there == set(range(1, NEWEST + 1)), "write the newest with: python tests/storage/versions/write.py"


@every_version
def test_the_steps_lead_to_the_same_schema(tmp_path: Path, version: int) -> None:
    old, new = write(tmp_path / "old.db", version), tmp_path / "new.db"
    for path in (old, new):
        open_database(path, wait=1.0).close()
    assert schema(old) == schema(new)
    assert rows(old, "SELECT value FROM meta WHERE key = 'schema_version'") == [(str(NEWEST),)]


@every_version
def test_the_store_has_every_row(tmp_path: Path, version: int) -> None:
    path = write(tmp_path / "rows.db", version)
    kept = "SELECT id, model_id, state, hyperparams, created_at, started_at, finished_at, epoch, error FROM runs"
    before = rows(path, kept)
    store = Store(open_database(path, wait=1.0))
    assert rows(path, kept) == before
    assert store.faults() == []
    assert store.cursor_key == bytes.fromhex("5a" * 32)
    model, run = store.model(MODEL), store.run(FAILED)
    assert model
    assert model.idempotency_key == "the model"
    assert run
    assert run.worker_losses == 1
    assert [lease.run_id for lease in store.leases()] == [RUNNING]
    assert store.queued(10) == [QUEUED]
    assert [run.best_accuracy_epoch for run in store.runs(limit=10) if run.id in (SUCCEEDED, QUEUED)] == [0, 2]
    assert [epoch.train_loss for epoch in store.history(SUCCEEDED)] == [2.5, 1.25]
    assert bool(store.evaluation(PARAMETERS)) == (version >= 6)
    store.close()


@every_version
def test_the_service_answers_for_every_row(tmp_path: Path, digits: Path, version: int) -> None:
    home = tmp_path / "home"
    write(home / "falcon-mnist.db", version)
    files = home / "storage" / "parameters"
    files.mkdir(parents=True)
    (files / f"{PARAMETERS}.safetensors").write_bytes((FOLDER / "parameters.safetensors").read_bytes())
    tokens = tmp_path / "tokens"
    tokens.write_text(WRITE)
    settings = Settings(home=home, tokens_file=tokens, dataset=str(digits), workers=1)
    service = open_service(settings, make_executor=forked_workers.make_executor)
    with running(service) as url, Client(url) as client:
        states = {run["run_id"]: run["state"] for run in client.get(f"/api/models/{MODEL}/runs").json()["items"]}
        assert list(states) == [QUEUED, RUNNING, CANCELLED, FAILED, SUCCEEDED]
        assert [states[run] for run in (CANCELLED, FAILED, SUCCEEDED)] == ["cancelled", "failed", "succeeded"]
        run = client.run(SUCCEEDED)
        assert run["param_id"] == PARAMETERS
        assert [epoch["val_accuracy"] for epoch in run["history"]] == [0.25, 0.5]
        assert client.run(FAILED)["error"]["code"] == "diverged"
        digit = np.zeros((1, 784))
        digit[0, 7::10] = 1.0  # the pixels that the parameters take for a 7
        assert client.infer(PARAMETERS, digit.tolist(), labels=True)["outputs"]["labels"] == [7]
        assert client.wait(QUEUED, "succeeded")["epoch"] == 2
