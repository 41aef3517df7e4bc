"""The endpoints. Each responder reads a request, asks the service, and writes the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import falcon
import numpy as np
import numpy.typing as npt
import orjson

from falcon_mnist.api import schemas
from falcon_mnist.api.auth import PUBLIC, READ, WRITE
from falcon_mnist.api.errors import Fault, Problem, invalid_fields
from falcon_mnist.api.json_body import decode
from falcon_mnist.api.request import (
    BINARY,
    JSON,
    fingerprint,
    read_body,
    read_cursor,
    read_idempotency_key,
    read_json,
    read_limit,
    read_query,
    write_cursor,
)
from falcon_mnist.api.service import Service
from falcon_mnist.constants import CANCELLED, MAX_ROWS, METRICS, PIXELS, SUCCEEDED, Array
from falcon_mnist.inference import predictors as inference
from falcon_mnist.storage.files import Written
from falcon_mnist.storage.parameter_files import MEDIA_TYPE as SAFETENSORS
from falcon_mnist.storage.store import Conflict, Refused
from falcon_mnist.storage.tables import EpochRow, ModelRow, RunRow
from falcon_mnist.training import network
from falcon_mnist.training.hyperparams import Hyperparams


class Resource:
    """Base of all resources; `access` says for each method who may call it, and nobody may call any other."""

    access: ClassVar[Mapping[str, str]] = {}

    def __init__(self, service: Service) -> None:
        self._service = service

    def __init_subclass__(cls) -> None:
        """HEAD is GET without the body (RFC 9110, section 9.3.2), which Falcon leaves out."""
        if on_get := getattr(cls, "on_get", None):
            cls.on_head = on_get  # type: ignore[attr-defined]

    def _parse(self, schema: type[schemas.Body], body: Mapping[str, Any]) -> schemas.Body:
        return schemas.parse(schema, body, max_parameters=self._service.settings.max_parameters)

    def _model(self, model_id: str) -> ModelRow:
        if model := self._service.store.model(model_id):
            return model
        raise Problem("unknown-model", "There is no model with this model_id.")

    def _run(self, run_id: str) -> RunRow:
        if run := self._service.store.run(run_id):
            return run
        raise Problem("unknown-run", "There is no run with this run_id.")

    def _run_documents(self, runs: Sequence[RunRow]) -> list[dict[str, Any]]:
        histories, param_ids = self._service.store.histories(runs), self._service.store.param_ids(runs)
        return [run_document(run, histories[run.id], param_ids.get(run.id)) for run in runs]


class Models(Resource):
    """`/models`."""

    access: ClassVar = {"POST": WRITE}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create a model."""
        body = read_json(req, self._service)
        wanted = self._parse(schemas.CreateModel, body)
        read_query(req)
        model = self._service.store.create_model(
            wanted.architecture.model_dump(),
            wanted.hyperparams.model_dump(),
            key=read_idempotency_key(req),
            fingerprint=fingerprint(body),
        )
        answer(
            resp,
            {
                "model_id": model.id,
                "architecture": model.architecture,
                "hyperparams": model.hyperparams,
                "created_at": model.created_at,
            },
        )


class Training(Resource):
    """`/models/{model_id}/train`."""

    access: ClassVar = {"POST": WRITE}

    def on_post(self, req: falcon.Request, resp: falcon.Response, model_id: str) -> None:
        """Queue a run; it outlives the request."""
        body = read_json(req, self._service, optional=True)
        model = self._model(model_id)
        changes = self._parse(schemas.StartTraining, body).hyperparams
        read_query(req)
        run = self._service.store.create_run(
            model,
            Hyperparams.model_validate(model.hyperparams).merged(changes).model_dump(),
            max_queued=self._service.settings.max_queued_runs,
            key=read_idempotency_key(req),
            fingerprint=fingerprint(body),
        )
        self._service.executor.notify()
        req.context.run_id = run.id
        answer(resp, {"run_id": run.id, "model_id": model.id, "status": "queued"}, status=falcon.HTTP_202)
        resp.location = f"/api/runs/{run.id}"


class ModelRuns(Resource):
    """`/models/{model_id}/runs`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response, model_id: str) -> None:
        """List the model's runs, newest first."""
        self._model(model_id)
        query = read_query(req, "limit", "cursor")
        limit = read_limit(query)
        key = self._service.store.cursor_key
        before = read_cursor(key, model_id, query.get("cursor"))
        with self._service.store.snapshot():
            runs = self._service.store.runs(model_id, limit=limit + 1, before=before)
            page = runs[:limit]
            items = self._run_documents(page)
        cursor = write_cursor(key, model_id, page[-1].number) if len(runs) > limit else None
        answer(resp, {"items": items, "next_cursor": cursor})


