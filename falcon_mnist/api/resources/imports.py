"""Parameter sets that were trained elsewhere."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import falcon

from falcon_mnist.api import paths, schemas
from falcon_mnist.api.auth import READ, WRITE
from falcon_mnist.api.errors import Fault, Problem, invalid_fields, pointer
from falcon_mnist.api.json_body import decode
from falcon_mnist.api.request import JSON, fingerprint, query_fault, read_body, read_idempotency_key, read_query
from falcon_mnist.api.resources.base import Resource, answer
from falcon_mnist.api.resources.lists import read_page
from falcon_mnist.clock import new_id
from falcon_mnist.constants import Array
from falcon_mnist.exchange import imports
from falcon_mnist.exchange.imports import ACTIVATIONS, ActivationError
from falcon_mnist.exchange.safetensors_header import ExchangeError
from falcon_mnist.storage.database import DatabaseLostError
from falcon_mnist.storage.files import Written
from falcon_mnist.storage.parameter_files import MEDIA_TYPE as SAFETENSORS
from falcon_mnist.storage.tables import ParameterRow
from falcon_mnist.training import network
from falcon_mnist.training.hyperparams import Hyperparams


class ParameterSets(Resource):
    """`/params`."""

    access: ClassVar = {"GET": READ, "POST": WRITE}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List all parameter sets, or those of a model, newest first."""
        query = read_query(req, "model_id", "limit", "cursor")
        if (model_id := query.get("model_id")) is not None:
            self._model(model_id)
        store = self._service.store
        page, cursor = read_page(store, "params", query, store.parameter_sets, model_id=model_id)
        answer(resp, {"items": [_listed(row) for row in page], "next_cursor": cursor})

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store a parameter set that was made elsewhere, with a model of its own."""
        media_type, body = read_body(req, self._service, JSON, SAFETENSORS)
        architecture, pairs = self._json(req, body) if media_type == JSON else self._file(req, body)
        key = read_idempotency_key(req)
        parameters = network.flatten(network.build(architecture), pairs)
        row = self._store(architecture, parameters, key)
        answer(
            resp,
            {"param_id": row.id, "model_id": row.model_id, "size_bytes": row.size_bytes},
            status=falcon.HTTP_201,
        )
        resp.location = paths.PARAMETERS.format(param_id=row.id)

    def _json(self, req: falcon.Request, body: bytes) -> tuple[dict[str, Any], list[tuple[Array, Array]]]:
        wanted = self._parse(schemas.ImportParameters, decode(body, max_numbers=self._service.max_numbers))
        read_query(req)
        return wanted.architecture.model_dump(), wanted.parameters.pairs

    def _file(self, req: falcon.Request, body: bytes) -> tuple[dict[str, Any], list[tuple[Array, Array]]]:
        activation = read_query(req, "activation").get("activation")
        if activation not in (None, *ACTIVATIONS):
            raise query_fault("activation", f"must be {' or '.join(ACTIVATIONS)}", activation)
        try:
            imported = imports.parse(body, activation)
        except ExchangeError as error:
            fault = Fault(pointer([error.tensor]) if error.tensor else "", error.fault)
            raise invalid_fields([fault], structural=True) from None
        except ActivationError as error:
            raise invalid_fields([Fault("/activation", str(error))]) from None
        wanted = self._parse(schemas.JustArchitecture, {"architecture": imported.architecture})
        self._check_shapes(wanted, imported.pairs)
        return wanted.architecture.model_dump(), imported.pairs

    @staticmethod
    def _check_shapes(wanted: schemas.JustArchitecture, pairs: list[tuple[Array, Array]]) -> None:
        """Raises a 400 `Problem` where the arrays of a file are not those of the architecture in it."""
        layers = wanted.architecture.linear
        if len(layers) != len(pairs):
            detail = f"the architecture has {len(layers)} linear layers, and the file {len(pairs)}"
            raise invalid_fields([Fault("", detail)], structural=True)
        for index, (layer, (weight, _)) in enumerate(zip(layers, pairs, strict=True)):
            if weight.shape != (layer.inputs, layer.outputs):
                detail = f"must have shape {layer.inputs}x{layer.outputs}, but has {'x'.join(map(str, weight.shape))}"
                raise invalid_fields([Fault(f"/linear.{index}.W", detail)], structural=True)

    def _store(self, architecture: Mapping[str, Any], parameters: Array, key: str | None) -> ParameterRow:
        """The new set, or with a key that was used before the one that it made then."""
        store, files = self._service.store, self._service.files
        contents = hashlib.sha256(fingerprint(architecture).encode() + parameters.tobytes()).hexdigest()
        if earlier := store.imported(key, contents):
            return earlier
        param_id = new_id("p")
        written = self._write(param_id, architecture, parameters)
        try:
            hyperparams = Hyperparams().model_dump()
            with self._service.limits.write():
                row = store.import_parameters(
                    param_id, architecture, hyperparams, written, key=key, fingerprint=contents
                )
        except DatabaseLostError:
            raise  # the row may be there; if it is not, the file is swept as any that no row names
        except BaseException:
            files.discard(param_id)
            raise
        if row.id != param_id:  # another request with the key was faster
            files.discard(param_id)
        return row

    def _write(self, param_id: str, architecture: Mapping[str, Any], parameters: Array) -> Written:
        try:
            return self._service.files.write(param_id, architecture, parameters)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            detail = "There is no room on the server's disk for the parameters: make room, then try again."
            raise Problem("storage-unavailable", detail, headers={"Retry-After": "10"}) from error


def _listed(row: ParameterRow) -> dict[str, Any]:
    """A parameter set as lists show it; `run_id` is null where it was imported."""
    names = ("model_id", "run_id", "size_bytes", "created_at")
    return {"param_id": row.id} | {name: getattr(row, name) for name in names}
