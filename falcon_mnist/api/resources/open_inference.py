"""The Open Inference Protocol, version 2: parameter sets as models of other serving systems' clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import falcon
import numpy as np
import numpy.typing as npt

from falcon_mnist.api import schemas
from falcon_mnist.api.auth import READ
from falcon_mnist.api.errors import Fault, invalid_fields, pointer
from falcon_mnist.api.json_answer import dumps
from falcon_mnist.api.json_body import FaultAt, decode, matrix, vector
from falcon_mnist.api.request import BINARY, JSON, read_body
from falcon_mnist.api.resources.base import Resource, answer, unknown_parameters
from falcon_mnist.api.resources.health import Health, Readiness
from falcon_mnist.api.resources.inference import predict
from falcon_mnist.exchange import open_inference
from falcon_mnist.exchange.open_inference import TensorError

# Where a body's JSON ends and its binary data begin.
HEADER_LENGTH = "Inference-Header-Content-Length"


class Server(Resource):
    """`/v2`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Say what answers."""
        answer(resp, open_inference.server_metadata())


class Live(Health):
    """`/v2/health/live`."""


class Ready(Readiness):
    """`/v2/health/ready`."""


class Model(Resource):
    """`/v2/models/{param_id}`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response, param_id: str) -> None:
        """Describe the tensors of a parameter set."""
        self._parameters(param_id)
        answer(resp, open_inference.model_metadata(param_id))


class ModelReady(Resource):
    """`/v2/models/{param_id}/ready`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response, param_id: str) -> None:
        """200 for every parameter set that is there."""
        self._parameters(param_id)
        answer(resp, {"name": param_id, "ready": True})


class ModelInfer(Resource):
    """`/v2/models/{param_id}/infer`."""

    access: ClassVar = {"POST": READ}

    def on_post(self, req: falcon.Request, resp: falcon.Response, param_id: str) -> None:
        """Infer; tensors travel as JSON or as binary data, either way."""
        # Clients of the protocol say what a body is in `HEADER_LENGTH`, and not always in Content-Type.
        _, body = read_body(req, self._service, JSON, BINARY, "")
        head, data = _divided(req, body)
        document = decode(head, max_numbers=self._service.max_numbers)
        predictor = self._service.predictors.get(param_id)
        if predictor is None:
            raise unknown_parameters()
        wanted = self._parse(schemas.OpenInference, document)
        rows = _at("/inputs/0", lambda: _rows(wanted.inputs[0], data))
        names: list[str] = [output.name for output in wanted.outputs or ()] or list(open_inference.OUTPUTS)
        returns = schemas.Return(**{name: name in names for name in schemas.Return.model_fields})
        found = predict(self._service, predictor, rows, returns)["outputs"]
        ordered = {name: found[name] for name in names}
        _write(resp, *open_inference.response(param_id, wanted.id, ordered, _binary(wanted, names)))


def _divided(req: falcon.Request, body: bytes) -> tuple[bytes, memoryview]:
    """The JSON and the binary data of a body; raises a 400 `Problem`."""
    text = req.get_header(HEADER_LENGTH)
    if text is None:
        return body, memoryview(b"")
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= len(body)):
        raise invalid_fields([Fault("", f"{HEADER_LENGTH} must be the length of the JSON that the body begins with")])
    return body[: int(text)], memoryview(body)[int(text) :]


def _rows(tensor: schemas.InputTensor, data: memoryview) -> npt.NDArray[Any]:
    """The rows of the one input. Raises `TensorError`, `FaultAt`."""
    open_inference.check_input(tensor.name, tensor.datatype, tensor.shape)
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is None:
        if len(data):
            raise TensorError(f"has no binary_data_size, and {len(data)} bytes follow the JSON")
        numbers = matrix(tensor.data) if _in_rows(tensor.data) else vector(tensor.data)
        return open_inference.rows_of_numbers(numbers, tensor.datatype, tensor.shape)
    if tensor.data is not None:
        raise TensorError("has both data and a binary_data_size")
    if size != len(data):
        raise TensorError(f"must have a binary_data_size of the {len(data)} bytes that follow the JSON")
    return open_inference.rows_of_bytes(data, tensor.datatype, tensor.shape)


def _in_rows(data: Any) -> bool:
    """Whether numbers came as a list of rows, and not in one list."""
    first = data[0] if isinstance(data, list | np.ndarray) and len(data) else None
    return isinstance(first, list | np.ndarray)


def _at(place: str, read: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """What `read` gives; what is wrong with it becomes a `Problem`."""
    try:
        return read()
    except TensorError as error:
        raise invalid_fields([Fault(place, str(error))]) from None
    except FaultAt as fault:
        raise invalid_fields([Fault(place + "/data" + pointer(fault.place), fault.detail)]) from None


def _binary(wanted: schemas.OpenInference, names: list[str]) -> frozenset[str]:
    """Which outputs to answer as binary data: what each says, or the request for all."""
    default = (wanted.parameters or {}).get("binary_data_output") is True
    said: dict[str, bool] = {
        output.name: (output.parameters or {}).get("binary_data", default) is True for output in wanted.outputs or ()
    }
    return frozenset(name for name in names if said.get(name, default))


def _write(resp: falcon.Response, document: dict[str, Any], data: bytes) -> None:
    head = dumps(document)
    resp.data = head + data
    resp.content_type = BINARY if data else JSON
    if data:
        resp.set_header(HEADER_LENGTH, str(len(head)))
