"""What only PostgreSQL needs: its connections, a server that restarts, and its errors by type."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from asking import until
from backends import new_model, new_run
from commands import Command
from postgres import Cluster
from server_process import environment

from falcon_mnist.storage.database import DatabaseBusyError, DatabaseFileError, DatabaseLostError
from falcon_mnist.storage.migrations import STEPS, SchemaError, version
from falcon_mnist.storage.opening import REQUEST_WAIT, open_database
from falcon_mnist.storage.postgresql import PostgreSQL
from falcon_mnist.storage.postgresql_pool import POOL_SIZE
from falcon_mnist.storage.store import Store
from falcon_mnist.storage.tables import RunRow

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'falcon-mnist'"


@pytest.fixture
def url(cluster: Cluster) -> str:
    return cluster.database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(open_database(url, wait=60))
    yield store
    store.close()


def sessions(cluster: Cluster, url: str) -> int:
    return int(cluster.sql(url, SESSIONS))


def test_any_number_of_threads_share_a_bounded_number_of_connections(cluster: Cluster, url: str, store: Store) -> None:
    def read(_: int) -> None:
        for _ in range(20):
            store.check()

    with ThreadPoolExecutor(4 * POOL_SIZE) as threads:
        list(threads.map(read, range(4 * POOL_SIZE)))
    assert 1 <= sessions(cluster, url) <= POOL_SIZE
    store.close()
    store.check()
    until(lambda: sessions(cluster, url) == 1, "the server has ended the others")


def test_a_thread_that_waits_for_a_connection_in_vain_is_told(url: str) -> None:
    database = open_database(url, wait=0.2)
    held, done = threading.Barrier(POOL_SIZE + 1), threading.Event()

    def hold() -> None:
        with database.snapshot():
            database.execute_sql("SELECT 1")
            held.wait(60)
            done.wait(60)

    with closing(database), ThreadPoolExecutor(POOL_SIZE) as threads:
        holding = [threads.submit(hold) for _ in range(POOL_SIZE)]
        held.wait(60)
        with pytest.raises(DatabaseBusyError, match="in use"):
            database.execute_sql("SELECT 1")
        done.set()
        for each in holding:
            each.result(60)
        database.execute_sql("SELECT 1")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_after_a_restart_of_the_server_the_next_statement_works(cluster: Cluster, store: Store, mode: str) -> None:
    run = new_run(store)
    cluster.stop(mode)
    cluster.start()
    assert store.run(run.id)
    with store.snapshot():
        assert store.queued(9) == [run.id]


def test_a_server_that_is_coming_back_is_waited_for(cluster: Cluster, store: Store) -> None:
    run = new_run(store)
    cluster.stop()
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(store.run, run.id)
        try:
            assert not reading.done()
        finally:
            cluster.start()
        assert reading.result(timeout=60)


def test_a_server_that_stays_away_is_told_as_such(cluster: Cluster, url: str) -> None:
    with closing(open_database(url, wait=0.2)) as database:
        database.execute_sql("SELECT 1")
        cluster.stop()
        try:
            with pytest.raises(DatabaseLostError):
                database.execute_sql("SELECT 1")
            with pytest.raises(DatabaseLostError), database.writing():
                pass
        finally:
            cluster.start()
        database.execute_sql("SELECT 1")


def test_a_server_that_was_waited_for_in_vain_is_not_waited_for_again(cluster: Cluster, url: str) -> None:
    with closing(open_database(url, wait=2)) as database:
        database.execute_sql("SELECT 1")
        cluster.stop()
        begin = time.monotonic()
        try:
            for _ in range(50):
                with pytest.raises(DatabaseLostError):
                    database.execute_sql("SELECT 1")
        finally:
            cluster.start()
        assert time.monotonic() - begin < 50  # half of what fifty waits take
        database.execute_sql("SELECT 1")


def test_a_server_that_goes_within_a_transaction_is_told_as_such(cluster: Cluster, url: str, store: Store) -> None:
    database = open_database(url, wait=60)
    with closing(database):
        with pytest.raises(DatabaseLostError), database.writing():  # noqa: PT012 - which statement notices is its affair
            database.execute_sql("INSERT INTO meta VALUES ('lost', '')")
            cluster.stop("fast")
            cluster.start()
            database.execute_sql("INSERT INTO meta VALUES ('lost too', '')")
        assert database.execute_sql("SELECT count(*) FROM meta WHERE key LIKE 'lost%%'").fetchone() == (0,)


def test_a_process_that_is_stopped_in_a_transaction_loses_its_locks(url: str, store: Store) -> None:
    impatient = f"{url}%20-cidle_in_transaction_session_timeout%3D1000"
    with closing(open_database(impatient, wait=60)) as stopped:
        with pytest.raises(DatabaseLostError), stopped.writing_alone():  # noqa: PT012
            new_run(store)  # which waits for the lock, and then gets it
            stopped.execute_sql("SELECT 1")
        stopped.execute_sql("SELECT 1")


def test_a_statement_that_takes_too_long_is_told_as_such_and_its_connection_goes_on(url: str, store: Store) -> None:
    with closing(open_database(f"{url}%20-cstatement_timeout%3D1000", wait=60)) as database:
        with pytest.raises(DatabaseBusyError):
            database.execute_sql("SELECT pg_sleep(60)")
        assert database.execute_sql("SELECT 1").fetchone() == (1,)


def test_a_statement_of_a_request_may_take_half_a_minute_and_a_migration_as_long_as_it_takes(
    url: str, store: Store
) -> None:
    with closing(open_database(url, wait=REQUEST_WAIT)) as database:
        assert database.execute_sql("SHOW statement_timeout").fetchone() == ("30s",)
        with database.migrating():
            assert database.execute_sql("SHOW statement_timeout").fetchone() == ("0",)
        assert database.execute_sql("SHOW statement_timeout").fetchone() == ("30s",)


def test_a_claim_does_not_wait_for_another_change_of_its_run(url: str, store: Store) -> None:
    run = new_run(store)
    with closing(open_database(url, wait=60)) as other:
        with other.writing():
            RunRow.update(drain=False).where(RunRow.id == run.id).execute(other)
            assert store.claim(run.id, "worker") is None
        assert store.claim(run.id, "worker")


def test_of_transactions_that_wait_for_each_other_one_is_told(url: str, store: Store) -> None:
    database = open_database(url, wait=60)
    database.execute_sql("INSERT INTO meta VALUES ('a', ''), ('b', '')")
    both = threading.Barrier(2)

    def change(first: str, second: str) -> bool:
        try:
            with database.writing():
                database.execute_sql("UPDATE meta SET value = '' WHERE key = %s", (first,))
                both.wait(60)
                database.execute_sql("UPDATE meta SET value = '' WHERE key = %s", (second,))
        except DatabaseBusyError:
            return False
        return True

    with closing(database), ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(change, "ab", "ba")) == [False, True]


def test_a_newer_schema_is_refused_without_telling_the_password(url: str, store: Store) -> None:
    store.close()
    with closing(PostgreSQL(url, wait=1)) as database:
        database.execute_sql("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(SchemaError, match="version 99") as refused:
        open_database(url.replace("tests@", "tests:hidden@"), wait=1)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("postgresql://tests:hidden@127.0.0.1:{port}/none", 'database "none" does not exist'),
        ("postgresql://tests:hidden@127.0.0.1:1/none", "refused"),
        ("postgresql://tests:hidden@127.0.0.1/none?nonsense=1", "correct it"),
        ("postgresql://tests:hidden@[127.0.0.1/none", "correct it"),
        ("postgresql://tests:hidden%zz@127.0.0.1/none", "correct it"),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_in_one_sentence(cluster: Cluster, bad: str, says: str) -> None:
    with pytest.raises(DatabaseFileError, match=says) as refused:
        open_database(bad.format(port=cluster.port), wait=60)
    assert "\n" not in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_without_its_driver_postgresql_is_refused_in_one_sentence(tmp_path: Path) -> None:
    variables = environment(tmp_path, database_url="postgresql://here/mnist")
    ended = Command("psycopg", "serve", env=variables, main="missing:main").end()
    assert ended.returncode == 1
    assert ended.stderr.endswith("pip install 'falcon-mnist[postgresql]'\n")
    assert ended.stderr.count("\n") == 1


def test_a_look_changes_nothing(url: str, store: Store) -> None:
    with closing(PostgreSQL(url, wait=1, read_only=True)) as looking:
        assert version(looking) == len(STEPS)
        assert looking.faults() == []
        with pytest.raises(Exception, match="read-only"):
            looking.execute_sql("DELETE FROM meta")


def test_each_row_gets_a_number_above_those_that_were_copied(url: str, store: Store) -> None:
    with closing(open_database(url, wait=1)) as database:
        database.numbers_taken("models", 41)
    assert new_model(store).number == 42
