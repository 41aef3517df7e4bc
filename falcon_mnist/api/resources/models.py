"""Models, and the runs that they are trained in."""

from __future__ import annotations

from typing import Any, ClassVar

import falcon

from falcon_mnist.api import paths, schemas
from falcon_mnist.api.auth import READ, WRITE
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.request import fingerprint, read_idempotency_key, read_json, read_query
from falcon_mnist.api.resources.base import Resource, answer, unknown_model
from falcon_mnist.api.resources.lists import read_page
from falcon_mnist.api.validation import overriding
from falcon_mnist.storage.removal import remove_model
from falcon_mnist.storage.tables import ModelRow
from falcon_mnist.training.hyperparams import normalised


class Models(Resource):
    """`/models`."""

    access: ClassVar = {"GET": READ, "POST": WRITE}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List all models, newest first."""
        store = self._service.store
        page, cursor = read_page(store, "models", read_query(req, "limit", "cursor"), store.models)
        answer(resp, {"items": [model_document(model) for model in page], "next_cursor": cursor})

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create a model."""
        body = read_json(req, self._service)
        wanted = self._parse(schemas.CreateModel, body)
        read_query(req)
        key = read_idempotency_key(req)
        with self._service.limits.write():
            model = self._service.store.create_model(
                wanted.architecture.model_dump(),
                wanted.hyperparams.model_dump(),
                key=key,
                fingerprint=fingerprint(body),
            )
        answer(resp, model_document(model))


class Model(Resource):
    """`/models/{model_id}`."""

    access: ClassVar = {"GET": READ, "DELETE": WRITE}

    def on_get(self, req: falcon.Request, resp: falcon.Response, model_id: str) -> None:
        """Show a model."""
        model = self._model(model_id)
        read_query(req)
        answer(resp, model_document(model))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, model_id: str) -> None:
        """Delete a model with its runs and parameter sets."""
        self._model(model_id)
        read_query(req)
        if self._remove(req, resp, remove_model, model_id) is None:
            raise unknown_model()


def model_document(model: ModelRow) -> dict[str, Any]:
    """A model as clients see it."""
    return {
        "model_id": model.id,
        "architecture": model.architecture,
        "hyperparams": normalised(model.hyperparams),
        "created_at": model.created_at,
    }


class Training(Resource):
    """`/models/{model_id}/train`."""

    access: ClassVar = {"POST": WRITE}

    def on_post(self, req: falcon.Request, resp: falcon.Response, model_id: str) -> None:
        """Queue a run; it outlives the request."""
        body = read_json(req, self._service, optional=True)
        model = self._model(model_id)
        whole = overriding(model.hyperparams, body)
        wanted = self._parse(schemas.StartTraining, whole, sent=body)
        read_query(req)
        self._check_start(wanted.start_from, model)
        key = read_idempotency_key(req)
        with self._service.limits.write():
            run = self._service.store.create_run(
                model,
                wanted.hyperparams.model_dump(),
                start_from=wanted.start_from,
                max_queued=self._service.settings.max_queued_runs,
                key=key,
                fingerprint=fingerprint(body),
            )
        self._service.executor.notify()
        req.context.run_id = run.id
        answer(resp, {"run_id": run.id, "model_id": model.id, "status": "queued"}, status=falcon.HTTP_202)
        resp.location = paths.RUN.format(run_id=run.id)

    def _check_start(self, param_id: str | None, model: ModelRow) -> None:
        """Raises a `Problem` unless a run of `model` can begin with this parameter set."""
        if param_id is None:
            return
        if self._model(self._parameters(param_id).model_id).architecture != model.architecture:
            raise Problem("other-architecture", "The architecture of start_from is not that of this model.")
