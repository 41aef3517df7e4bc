"""What every verb of the store is made of: a row by its id, and the conditional write.

Each change of a run's state is one conditional write whose row count says whether it happened. A worker
writes under the `owner` that it claimed the run with, so one that has lost its run can change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from peewee import fn

from falcon_mnist.clock import Clock, NewId
from falcon_mnist.constants import RUNNING, FailureCode
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.tables import ModelRow, ParameterRow, RunRow, Table

_Row = TypeVar("_Row", bound=Table)


class RunLostError(Exception):
    """The run was cancelled, or belongs to another worker by now."""


def held_by(run_id: str, owner: str) -> tuple[Any, ...]:
    """The condition that a run is running and this owner's."""
    return (RunRow.id == run_id, RunRow.state == RUNNING, RunRow.owner == owner)


def failure(code: FailureCode, message: str) -> dict[str, str]:
    """The `error` of a failed run."""
    return {"code": code, "message": message}


class Rows:
    """The rows of one database. `reading`, `making`, `claims` and `results` add their verbs; `Store` is all of them."""

    def __init__(self, database: Database, clock: Clock, new_id: NewId) -> None:
        """Connects at the first query."""
        self._database = database
        self._clock = clock
        self._new_id = new_id

    def model(self, model_id: str) -> ModelRow | None:
        """The model, if there is one."""
        return self._first(ModelRow, ModelRow.id == model_id)

    def run(self, run_id: str) -> RunRow | None:
        """The run, if there is one."""
        return self._first(RunRow, RunRow.id == run_id)

    def parameters(self, param_id: str) -> ParameterRow | None:
        """The parameter set, if there is one."""
        return self._first(ParameterRow, ParameterRow.id == param_id)

    def _first(self, table: type[_Row], *where: Any) -> _Row | None:
        row: _Row | None = table.select().where(*where).first(self._database)
        return row

    def _all(self, query: Any) -> list[Any]:
        return list(query.execute(self._database))

    def _insert(self, row: Table) -> Any:
        """Returns the row's key."""
        return type(row).insert(row.__data__).execute(self._database)

    def _update(self, where: Sequence[Any], **changes: Any) -> bool:
        return bool(RunRow.update(**changes).where(*where).execute(self._database))

    def _update_held(self, run_id: str, owner: str, **changes: Any) -> None:
        if not self._update(held_by(run_id, owner), **changes):
            raise RunLostError(run_id)

    def _end(self, *where: Any, **changes: Any) -> bool:
        finished_at = self._not_before(fn.COALESCE(RunRow.started_at, RunRow.created_at))
        return self._update(where, finished_at=finished_at, owner=None, drain=False, **changes)

    def _not_before(self, earlier: Any) -> Any:
        """Now, or at an `earlier` timestamp that is later: another machine's clock may be ahead of this one's."""
        return self._database.greatest(earlier, self._clock.timestamp())