class Run(Resource):
    """`/runs/{run_id}`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        """Show how far a run has come."""
        with self._service.store.snapshot():
            run = self._run(run_id)
            read_query(req)
            document = self._run_documents([run])[0]
        answer(resp, document)


class Cancellation(Resource):
    """`/runs/{run_id}/cancel`."""

    access: ClassVar = {"POST": WRITE}

    def on_post(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        """End a queued or running run; one that was cancelled before is answered as it is."""
        body = read_json(req, self._service, optional=True)
        self._run(run_id)
        self._parse(schemas.Nothing, body)
        read_query(req)
        cancelled = self._service.store.cancel(run_id)
        run = self._run(run_id)
        if not cancelled and run.state != CANCELLED:
            raise Problem("run-finished", f"The run has {run.state} already and cannot be cancelled.")
        answer(resp, self._run_documents([run])[0])


class Parameters(Resource):
    """`/params/{param_id}`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response, param_id: str) -> None:
        """Answer a parameter set as JSON or as its safetensors file."""
        row = self._service.store.parameters(param_id)
        if row is None:
            raise _unknown_parameters()
        wanted = _wanted_format(req)
        resp.etag = row.sha256 if wanted == SAFETENSORS else f"{row.sha256}-json"
        resp.append_header("Vary", "Accept")
        resp.cache_control = ["private", "max-age=31536000", "immutable"]
        if any(tag == "*" or tag == resp.etag.strip('"') for tag in req.if_none_match or ()):
            resp.status = falcon.HTTP_304
            return
        written = Written(row.size_bytes, row.sha256)
        if wanted == SAFETENSORS:
            resp.data = self._service.files.read_bytes(param_id, written)
            resp.content_type = SAFETENSORS
            return
        architecture = self._model(row.model_id).architecture
        parameters = self._service.files.read(param_id, written, architecture)
        layers = network.named(architecture, network.build(architecture), parameters)
        answer(
            resp,
            {
                "param_id": param_id,
                "model_id": row.model_id,
                "parameters": {"layers": layers, "dtype": "float32", "layout": "row_major"},
                "size_bytes": row.size_bytes,
            },
        )


class Inference(Resource):
    """`/infer`."""

    access: ClassVar = {"POST": READ}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Infer with a stored parameter set, from JSON or binary rows."""
        media_type, body = read_body(req, self._service, JSON, BINARY)
        if media_type == BINARY:
            param_id, rows, returns = _binary_request(req, body)
        else:
            document = decode(body, max_numbers=self._service.max_numbers)
            wanted = self._parse(schemas.Infer, document)
            read_query(req)
            param_id, rows, returns = wanted.param_id, wanted.inputs, wanted.returns
        predictor = self._service.predictors.get(param_id)
        if predictor is None:
            raise _unknown_parameters()
        answer(resp, {"model_id": predictor.model_id, "param_id": param_id} | _predict(predictor, rows, returns))


class AdhocInference(Resource):
    """`/infer_adhoc`."""

    access: ClassVar = {"POST": READ}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Infer with the parameters in the body; nothing is stored."""
        document = read_json(req, self._service)
        wanted = self._parse(schemas.InferAdhoc, document)
        read_query(req)
        layers = [
            (layer.W, layer.b) for layer in wanted.parameters.layers if isinstance(layer, schemas.LinearParameters)
        ]
        predictor = inference.adhoc(wanted.architecture.model_dump(), layers)
        answer(resp, _predict(predictor, wanted.inputs, wanted.returns))


class Health(Resource):
    """`/healthz`: the process answers."""

    access: ClassVar = {"GET": PUBLIC}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Always 200."""
        answer(resp, {"status": "live"})


class Readiness(Resource):
    """`/readyz`: requests can be served."""

    access: ClassVar = {"GET": PUBLIC}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 if the database answers and the server is not about to end, else 503."""
        if self._service.draining.is_set():
            raise Problem("not-ready", "The service is about to end.", headers={"Retry-After": "5"})
        try:
            self._service.store.check()
        except Exception as error:
            raise Problem("not-ready", "The service is not ready.", headers={"Retry-After": "5"}) from error
        answer(resp, {"status": "ready"})


