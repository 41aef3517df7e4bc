"""Making models, runs and parameter sets: once for each idempotency key, and only what the rules allow.

Each holds the lock of `writing_alone`: what it has found, or found missing, stays so until it has written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from falcon_mnist.constants import ACTIVE, QUEUED
from falcon_mnist.storage.files import Written
from falcon_mnist.storage.rows import Rows
from falcon_mnist.storage.tables import ModelRow, ParameterRow, RunRow
from falcon_mnist.training.hyperparams import normalised

log = logging.getLogger(__name__)

_Made = TypeVar("_Made", ModelRow, RunRow, ParameterRow)


class Refused(StrEnum):
    """Why the store does not do what it was asked for."""

    KEY_REUSED = "the idempotency key was used before with another body"
    OTHER_HYPERPARAMS = "an active run of the model has other hyperparameters"
    QUEUE_FULL = "too many runs are queued"
    MODEL_REMOVED = "the model was removed meanwhile"
    START_REMOVED = "the parameter set in start_from was removed meanwhile"


class Conflict(Exception):
    """A write that the present state does not allow: `reason` for programs, `detail` for people."""

    def __init__(self, reason: Refused, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Making(Rows):
    """Verbs that add a row for a client."""

    def create_model(
        self,
        architecture: Mapping[str, Any],
        hyperparams: Mapping[str, Any],
        *,
        key: str | None = None,
        fingerprint: str | None = None,
    ) -> ModelRow:
        """A new model; with an idempotency `key` that was used before, the model that it made then.

        Raises `Conflict` if the key was used with another body.
        """
        with self._database.writing_alone():
            if key and (earlier := self._first(ModelRow, ModelRow.idempotency_key == key)):
                return _same(earlier, fingerprint)
            model = ModelRow(
                id=self._new_id("m"),
                architecture=architecture,
                hyperparams=hyperparams,
                created_at=self._clock.timestamp(),
                idempotency_key=key,
                fingerprint=fingerprint,
            )
            model.number = self._insert(model)
            return model

    def create_run(
        self,
        model: ModelRow,
        hyperparams: Mapping[str, Any],
        *,
        max_queued: int,
        start_from: str | None = None,
        key: str | None = None,
        fingerprint: str | None = None,
    ) -> RunRow:
        """A new queued run; with an idempotency `key` that was used before, the run that it made then.

        Raises `Conflict` if the key was used with another body, if an active run of the model has other
        hyperparameters or another `start_from` (a parameter set's id), if the queue is full, or if the model or that
        set was removed meanwhile.
        """
        with self._database.writing_alone():
            of_model = RunRow.model == model.id
            if key and (earlier := self._first(RunRow, of_model, RunRow.idempotency_key == key)):
                return _same(earlier, fingerprint)
            if self.model(model.id) is None:
                raise Conflict(Refused.MODEL_REMOVED, "There is no model with this model_id any more.")
            if start_from is not None and self.parameters(start_from) is None:
                raise Conflict(Refused.START_REMOVED, "There is no parameter set start_from any more.")
            unfinished = RunRow.select().where(of_model, RunRow.state.in_(ACTIVE)).order_by(RunRow.number)
            for active in self._all(unfinished):
                if (normalised(active.hyperparams), active.start_from) != (normalised(hyperparams), start_from):
                    raise Conflict(
                        Refused.OTHER_HYPERPARAMS,
                        f"Run {active.id} of this model is {active.state} with other hyperparameters or another "
                        "start_from: wait for it, cancel it, or create another model.",
                    )
            if RunRow.select().where(RunRow.state == QUEUED).count(self._database) >= max_queued:
                raise Conflict(Refused.QUEUE_FULL, f"{max_queued} runs are queued already: try again later.")
            run = RunRow(
                id=self._new_id("r"),
                model=model.id,
                state=QUEUED,
                hyperparams=hyperparams,
                start_from=start_from,
                created_at=self._clock.timestamp(),
                idempotency_key=key,
                fingerprint=fingerprint,
            )
            run.number = self._insert(run)
        log.info("run queued", extra={"run_id": run.id, "model_id": model.id})
        return run

    def import_parameters(
        self,
        param_id: str,
        architecture: Mapping[str, Any],
        hyperparams: Mapping[str, Any],
        written: Written,
        *,
        key: str | None = None,
        fingerprint: str | None = None,
    ) -> ParameterRow:
        """A parameter set whose file is stored already, and the model that it is of.

        With an idempotency `key` that was used before, the set that it made then. Raises `Conflict` if the key was
        used with another body.
        """
        with self._database.writing_alone():
            if earlier := self.imported(key, fingerprint):
                return earlier
            model = ModelRow(
                id=self._new_id("m"),
                architecture=architecture,
                hyperparams=hyperparams,
                created_at=self._clock.timestamp(),
            )
            self._insert(model)
            row = ParameterRow(
                id=param_id,
                model=model.id,
                **written._asdict(),
                created_at=model.created_at,
                idempotency_key=key,
                fingerprint=fingerprint,
            )
            self._insert(row)
            return row

    def imported(self, key: str | None, fingerprint: str | None) -> ParameterRow | None:
        """The parameter set that was imported under this idempotency key. Raises `Conflict` as that does."""
        earlier = self._first(ParameterRow, ParameterRow.idempotency_key == key) if key else None
        return earlier and _same(earlier, fingerprint)


def _same(earlier: _Made, fingerprint: str | None) -> _Made:
    if earlier.fingerprint != fingerprint:
        raise Conflict(Refused.KEY_REUSED, "This idempotency key was used before with another body.")
    return earlier
