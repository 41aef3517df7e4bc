"""Inference: with a stored parameter set, or with one in the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import falcon
import numpy as np
import numpy.typing as npt

from falcon_mnist.api import schemas, validation
from falcon_mnist.api.auth import READ
from falcon_mnist.api.errors import Fault, invalid_fields
from falcon_mnist.api.json_body import decode
from falcon_mnist.api.request import BINARY, JSON, Params, known_query, read_body, read_json, read_query
from falcon_mnist.api.resources.base import Resource, answer, unknown_parameters
from falcon_mnist.api.sentences import shortly
from falcon_mnist.api.service import Service
from falcon_mnist.constants import MAX_ROWS, PIXELS, Array
from falcon_mnist.inference import likeness
from falcon_mnist.inference import predictors as inference


class Wanted(NamedTuple):
    """What a request asks for."""

    param_id: str
    rows: Array | npt.NDArray[np.uint8]  # (n, 784)
    returns: schemas.Return


class Inference(Resource):
    """`/infer`."""

    access: ClassVar = {"POST": READ}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Infer with a stored parameter set, from JSON or binary rows."""
        media_type, body = read_body(req, self._service, JSON, BINARY)
        if media_type == BINARY:
            wanted = wanted_by_bytes(body, req.params)
        else:
            document = decode(body, max_numbers=self._service.max_numbers)
            wanted = wanted_by_json(self._service, document, req.params)
        predictor = self._service.predictors.get(wanted.param_id)
        if predictor is None:
            raise unknown_parameters()
        answer(resp, answer_of(self._service, predictor, wanted))


class AdhocInference(Resource):
    """`/infer_adhoc`."""

    access: ClassVar = {"POST": READ}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Infer with the parameters in the body; nothing is stored."""
        document = read_json(req, self._service)
        wanted = self._parse(schemas.InferAdhoc, document)
        read_query(req)
        predictor = inference.adhoc(wanted.architecture.model_dump(), wanted.parameters.pairs)
        answer(resp, _prediction(self._service, predictor, wanted.inputs, wanted.returns))


def wanted_by_json(service: Service, document: Mapping[str, Any], params: Params) -> Wanted:
    """What a decoded body asks for; raises a `Problem`."""
    wanted = validation.parse(schemas.Infer, document, max_parameters=service.settings.max_parameters)
    known_query(params)
    return Wanted(wanted.param_id, wanted.inputs, wanted.returns)


def wanted_by_bytes(body: bytes, params: Params) -> Wanted:
    """The rows of a binary body, and what its query says of them; raises a 422 `Problem`."""
    query = known_query(params, "param_id", "dtype", "return")
    faults = []
    if "param_id" not in query:
        faults.append(Fault("/param_id", "is required"))
    dtype = query.get("dtype")  # without a default: four rows of bytes are as long as one of floats
    if dtype not in ("float32", "uint8"):
        meanings = "uint8 (a byte a pixel, 0 to 255) or float32 (0 to 1, little-endian)"
        rule = f"must be {meanings}, but is {shortly(dtype)}" if dtype else f"is required with bytes: {meanings}"
        faults.append(Fault("/dtype", rule))
    names = query.get("return", "probabilities,labels").split(",")
    if unknown := [name for name in names if name not in schemas.Return.model_fields]:
        faults.append(Fault("/return", f"must name logits, probabilities or labels, but one is {shortly(unknown[0])}"))
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
    return Wanted(query["param_id"], rows.reshape(count, PIXELS), returns)


def answer_of(service: Service, predictor: inference.Predictor, wanted: Wanted) -> dict[str, Any]:
    """The answer to a request; raises as `predict`."""
    of = {"model_id": predictor.model_id, "param_id": wanted.param_id}
    return of | _prediction(service, predictor, wanted.rows, wanted.returns)


def _prediction(
    service: Service, predictor: inference.Predictor, rows: Array | npt.NDArray[np.uint8], returns: schemas.Return
) -> dict[str, Any]:
    """As `predict`, with `warnings` where rows do not look like digits."""
    found = predict(service, predictor, rows, returns)
    warnings = likeness.warnings(rows)
    return found | {"warnings": warnings} if warnings else found


def predict(
    service: Service, predictor: inference.Predictor, rows: Array | npt.NDArray[np.uint8], returns: schemas.Return
) -> dict[str, Any]:
    """The `outputs` and `latency_ms` of an answer; raises a 422 `Problem` where logits are not finite."""
    logits, milliseconds = predictor(rows)
    if np.count_nonzero(np.isfinite(logits)) < logits.size:  # `all` takes twice as long
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        detail = "is so large that the network's output for it is beyond the range of float32"
        raise invalid_fields([Fault(f"/inputs/{row}", detail)])
    found = inference.outputs(
        logits,
        want_logits=returns.logits,
        want_probabilities=returns.probabilities,
        want_labels=returns.labels,
    )
    service.metrics.inferred(len(rows))
    return {"outputs": found, "latency_ms": round(milliseconds, 4)}
