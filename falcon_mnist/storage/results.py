"""What a worker records of the run that it has claimed, under its `owner`, and what a parameter set reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from peewee import EXCLUDED, fn

from falcon_mnist.constants import FAILED, SUCCEEDED, FailureCode
from falcon_mnist.storage.rows import Rows, RunLostError, failure, held_by
from falcon_mnist.storage.tables import EpochRow, EvaluationRow, Meta, ParameterRow, RunRow

# The keys of `Meta` that hold a field of `Trained` begin with this.
_TOTAL = "trained_"


class Trained(NamedTuple):
    """What has been trained in the life of the database, also by runs that were removed since."""

    epochs: int
    samples: int  # training rows, counted once per epoch


class Results(Rows):
    """Verbs of a worker, from its claim to the end of the run."""

    def architecture(self, run: RunRow) -> Any:
        """The architecture of the run's model. Raises `RunLostError` if both were removed meanwhile."""
        model = self.model(run.model_id)
        if model is None:
            raise RunLostError(run.id)
        return model.architecture

    def record_basis(self, run_id: str, owner: str, *, dataset: Mapping[str, Any], isa: str) -> None:
        """Note what the run trains on and with: with others its bits would differ. Raises `RunLostError`."""
        self._update_held(run_id, owner, dataset=dataset, isa=isa)

    def record_checkpoint(self, run_id: str, owner: str, checkpoint: Mapping[str, Any] | None) -> None:
        """Note which file the run resumes from. Raises `RunLostError`."""
        self._update_held(run_id, owner, checkpoint=checkpoint, checkpointed_since_claim=True)

    def restart(self, run_id: str, owner: str) -> None:
        """Forget the epochs of an attempt with another basis. Raises `RunLostError`."""
        with self._database.writing():
            self._update_held(run_id, owner, epoch=0, best_epoch=0, best_accuracy_epoch=0, checkpoint=None)
            EpochRow.delete().where(EpochRow.run == run_id).execute(self._database)

    def record_epochs(
        self, run_id: str, owner: str, epochs: Mapping[int, Mapping[str, float | None]], *, best_epoch: int = 0
    ) -> None:
        """Add finished epochs: by number, counted from 1, their columns of `Epoch`. Raises `RunLostError`."""
        with self._database.writing():
            # After a crash, epochs since the last checkpoint are run again: to the same metrics, which stay.
            greatest = self._database.greatest
            changes = {
                "epoch": greatest(RunRow.epoch, max(epochs)),
                "best_epoch": greatest(RunRow.best_epoch, best_epoch),
            }
            self._update_held(run_id, owner, **changes)
            rows = [{"run": run_id, "epoch": epoch, **metrics} for epoch, metrics in epochs.items()]
            if added := EpochRow.insert_many(rows).on_conflict_ignore().as_rowcount().execute(self._database):
                self._note_best_accuracy(run_id)
                samples = int(epochs[max(epochs)].get("samples") or 0)  # of each: a run's epochs have as many
                self._add_to_totals(Trained(added, added * samples))

    def _note_best_accuracy(self, run_id: str) -> None:
        """Kept in the run, for lists: to find it among a thousand epochs of each run takes too long there."""
        measured = (EpochRow.run == run_id) & EpochRow.val_accuracy.is_null(False)
        ranked = EpochRow.select(EpochRow.epoch).where(measured).order_by(EpochRow.val_accuracy.desc(), EpochRow.epoch)
        best = fn.COALESCE(ranked.limit(1), 0)
        RunRow.update(best_accuracy_epoch=best).where(RunRow.id == run_id).execute(self._database)

    def _add_to_totals(self, trained: Trained) -> None:
        """Kept beside the epochs, whose rows may be removed: a total never falls."""
        rows = [{"key": _TOTAL + name, "value": str(count)} for name, count in trained._asdict().items()]
        total = (Meta.value.cast("BIGINT") + EXCLUDED.value.cast("BIGINT")).cast("TEXT")
        added = Meta.insert_many(rows).on_conflict(conflict_target=[Meta.key], update={Meta.value: total})
        added.execute(self._database)

    def trained(self) -> Trained:
        """Epochs and samples, counted when their epoch was recorded; 0 for what earlier versions recorded."""
        query = Meta.select(Meta.key, Meta.value).where(Meta.key.startswith(_TOTAL)).tuples()
        totals = {key.removeprefix(_TOTAL): int(value) for key, value in query.execute(self._database)}
        return Trained(*(totals.get(name, 0) for name in Trained._fields))

    def succeed(
        self, run_id: str, owner: str, param_id: str, *, size_bytes: int, sha256: str, evaluation: Any = None
    ) -> None:
        """End the run with its parameter set, whose file is on disk already, and what that reached on the test images.

        Raises `RunLostError`.
        """
        with self._database.writing():
            if not self._end(*held_by(run_id, owner), state=SUCCEEDED, param_id=param_id):
                raise RunLostError(run_id)
            run = RunRow.select(RunRow.model).where(RunRow.id == run_id).get(self._database)
            parameters = {"id": param_id, "run": run_id, "model": run.model_id, "size_bytes": size_bytes}
            created_at = self._clock.timestamp()
            ParameterRow.insert(**parameters, sha256=sha256, created_at=created_at).execute(self._database)
            if evaluation is not None:
                EvaluationRow.insert(param_id=param_id, evaluation=evaluation).execute(self._database)

    def fail(self, run_id: str, owner: str, code: FailureCode, message: str) -> bool:
        """End the run with an error; says whether it was still this owner's."""
        return self._end(*held_by(run_id, owner), state=FAILED, error=failure(code, message))

    def evaluation(self, param_id: str) -> Any:
        """What a parameter set reached on the test images; None if nobody has looked yet."""
        row = self._first(EvaluationRow, EvaluationRow.param_id == param_id)
        return row and row.evaluation

    def record_evaluation(self, param_id: str, evaluation: Any) -> Any:
        """Store an evaluation unless there is one already; returns the stored one, None if the set is gone."""
        with self._database.writing_alone():
            if self.parameters(param_id):
                row = EvaluationRow.insert(param_id=param_id, evaluation=evaluation)
                row.on_conflict_ignore().execute(self._database)
            return self.evaluation(param_id)
