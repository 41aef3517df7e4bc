"""What a home can do without: runs that ended long ago, but for the best, and models that have nothing left."""

from __future__ import annotations

from typing import NamedTuple

from peewee import JOIN, fn

from falcon_mnist.constants import ACTIVE
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.tables import EpochRow, ModelRow, ParameterRow, RunRow


class Ended(NamedTuple):
    """A run that has ended, with the validation accuracy of its last epoch and the size of its parameter file."""

    run_id: str
    state: str
    finished_at: str
    accuracy: float | None
    size_bytes: int | None


def prunable_runs(database: Database, *, before: str, keep_best: int) -> list[Ended]:
    """The runs that ended before a timestamp, oldest first, without the `keep_best` best ones of all that have ended.

    The best have the highest validation accuracy, which no choice among runs should take from the test images. A run
    whose parameter set an active run begins with is left out.
    """
    last = (EpochRow.run == RunRow.id) & (EpochRow.epoch == RunRow.epoch)
    columns = (RunRow.id, RunRow.state, RunRow.finished_at, EpochRow.val_accuracy, ParameterRow.size_bytes)
    query = RunRow.select(*columns).join(EpochRow, JOIN.LEFT_OUTER, on=last)
    query = query.join(ParameterRow, JOIN.LEFT_OUTER, on=(ParameterRow.run == RunRow.id))
    query = query.where(RunRow.state.not_in(ACTIVE)).order_by(RunRow.finished_at, RunRow.number).tuples()
    ended = [Ended(*row) for row in query.execute(database)]
    stored = [run for run in ended if run.size_bytes is not None]
    best = sorted(stored, key=lambda run: -1.0 if run.accuracy is None else run.accuracy, reverse=True)[:keep_best]
    kept = {run.run_id for run in best} | _used(database)
    return [run for run in ended if run.finished_at < before and run.run_id not in kept]


def empty_models(database: Database, *, before: str) -> list[str]:
    """Models made before a timestamp that have neither a run nor a parameter set."""
    runs = RunRow.select().where(RunRow.model == ModelRow.id)
    sets = ParameterRow.select().where(ParameterRow.model == ModelRow.id)
    query = ModelRow.select(ModelRow.id).where(ModelRow.created_at < before, ~fn.EXISTS(runs), ~fn.EXISTS(sets))
    return [model.id for model in query.order_by(ModelRow.number).execute(database)]


def _used(database: Database) -> set[str | None]:
    """The runs whose parameter sets active runs begin with."""
    starts = RunRow.select(RunRow.start_from).where(RunRow.state.in_(ACTIVE))
    return {row.run_id for row in ParameterRow.select().where(ParameterRow.id.in_(starts)).execute(database)}
