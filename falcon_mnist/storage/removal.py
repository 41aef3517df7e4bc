"""Removal: models, runs and parameter sets go with all that belongs to them, rows first and then their files.

A file whose process ends in between is one that no row records, which `files.Sweeper` deletes. A model with a long
history goes in parts, run after run, each whole: SQLite has one writer, and others wait for a part and not for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from falcon_mnist.constants import ACTIVE
from falcon_mnist.storage.counts import uncount
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.files import Storage, discard
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.tables import EpochRow, EvaluationRow, ModelRow, ParameterRow, RunRow

# A transaction deletes runs until it has deleted so many epochs, which takes less than a tenth of a second.
EPOCHS_AT_ONCE = 10_000
# To delete a run without epochs takes as long as to delete so many epochs.
_EPOCHS_OF_A_RUN = 50
# A writer that waits for SQLite's lock tries again after this many seconds at the latest.
_PAUSE_SECONDS = 0.1


class InUseError(Exception):
    """A run that needs what was to be removed is queued or running; the message is one sentence."""


class Removed(NamedTuple):
    """What went, and the checkpoints whose files are still there."""

    runs: int
    param_ids: tuple[str, ...]
    checkpoints: tuple[str, ...]
    more: bool = False  # whether this was a part, and others are left


def remove_model(database: Database, model_id: str, *, epochs_at_once: int = EPOCHS_AT_ONCE) -> Removed | None:
    """Delete the rows of a model, its runs and its parameter sets; None if there is no such model.

    Where those are many, delete a part of its runs, the oldest, with their parameter sets. Raises `InUseError`.
    """
    with database.writing_alone():
        if not ModelRow.select().where(ModelRow.id == model_id).exists(database):
            return None
        runs, sets = RunRow.model == model_id, ParameterRow.model == model_id
        _check_unused(database, runs, sets)  # also for a part: a refusal leaves all there is
        if (last := _last_of_part(database, runs, epochs_at_once)) is not None:
            part = runs & (RunRow.number <= last)
            return _remove(database, runs=part, sets=_of_runs(part))._replace(more=True)
        removed = _remove(database, runs=runs, sets=sets)
        ModelRow.delete().where(ModelRow.id == model_id).execute(database)
        return removed


def _last_of_part(database: Database, runs: Any, epochs_at_once: int) -> int | None:
    """The number of the last run that one transaction deletes; None where it deletes all."""
    found = RunRow.select(RunRow.number, RunRow.epoch).where(runs).order_by(RunRow.number)
    epochs = 0
    for run in found.limit(epochs_at_once // _EPOCHS_OF_A_RUN + 1).execute(database):
        epochs += run.epoch + _EPOCHS_OF_A_RUN
        if epochs > epochs_at_once:
            return int(run.number)
    return None


def _of_runs(runs: Any) -> Any:
    return ParameterRow.run.in_(RunRow.select(RunRow.id).where(runs))


def remove_run(database: Database, run_id: str) -> Removed | None:
    """Delete the rows of a run and its parameter set; None if there is no such run. Raises `InUseError`."""
    with database.writing_alone():
        removed = _remove(database, runs=RunRow.id == run_id, sets=ParameterRow.run == run_id)
        return removed if removed.runs else None


def remove_parameters(database: Database, param_id: str) -> Removed | None:
    """Delete the rows of a parameter set, whose run stays; None if there is no such set. Raises `InUseError`."""
    with database.writing_alone():
        of_no_run = RunRow.id == ""  # for which an index is asked: `IS NULL` would be asked of each run
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
    uncount(database, runs)
    EpochRow.delete().where(EpochRow.run.in_(RunRow.select(RunRow.id).where(runs))).execute(database)
    RunRow.delete().where(runs).execute(database)
    return Removed(len(found), param_ids, tuple(run.checkpoint["file"] for run in found if run.checkpoint))


def _check_unused(database: Database, runs: Any, sets: Any) -> None:
    starts = RunRow.start_from.in_(ParameterRow.select(ParameterRow.id).where(sets))
    of_sets = RunRow.id.in_(ParameterRow.select(ParameterRow.run).where(sets))
    query = RunRow.select(RunRow.id, RunRow.state).where(RunRow.state.in_(ACTIVE), runs | starts | of_sets)
    if (user := query.first(database)) is not None:
        raise InUseError(f"Run {user.id} is {user.state} and needs it: wait for it, or cancel it first.")


def _together(parts: list[Removed]) -> Removed:
    param_ids = tuple(param_id for part in parts for param_id in part.param_ids)
    checkpoints = tuple(name for part in parts for name in part.checkpoints)
    return Removed(sum(part.runs for part in parts), param_ids, checkpoints)


class Remover:
    """Removes rows and files; any number of servers and commands may do so beside each other."""

    def __init__(
        self,
        database: Database,
        parameters: ParameterFiles,
        checkpoints: Storage,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """It will `wait` for so many seconds between two parts, so that others can write."""
        self._database = database
        self._parameters = parameters
        self._checkpoints = checkpoints
        self._wait = wait

    def remove(
        self,
        which: Callable[[Database, str], Removed | None],
        row_id: str,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Removed | None:
        """Call one of the functions above until nothing is left, delete the files, and give room back to the disk.

        Each transaction is within a `turn()`, which may limit how many write at the same time. None if there is no such
        row (any more). Raises `InUseError`, also where a run was added between two parts, and then the rest is left.
        """
        parts: list[Removed] = []
        while not parts or parts[-1].more:
            if parts:
                self._wait(_PAUSE_SECONDS)
            with turn():
                part = which(self._database, row_id)
            if part is None:
                return None
            _each_until_one_fails(self._parameters.discard, part.param_ids)
            _each_until_one_fails(partial(discard, self._checkpoints), part.checkpoints)
            parts.append(part)
        while self._database.give_back():
            self._wait(_PAUSE_SECONDS)
        return _together(parts)


def _each_until_one_fails(act: Callable[[str], bool], names: Iterable[str]) -> None:
    """The next would only wait, as that one has, for a storage that does not answer."""
    for name in names:
        if not act(name):
            break