def answer(resp: falcon.Response, document: Mapping[str, Any], *, status: str = falcon.HTTP_200) -> None:
    """Write `document` as JSON; float32 arrays in the shortest form that reads back to the same numbers."""
    resp.status = status
    resp.content_type = JSON
    resp.data = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def run_document(run: RunRow, history: Sequence[EpochRow], param_id: str | None) -> dict[str, Any]:
    """A run as the API shows it."""
    entries = [{"epoch": row.epoch} | {name: getattr(row, name) for name in METRICS} for row in history]
    latest = entries[-1] if entries else {}
    document: dict[str, Any] = {
        "run_id": run.id,
        "model_id": run.model_id,
        "state": run.state,
        "epoch": run.epoch,
        "epochs_total": run.hyperparams["epochs"],
        "metrics": {name: latest.get(name) for name in METRICS},
        "hyperparams": run.hyperparams,
        "dataset": run.dataset,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "history": entries,
    }
    if run.state == SUCCEEDED:
        document["param_id"] = param_id
    if run.error is not None:
        document["error"] = run.error
    return document


_KINDS_OF_REFUSALS = {
    Refused.KEY_REUSED: "idempotency-key-reused",
    Refused.OTHER_HYPERPARAMS: "conflicting-hyperparams",
    Refused.QUEUE_FULL: "queue-full",
}


def refused(conflict: Conflict) -> Problem:
    """The problem of a write that the store refused."""
    retry = {"Retry-After": "10"} if conflict.reason == Refused.QUEUE_FULL else None
    return Problem(_KINDS_OF_REFUSALS[conflict.reason], conflict.detail, headers=retry)


def _unknown_parameters() -> Problem:
    return Problem("unknown-parameters", "There is no parameter set with this param_id.")


def _wanted_format(req: falcon.Request) -> str:
    name = read_query(req, "format").get("format")
    if name not in (None, "json", "safetensors"):
        raise invalid_fields([Fault("/format", "must be json or safetensors")])
    if name is None:
        return req.client_prefers((JSON, SAFETENSORS)) or JSON
    return SAFETENSORS if name == "safetensors" else JSON


def _binary_request(req: falcon.Request, body: bytes) -> tuple[str, Array | npt.NDArray[np.uint8], schemas.Return]:
    """The rows of a binary body, and what its query says of them; raises a 422 `Problem`."""
    query = read_query(req, "param_id", "dtype", "return")
    faults = []
    if "param_id" not in query:
        faults.append(Fault("/param_id", "is required"))
    dtype = query.get("dtype", "float32")
    if dtype not in ("float32", "uint8"):
        faults.append(Fault("/dtype", "must be float32 or uint8"))
    names = query.get("return", "probabilities,labels").split(",")
    if unknown := [name for name in names if name not in schemas.Return.model_fields]:
        faults.append(Fault("/return", f"must name logits, probabilities or labels, not {unknown[0][:40]!r}"))
    if faults:
        raise invalid_fields(faults)
    rows: npt.NDArray[Any] = np.frombuffer(body, dtype=np.uint8)
    width = PIXELS * (4 if dtype == "float32" else 1)
    count, rest = divmod(len(body), width)
    if rest or not 1 <= count <= MAX_ROWS:
        detail = f"must be 1 to {MAX_ROWS} rows of {width} bytes, but has {len(body)} bytes"
        raise invalid_fields([Fault("/inputs", detail)])
    if dtype == "float32":
        rows = rows.view("<f4").astype(np.float32, copy=False)
        if not np.isfinite(rows).all():
            row, column = divmod(int(np.flatnonzero(~np.isfinite(rows))[0]), PIXELS)
            raise invalid_fields([Fault(f"/inputs/{row}/{column}", "must be finite")])
    returns = schemas.Return(**{name: name in names for name in schemas.Return.model_fields})
    return query["param_id"], rows.reshape(count, PIXELS), returns


def _predict(
    predictor: inference.Predictor, rows: Array | npt.NDArray[np.uint8], returns: schemas.Return
) -> dict[str, Any]:
    logits, milliseconds = predictor(rows)
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        detail = "is so large that the network's output for it is beyond the range of float32"
        raise invalid_fields([Fault(f"/inputs/{row}", detail)])
    found = inference.outputs(
        logits,
        want_logits=returns.logits,
        want_probabilities=returns.probabilities,
        want_labels=returns.labels,
    )
    return {"outputs": found, "latency_ms": round(milliseconds, 4)}
