"""Trained parameter sets, as JSON or as their files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import falcon

from falcon_mnist.api.auth import READ, WRITE
from falcon_mnist.api.errors import Fault, Problem, invalid_fields
from falcon_mnist.api.json_answer import chunks
from falcon_mnist.api.request import JSON, read_query
from falcon_mnist.api.resources.base import Resource, client_has, unknown_parameters
from falcon_mnist.api.turns import Released
from falcon_mnist.storage.files import Written
from falcon_mnist.storage.parameter_files import MEDIA_TYPE as SAFETENSORS
from falcon_mnist.storage.removal import remove_parameters
from falcon_mnist.storage.tables import ParameterRow
from falcon_mnist.training import network

# Up to this size of its file, a set is answered as JSON in one piece, with its length; a larger one in chunks.
_SMALL_BYTES = 2**20
# While a set is read it is there as a file, as tensors and as one vector.
_COPIES = 3
# Files are sent in pieces of this size.
_PIECE_BYTES = 2**18
# At most so many answers of several pieces are sent at the same time: half of the server's threads.
_MOST_STREAMS = 4
# Longer than any that lists each media type there is; Falcon keeps the headers that it has parsed.
_MAX_ACCEPT = 1000


class Parameters(Resource):
    """`/params/{param_id}`."""

    access: ClassVar = {"GET": READ, "DELETE": WRITE}

    def on_get(self, req: falcon.Request, resp: falcon.Response, param_id: str) -> None:
        """Answer a parameter set as JSON or as its safetensors file."""
        row = self._parameters(param_id)
        wanted = _wanted_format(req)
        resp.content_type = wanted
        resp.append_header("Vary", "Accept")
        if client_has(req, resp, row.sha256 if wanted == SAFETENSORS else f"{row.sha256}-json"):
            return
        if wanted == JSON and row.size_bytes <= _SMALL_BYTES:
            resp.data = b"".join(self._json(row))
        else:
            if wanted == SAFETENSORS:
                resp.content_length = row.size_bytes
            if req.method == "HEAD":
                resp.stream = ()  # of a length that is not known: nothing is built to tell it
            else:
                self._stream(resp, row, wanted)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, param_id: str) -> None:
        """Delete a parameter set; its run stays."""
        self._parameters(param_id)
        read_query(req)
        if self._remove(req, resp, remove_parameters, param_id) is None:
            raise unknown_parameters()

    def _stream(self, resp: falcon.Response, row: ParameterRow, wanted: str) -> None:
        turns = self._service.limits.answers
        cost = row.size_bytes * _COPIES
        if row.size_bytes > _PIECE_BYTES:  # between pieces a thread waits for the client
            cost = max(cost, turns.capacity // _MOST_STREAMS)
        taken = turns.take(cost)
        try:
            pieces = self._json(row) if wanted == JSON else self._file(row)
            resp.stream = Released(pieces, turns, taken)
        except BaseException:
            turns.release(taken)
            raise

    def _file(self, row: ParameterRow) -> Iterator[bytes]:
        data = memoryview(self._service.files.read_bytes(row.id, Written(row.size_bytes, row.sha256)))
        return (bytes(data[start : start + _PIECE_BYTES]) for start in range(0, len(data), _PIECE_BYTES))

    def _json(self, row: ParameterRow) -> Iterator[bytes]:
        architecture = self._model(row.model_id).architecture
        parameters = self._service.files.read(row.id, Written(row.size_bytes, row.sha256), architecture)
        layers = network.named(architecture, network.build(architecture), parameters)
        document: dict[str, Any] = {
            "param_id": row.id,
            "model_id": row.model_id,
            "parameters": {"layers": layers, "dtype": "float32", "layout": "row_major"},
            "size_bytes": row.size_bytes,
        }
        return chunks(document)


def _wanted_format(req: falcon.Request) -> str:
    """The media type to answer; raises a 400 or 422 `Problem`."""
    name = read_query(req, "format").get("format")
    if name not in (None, "json", "safetensors"):
        raise invalid_fields([Fault("/format", "must be json or safetensors")])
    if name is None:
        if len(req.accept) > _MAX_ACCEPT:
            raise Problem("malformed-request", f"Accept may have at most {_MAX_ACCEPT} characters.")
        return req.client_prefers((JSON, SAFETENSORS)) or JSON
    return SAFETENSORS if name == "safetensors" else JSON
