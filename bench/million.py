"""What the store's verbs take, and how the database goes about them, where there are a million runs.

    python bench/million.py                          # a million runs, on both databases
    python bench/million.py --runs 100000 --plans    # with the plans

Fills a new database in SQL, with as many epochs and nearly as many parameter sets as runs, half of the runs of one
model. Times are the least of some rounds; what verbs write is undone. PostgreSQL is a cluster of its own, from the
binaries of the system's package.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import postgres
from many_rows import READS, WRITES, RecordingPostgreSQL, Rows, fill, plans, recording, scans
from readme import machine, markdown, put_into

from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.store import Store

SCALING = Path(__file__).parents[1] / "docs" / "scaling.md"
ROUNDS = 15


@contextlib.contextmanager
def places(folder: Path, names: list[str]) -> Iterator[dict[str, Path | str]]:
    """Where new databases are to be, by name."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Path | str] = {}
        if "SQLite" in names:
            found["SQLite"] = folder / "rows.db"
        if "PostgreSQL" in names:
            found["PostgreSQL"] = stack.enter_context(postgres.cluster(durable=True)).database()
        yield found


def milliseconds(database: Any, act: Callable[[Store, Rows], Any], rows: Rows) -> float:
    """The least of some rounds, each within a transaction that is undone: others may use the machine as well."""
    store, took = Store(database), []
    for _ in range(ROUNDS):
        with database.atomic() as transaction:
            start = time.perf_counter()
            act(store, rows)
            took.append(1000 * (time.perf_counter() - start))
            transaction.rollback()
    return min(took)


def look(place: Path | str, rows: Rows, *, show: bool) -> dict[str, float]:
    """Fill the database at a place; milliseconds by verb."""
    with contextlib.closing(open_database(place, wait=60)) as filled:
        start = time.perf_counter()
        fill(filled, rows.runs)
        print(f"filled in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    found = {}
    with contextlib.closing(recording(place)) as database:
        if isinstance(database, RecordingPostgreSQL):
            database.execute_sql("SET statement_timeout = 0")
        for name, act in (READS | WRITES).items():
            for sql, plan in plans(database, act, rows).items():
                if show:
                    print(f"\n{name}: {sql[:300]}", *plan, sep="\n    ")
                for line in scans(sql, plan):
                    print(f"{name} reads a whole table: {line}: {sql}", file=sys.stderr)
            found[name] = milliseconds(database, act, rows)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--on", nargs="+", default=["SQLite", "PostgreSQL"], metavar="DATABASE")
    parser.add_argument("--plans", action="store_true", help="print the plan of each statement")
    parser.add_argument("--write", action="store_true", help="put the table into docs/scaling.md")
    options = parser.parse_args()
    rows = Rows(options.runs)
    with tempfile.TemporaryDirectory(prefix="million-") as folder, places(Path(folder), options.on) as found:
        figures = {name: look(place, rows, show=options.plans) for name, place in found.items()}
    table = [[verb, *(f"{each[verb]:.1f}" for each in figures.values())] for verb in READS | WRITES]
    command = f"python bench/million.py --runs {options.runs}"
    lines = [
        *markdown(["", *(f"{name}, ms" for name in figures)], table), "",
        f"{options.runs:,} runs; lists are pages of 100; {machine()}; load {os.getloadavg()[0]:.1f} at the end; "
        f"`{command}`.",
    ]  # fmt: skip
    print("\n".join(lines))
    if options.write:
        put_into(SCALING, "million", lines)


if __name__ == "__main__":
    main()
