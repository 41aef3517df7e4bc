"""How many runs there are in each state, without counting all of them each time.

An ended run never changes again. `Meta` has the number of one before which all have ended, and how many of these there
are in each state; only later runs are counted each time. Removal takes from these counts what it removes.
"""

from __future__ import annotations

from typing import Any

import orjson
from peewee import fn

from falcon_mnist.constants import ACTIVE, STATES
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.tables import Meta, RunRow

_KEY = "runs_counted"
# Counting so many runs takes a few milliseconds.
ENOUGH = 10_000


def count_runs(database: Database) -> dict[str, int]:
    """State to number of runs."""
    with database.snapshot():
        counted = _counted(database)
        later = _by_state(database, RunRow.state.in_(STATES), RunRow.number > counted["last"])
    return {state: counted["states"].get(state, 0) + later.get(state, 0) for state in STATES}


def count_further(database: Database, *, enough: int = ENOUGH) -> None:
    """Count in `Meta` what has ended since, if that is `enough`."""
    if _last_ended(database) - _counted(database)["last"] < enough:
        return
    with database.writing_alone():  # as those that remove runs: none that is counted goes meanwhile
        counted, last = _counted(database), _last_ended(database)
        added = _by_state(database, RunRow.state.in_(STATES), RunRow.number > counted["last"], RunRow.number <= last)
        _change(database, counted["states"], added, last=last)


def uncount(database: Database, runs: Any) -> None:
    """Within the transaction that is to remove these runs."""
    counted = _counted(database)
    if counted["last"]:
        removed = _by_state(database, runs, RunRow.number <= counted["last"])
        less = {state: -number for state, number in removed.items()}
        _change(database, counted["states"], less, last=counted["last"])


def _counted(database: Database) -> dict[str, Any]:
    row = Meta.select(Meta.value).where(Meta.key == _KEY).first(database)
    return {"last": 0, "states": {}} if row is None else dict(orjson.loads(row.value))


def _last_ended(database: Database) -> int:
    """The number of the last run before which, and with which, all have ended."""
    first_active = RunRow.select(fn.MIN(RunRow.number)).where(RunRow.state.in_(ACTIVE)).scalar(database)
    return int(first_active - 1 if first_active else RunRow.select(fn.MAX(RunRow.number)).scalar(database) or 0)


def _by_state(database: Database, *where: Any) -> dict[str, int]:
    query = RunRow.select(RunRow.state, fn.COUNT(RunRow.number)).where(*where).group_by(RunRow.state)
    return dict(query.tuples().execute(database))


def _change(database: Database, states: dict[str, int], by: dict[str, int], *, last: int) -> None:
    changed = {state: states.get(state, 0) + by.get(state, 0) for state in STATES}
    row = Meta.insert(key=_KEY, value=orjson.dumps({"last": last, "states": changed}).decode())
    row.on_conflict(conflict_target=[Meta.key], preserve=[Meta.value]).execute(database)
