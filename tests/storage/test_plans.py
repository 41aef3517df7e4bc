"""No query that the service makes all the time reads a whole table: its time does not grow with the number of runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from backends import BACKENDS
from many_rows import READS, WRITES, RecordingPostgreSQL, Rows, fill, pages_read, plans, recording, scans

from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.store import Store

LISTS = [verb for verb in READS if verb.startswith(("newest runs", "runs after", "runs in", "runs of", "no runs"))]
LISTS += ["models", "parameter sets", "parameter sets of a model"]
PAGES_FOR_A_LIST = 3000  # of 8 kB: each of 101 rows by at most three indexes of four levels, and what it shows

ROWS = Rows(runs=20_000)  # so many that a database uses an index where it has one


@pytest.fixture(scope="module", params=BACKENDS)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    place: Path | str = tmp_path_factory.mktemp("rows") / "rows.db"
    if request.param == "postgresql":
        place = request.getfixturevalue("cluster").database()
    with closing(open_database(place, wait=60)) as filled:
        fill(filled, ROWS.runs, epochs=200)
    with closing(recording(place)) as opened:
        yield opened


@pytest.mark.parametrize("verb", [*READS, *WRITES])
def test_no_table_is_read_from_end_to_end(database: Any, verb: str) -> None:
    found = plans(database, (READS | WRITES)[verb], ROWS)
    assert found
    assert {sql: plan for sql, plan in found.items() if scans(sql, plan)} == {}


@pytest.mark.parametrize("verb", LISTS)
def test_a_page_of_a_list_reads_little_more_than_its_rows(database: Any, verb: str) -> None:
    """It is read in the order of an index: a sort would read all that match before it gave the first."""
    if isinstance(database, RecordingPostgreSQL):  # may sort where it knows that few match
        found = plans(database, READS[verb], ROWS, how="ANALYZE, BUFFERS, TIMING OFF")
        assert sum(pages_read(plan) for plan in found.values()) < PAGES_FOR_A_LIST, found
    else:
        found = plans(database, READS[verb], ROWS)
        assert {sql: plan for sql, plan in found.items() if "TEMP B-TREE" in " ".join(plan)} == {}


def test_a_scan_is_recognised(database: Any) -> None:
    sql = 'SELECT "t1"."id" FROM "parameter_sets" AS "t1" WHERE "t1"."size_bytes" = 0'
    found = plans(database, lambda *_: database.execute_sql(sql), ROWS)
    assert found
    assert all(scans(sql, plan) for sql, plan in found.items())


@pytest.mark.parametrize("state", ["running", "cancelled"])
def test_few_runs_of_a_model_with_many_are_found_by_model_and_state(database: Any, state: str) -> None:
    found = plans(database, lambda store, _: store.runs(limit=101, model_id="m_1", state=state), ROWS)
    assert all("runs_by_model_and_state" in " ".join(plan) for plan in found.values()), found


def test_counts_are_right_although_few_runs_are_counted(database: Any) -> None:
    sql = "SELECT state, count(*) FROM runs GROUP BY state"
    counted = Store(database).count_runs()
    assert {state: number for state, number in counted.items() if number} == dict(database.execute_sql(sql))
