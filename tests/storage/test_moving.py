"""Rows that move from one database to another."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from backends import DATASET, METRICS, Backend, new_model, new_run, running
from postgres import Cluster

from falcon_mnist.settings import Settings
from falcon_mnist.storage.moving import BATCH, TABLES, MoveError, copy_rows, move_home
from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.store import Store
from falcon_mnist.storage.tables import Table


def silent(task: str, done: int, total: int) -> None:
    assert done <= total


def everything(place: Path | str) -> dict[str, list[Any]]:
    with closing(open_database(place, wait=1)) as database:
        return {table.__name__: rows(table, database) for table in TABLES}


def rows(table: type[Table], database: Any) -> list[Any]:
    return sorted(map(repr, table.select().dicts().execute(database)))


def fill(place: Path | str) -> Store:
    """Rows of each kind, in every state."""
    store = Store(open_database(place, wait=1))
    store.create_model({}, {"odd": "\x7f\u2028\U0001f600"}, key="k", fingerprint="f")
    ended = running(store)
    store.record_basis(ended.id, "worker", dataset=DATASET, isa="avx2")
    store.record_epochs(ended.id, "worker", {1: METRICS | {"train_loss": 0.1 + 0.2, "seconds": 5e-324}})
    store.record_checkpoint(ended.id, "worker", {"file": "c"})
    store.succeed(ended.id, "worker", "p_0", size_bytes=2**40, sha256="0", evaluation={"loss": 0.1})
    running(store)
    store.cancel(new_run(store).id)
    new_run(store)
    return store


def test_all_rows_arrive_as_they_were(new_backend: Callable[[], Backend], tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", new_backend()
    with closing(fill(source)) as store:
        key, last = store.cursor_key, store.queued(1)
        run = store.run(last[0])
    with closing(open_database(source, wait=1)) as old, closing(target.database(wait=1)) as new:
        counts = copy_rows(old, new, progress=silent)
    assert counts == {"models": 5, "runs": 4, "epochs": 1, "parameter_sets": 1, "evaluations": 1}
    assert everything(target.place) == everything(source)
    with closing(target.store()) as store:
        assert store.cursor_key == key
        assert store.queued(9) == last
        assert run
        assert new_run(store).number > run.number


def test_more_rows_than_fit_a_statement_arrive(new_backend: Callable[[], Backend], tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "source.db", wait=1)) as old, closing(new_backend().database()) as new:
        store = Store(old)
        run = running(store)
        epochs = 2 * BATCH + 1
        store.record_epochs(run.id, "worker", dict.fromkeys(range(1, epochs + 1), METRICS))
        assert copy_rows(old, new, progress=silent)["epochs"] == epochs
        assert len(Store(new).history(run.id)) == epochs


def test_a_database_with_rows_takes_no_others(new_backend: Callable[[], Backend], tmp_path: Path) -> None:
    fill(tmp_path / "source.db").close()
    target = new_backend()
    with closing(target.store()) as store:
        new_model(store)
    before = everything(target.place)
    old, new = open_database(tmp_path / "source.db", wait=1), target.database()
    with closing(old), closing(new), pytest.raises(MoveError, match="rows already"):
        copy_rows(old, new, progress=silent)
    assert everything(target.place) == before


def test_a_move_that_is_interrupted_leaves_nothing(new_backend: Callable[[], Backend], tmp_path: Path) -> None:
    def interrupt(task: str, done: int, total: int) -> None:
        if task == "parameter_sets":
            raise KeyboardInterrupt

    fill(tmp_path / "source.db").close()
    target = new_backend()
    with closing(open_database(tmp_path / "source.db", wait=1)) as old, closing(target.database()) as new:
        with pytest.raises(KeyboardInterrupt):
            copy_rows(old, new, progress=interrupt)
        assert not any(everything(target.place).values())
        copy_rows(old, new, progress=silent)


def test_a_home_that_is_used_is_not_moved(cluster: Cluster, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=cluster.database())
    fill(settings.home_database).close()
    with closing(sqlite3.connect(settings.home_database)) as other:
        other.execute("SELECT count(*) FROM models").fetchall()
        with pytest.raises(MoveError, match="stop it first"):
            move_home(settings, progress=silent)
    assert move_home(settings, progress=silent)["models"] == 5
    assert everything(settings.database) == everything(settings.home_database)


def test_what_cannot_be_moved_is_said(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(MoveError, match="nowhere to move to"):
        move_home(Settings(home=tmp_path), progress=silent)
    with pytest.raises(MoveError, match="nothing to move"):
        move_home(Settings(home=tmp_path, database_url=cluster.database()), progress=silent)
