"""Reading and listing: what there is, as clients see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from falcon_mnist.constants import ACTIVE
from falcon_mnist.storage.rows import Rows
from falcon_mnist.storage.tables import EpochRow, ModelRow, ParameterRow, RunRow


class Epoch(NamedTuple):
    """A finished epoch of a run: tuples, because a run may have a thousand."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    lr: float | None  # of its last step; null, as the next two, where an earlier version trained
    seconds: float | None
    samples: int | None  # training rows


_EPOCHS = EpochRow.select(EpochRow.run, *(getattr(EpochRow, name) for name in Epoch._fields)).tuples()


class Reading(Rows):
    """Verbs that write nothing."""

    def models(self, *, limit: int, before: int | None = None) -> list[ModelRow]:
        """Up to `limit` models, newest first, all with a `number` under `before`."""
        return self._all(_newest(ModelRow, limit, before))

    def runs(
        self, *, limit: int, before: int | None = None, model_id: str | None = None, state: str | None = None
    ) -> list[RunRow]:
        """Up to `limit` runs, newest first: with a `number` under `before`, of this model, in this state."""
        query = _newest(RunRow, limit, before, model_id)
        return self._all(query if state is None else query.where(RunRow.state == state))

    def parameter_sets(
        self, *, limit: int, before: int | None = None, model_id: str | None = None
    ) -> list[ParameterRow]:
        """Up to `limit` parameter sets, newest first: with a `number` under `before`, of this model."""
        return self._all(_newest(ParameterRow, limit, before, model_id))

    def history(self, run_id: str) -> list[Epoch]:
        """The finished epochs of a run, in order."""
        query = _EPOCHS.where(EpochRow.run == run_id).order_by(EpochRow.epoch)
        return [Epoch(*row) for _, *row in query.execute(self._database)]

    def shown_epochs(self, runs: Sequence[RunRow]) -> dict[str, dict[int, Epoch]]:
        """Run id to the last finished epoch and that of best accuracy, by number, where there are any."""
        found: dict[str, dict[int, Epoch]] = {run.id: {} for run in runs}
        for number in (RunRow.epoch, RunRow.best_accuracy_epoch):  # each by itself: it is a key of the index
            shown = (EpochRow.run == RunRow.id) & (EpochRow.epoch == number)
            for run_id, *row in (
                _EPOCHS.join(RunRow, on=shown).where(RunRow.id.in_(list(found))).execute(self._database)
            ):
                found[run_id][row[0]] = Epoch(*row)
        return found

    def recorded_checkpoints(self) -> list[Any]:
        """What active runs resume from."""
        runs = self._all(RunRow.select(RunRow.checkpoint).where(RunRow.state.in_(ACTIVE)))
        return [run.checkpoint for run in runs if run.checkpoint]

    def all_parameters(self) -> list[ParameterRow]:
        """Every parameter set."""
        return self._all(ParameterRow.select())

    def parameter_ids(self) -> set[str]:
        """The id of every parameter set."""
        return {param_id for (param_id,) in ParameterRow.select(ParameterRow.id).tuples().execute(self._database)}


def _newest(table: Any, limit: int, before: int | None, model_id: str | None = None) -> Any:
    query = table.select().order_by(table.number.desc()).limit(limit)
    if before is not None:
        query = query.where(table.number < before)
    return query if model_id is None else query.where(table.model == model_id)
