"""Removal: models, runs and parameter sets go with all that belongs to them, rows first and then their files.

A file whose process ends in between is one that no row records, which `files.Sweeper` deletes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from falcon_mnist.constants import ACTIVE
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.files import Storage
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.tables import EpochRow, EvaluationRow, ModelRow, ParameterRow, RunRow

log = logging.getLogger(__name__)


class InUseError(Exception):
    """A run that needs what was to be removed is queued or running; the message is one sentence."""


class Removed(NamedTuple):
    """What went, and the checkpoints whose files are still there."""

    runs: int
    param_ids: tuple[str, ...]
    checkpoints: tuple[str, ...]


def remove_model(database: Database, model_id: str) -> Removed | None:
    """Delete the rows of a model, its runs and its parameter sets; None if there is no such model.

    Raises `InUseError`.
    """
    with database.writing_alone():
        if not ModelRow.select().where(ModelRow.id == model_id).exists(database):
            return None
        removed = _remove(database, runs=RunRow.model == model_id, sets=ParameterRow.model == model_id)
        ModelRow.delete().where(ModelRow.id == model_id).execute(database)
        return removed


def remove_run(database: Database, run_id: str) -> Removed | None:
    """Delete the rows of a run and its parameter set; None if there is no such run. Raises `InUseError`."""
    with database.writing_alone():
        removed = _remove(database, runs=RunRow.id == run_id, sets=ParameterRow.run == run_id)
        return removed if removed.runs else None


def remove_parameters(database: Database, param_id: str) -> Removed | None:
    """Delete the rows of a parameter set, whose run stays; None if there is no such set. Raises `InUseError`."""
    with database.writing_alone():
        of_no_run = RunRow.id.is_null()
        removed = _remove(database, runs=of_no_run, sets=ParameterRow.id == param_id)
        return removed if removed.param_ids else None


def _remove(database: Database, *, runs: Any, sets: Any) -> Removed:
    _check_unused(database, runs, sets)  # first: from then on, no run of them changes
    param_ids = tuple(row.id for row in ParameterRow.select(ParameterRow.id).where(sets).execute(database))
    found = list(RunRow.select(RunRow.id, RunRow.checkpoint).where(runs).execute(database))
    EvaluationRow.delete().where(EvaluationRow.param_id.in_(ParameterRow.select(ParameterRow.id).where(sets))).execute(
        database
    )
    ParameterRow.delete().where(sets).execute(database)
    EpochRow.delete().where(EpochRow.run.in_(RunRow.select(RunRow.id).where(runs))).execute(database)
    RunRow.delete().where(runs).execute(database)
    return Removed(len(found), param_ids, tuple(run.checkpoint["file"] for run in found if run.checkpoint))


def _check_unused(database: Database, runs: Any, sets: Any) -> None:
    starts = RunRow.start_from.in_(ParameterRow.select(ParameterRow.id).where(sets))
    of_sets = RunRow.id.in_(ParameterRow.select(ParameterRow.run).where(sets))
    query = RunRow.select(RunRow.id, RunRow.state).where(RunRow.state.in_(ACTIVE), runs | starts | of_sets)
    if (user := query.first(database)) is not None:
        raise InUseError(f"Run {user.id} is {user.state} and needs it: wait for it, or cancel it first.")


class Remover:
    """Removes rows and files; any number of servers and commands may do so beside each other."""

    def __init__(self, database: Database, parameters: ParameterFiles, checkpoints: Storage) -> None:
        self._database = database
        self._parameters = parameters
        self._checkpoints = checkpoints

    def remove(self, which: Callable[[Database, str], Removed | None], row_id: str) -> Removed | None:
        """What one of the functions above removes, with its files and its room. Raises `InUseError`."""
        removed = which(self._database, row_id)
        if removed is not None:
            for param_id in removed.param_ids:
                self._delete(self._parameters.remove, param_id)
            for name in removed.checkpoints:
                self._delete(self._checkpoints.delete, name)
            self._database.give_back()
        return removed

    @staticmethod
    def _delete(delete: Callable[[str], None], name: str) -> None:
        try:
            delete(name)
        except OSError as error:
            log.error("the file of %s cannot be deleted, a sweep tries again: %s", name, error.strerror)
