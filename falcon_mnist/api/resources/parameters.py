"""Parameter sets, in every format that they can be taken away in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, ClassVar

import falcon

from falcon_mnist.api.auth import READ, WRITE
from falcon_mnist.api.json_answer import chunks
from falcon_mnist.api.request import read_query
from falcon_mnist.api.resources.base import Resource, client_has, unknown_parameters, wanted_format
from falcon_mnist.api.streams import PIECE_BYTES, pieces, stream, whole
from falcon_mnist.constants import Array
from falcon_mnist.exchange.formats import FORMATS
from falcon_mnist.storage.removal import remove_parameters
from falcon_mnist.storage.tables import ParameterRow
from falcon_mnist.training import network

# Up to this size of its file, a set is answered as JSON in one piece, with its length; a larger one in chunks.
_SMALL_BYTES = 2**20
# At most so many bytes of JSON stand for one of the file: 15 for a float32 with its exponent, its sign and a comma.
_JSON_EXPANSION = 4
_VERSION = version("falcon-mnist")


class Parameters(Resource):
    """`/params/{param_id}`."""

    access: ClassVar = {"GET": READ, "DELETE": WRITE}

    def on_get(self, req: falcon.Request, resp: falcon.Response, param_id: str) -> None:
        """Answer a parameter set in the format that is asked for."""
        row = self._parameters(param_id)
        wanted = wanted_format(req, FORMATS)
        resp.content_type = FORMATS[wanted].media_type
        resp.append_header("Vary", "Accept")
        if client_has(req, resp, _etag(row, wanted)):
            return
        if wanted == "json" and row.size_bytes <= _SMALL_BYTES:
            self._whole(req, resp, row)
        else:
            if wanted == "safetensors":
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

    def _whole(self, req: falcon.Request, resp: falcon.Response, row: ParameterRow) -> None:
        def make() -> bytes:
            return b"".join(self._json(row))

        size = row.size_bytes * _JSON_EXPANSION
        if req.method == "HEAD" or size <= PIECE_BYTES:
            resp.data = make()
        else:
            whole(req, resp, self._service.limits.answers, make, size=size)

    def _stream(self, resp: falcon.Response, row: ParameterRow, wanted: str) -> None:
        def make() -> Iterator[bytes]:
            return self._json(row) if wanted == "json" else pieces(self._encoded(row, wanted))

        turns = self._service.limits.answers
        resp.stream = stream(turns, make, size=row.size_bytes, copies=FORMATS[wanted].copies)

    def _encoded(self, row: ParameterRow, wanted: str) -> bytes:
        encode = FORMATS[wanted].encode
        if encode is None:
            return self._service.files.read_bytes(row.id, row.written)
        return encode(*self._network(row), row.id)

    def _network(self, row: ParameterRow) -> tuple[Mapping[str, Any], Array]:
        architecture = self._model_of(row).architecture
        return architecture, self._service.files.read(row.id, row.written, architecture)

    def _json(self, row: ParameterRow) -> Iterator[bytes]:
        architecture, parameters = self._network(row)
        layers = network.named(architecture, network.build(architecture), parameters)
        document: dict[str, Any] = {
            "param_id": row.id,
            "model_id": row.model_id,
            "parameters": {"layers": layers, "dtype": "float32", "layout": "row_major"},
            "size_bytes": row.size_bytes,
        }
        return chunks(document)


def _etag(row: ParameterRow, wanted: str) -> str:
    """What our own formats hold depends on the set alone; the others also on what writes them."""
    tags = {"safetensors": row.sha256, "json": f"{row.sha256}-json"}
    return tags.get(wanted, f"{row.sha256}-{wanted}-{_VERSION}")
