"""What all resources have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import falcon

from falcon_mnist.api import validation
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.json_answer import dumps
from falcon_mnist.api.request import JSON, query_fault, read_query
from falcon_mnist.api.service import Service
from falcon_mnist.data.dataset import DataError, Dataset
from falcon_mnist.exchange.formats import FORMATS
from falcon_mnist.storage.database import Database
from falcon_mnist.storage.removal import Removed
from falcon_mnist.storage.tables import ModelRow, ParameterRow, RunRow

# Longer than any that lists each media type there is; Falcon keeps the headers that it has parsed.
_MAX_ACCEPT = 1000

log = logging.getLogger(__name__)


class Resource:
    """Base of all resources; `access` says for each method who may call it, and nobody may call any other."""

    access: ClassVar[Mapping[str, str]] = {}
    # What is asked every few seconds by a program: only what it is refused is worth a line in the log.
    is_probe: ClassVar[bool] = False

    def __init__(self, service: Service) -> None:
        self._service = service

    def __init_subclass__(cls) -> None:
        """HEAD is GET without the body (RFC 9110, section 9.3.2), which Falcon leaves out."""
        if on_get := getattr(cls, "on_get", None):
            cls.on_head = on_get  # type: ignore[attr-defined]

    def _parse(
        self, schema: type[validation.Body], body: Mapping[str, Any], *, sent: Mapping[str, Any] | None = None
    ) -> validation.Body:
        return validation.parse(schema, body, max_parameters=self._service.settings.max_parameters, sent=sent)

    def _model(self, model_id: str) -> ModelRow:
        if model := self._service.store.model(model_id):
            return model
        raise unknown_model()

    def _model_of(self, row: ParameterRow) -> ModelRow:
        """The model of parameters that were there; without it they have been removed meanwhile."""
        if model := self._service.store.model(row.model_id):
            return model
        raise unknown_parameters()

    def _run(self, run_id: str) -> RunRow:
        if run := self._service.store.run(run_id):
            return run
        raise unknown_run()

    def _parameters(self, param_id: str) -> ParameterRow:
        if row := self._service.store.parameters(param_id):
            return row
        raise unknown_parameters()

    def _data(self) -> Dataset:
        try:
            return self._service.datasets.load()
        except DataError:
            raise Problem(
                "no-test-data", "This server has no data set yet: `falcon-mnist data info` makes it."
            ) from None

    def _remove(
        self, req: falcon.Request, resp: falcon.Response, which: Callable[[Database, str], Removed | None], row_id: str
    ) -> Removed | None:
        """Answer 204 for what `which` removes, and say so in the log; None if another request was faster."""
        limits = self._service.limits
        with limits.removals.held(1):
            removed = self._service.remover.remove(which, row_id, limits.write)
        if removed is not None:
            self._service.predictors.forget(removed.param_ids)
            facts = {"runs": removed.runs, "parameter_sets": len(removed.param_ids), "token": req.context.holder.name}
            log.info("%s removed", row_id, extra={"request_id": req.context.request_id} | facts)
            resp.status = falcon.HTTP_204
        return removed


def unknown_model() -> Problem:
    """The problem of a `model_id` that names nothing."""
    return Problem("unknown-model", "There is no model with this model_id.")


def unknown_run() -> Problem:
    """The problem of a `run_id` that names nothing."""
    return Problem("unknown-run", "There is no run with this run_id.")


def unknown_parameters() -> Problem:
    """The problem of a `param_id` that names nothing."""
    return Problem("unknown-parameters", "There is no parameter set with this param_id.")


def client_has(req: falcon.Request, resp: falcon.Response, etag: str) -> bool:
    """Whether the client has the answer with this tag, which is then a 304; caches ask again each time."""
    resp.etag = etag
    resp.cache_control = ["private", "no-cache"]
    has = any(tag in ("*", etag) for tag in req.if_none_match or ())
    if has:
        resp.status = falcon.HTTP_304
    return has


def wanted_format(req: falcon.Request, names: Iterable[str]) -> str:
    """Which of these `FORMATS` to answer in; raises a 400, 406 or 422 `Problem`."""
    name = read_query(req, "format").get("format")
    if name is not None:
        if name not in names:
            raise query_fault("format", f"must be {' or '.join(names)}", name)
        return name
    if len(req.accept) > _MAX_ACCEPT:
        raise Problem("malformed-request", f"Accept may have at most {_MAX_ACCEPT} characters.")
    by_media_type = {FORMATS[name].media_type: name for name in names}
    preferred = req.client_prefers(list(by_media_type))
    if preferred is None:
        raise Problem("not-acceptable", f"Accept must allow {' or '.join(by_media_type)}.")
    return by_media_type[preferred]


def answer(resp: falcon.Response, document: Mapping[str, Any], *, status: str = falcon.HTTP_200) -> None:
    """Write `document` as JSON; float32 arrays in the shortest form that reads back to the same numbers."""
    resp.status = status
    resp.content_type = JSON
    resp.data = dumps(document)
