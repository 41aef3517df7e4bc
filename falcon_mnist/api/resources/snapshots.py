"""What a run has learned so far: the parameters of its newest checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import falcon

from falcon_mnist.api.auth import READ
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.json_answer import chunks
from falcon_mnist.api.resources.base import Resource, client_has, wanted_format
from falcon_mnist.api.streams import pieces, stream
from falcon_mnist.constants import ACTIVE
from falcon_mnist.exchange.formats import FORMATS
from falcon_mnist.storage import parameter_files
from falcon_mnist.storage.files import DamagedFileError
from falcon_mnist.storage.tables import RunRow
from falcon_mnist.training import network
from falcon_mnist.training.state import State

# While a checkpoint is read it is there as a file, as arrays, and as what is answered.
_COPIES = 3


class Snapshot(Resource):
    """`/runs/{run_id}/snapshot`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        """Answer the parameters as JSON or as a safetensors file."""
        run = self._run(run_id)
        wanted = wanted_format(req, ("json", "safetensors"))
        checkpoint = _checkpoint(run)
        resp.content_type = FORMATS[wanted].media_type
        resp.append_header("Vary", "Accept")
        if client_has(req, resp, f"{checkpoint['sha256']}-{wanted}"):
            return
        if req.method == "HEAD":
            resp.stream = ()  # of a length that is not known: nothing is read to tell it
            return
        turns = self._service.limits.answers
        make = partial(self._pieces, run, wanted)
        resp.stream = stream(turns, make, size=checkpoint["size_bytes"], copies=_COPIES)

    def _pieces(self, run: RunRow, wanted: str) -> Iterator[bytes]:
        run, state = self._newest(run)
        architecture = self._model(run.model_id).architecture
        net = network.build(architecture)
        if wanted == "safetensors":
            return pieces(parameter_files.encode(network.tensors(net, state.evaluated)))
        layers = network.named(architecture, net, state.evaluated)
        document: dict[str, Any] = {
            "run_id": run.id,
            "model_id": run.model_id,
            "epoch": state.epoch,
            "parameters": {"layers": layers, "dtype": "float32", "layout": "row_major"},
        }
        return chunks(document)

    def _newest(self, run: RunRow) -> tuple[RunRow, State]:
        """The run with its newest checkpoint, which may replace another one while that is read."""
        while True:
            checkpoint = _checkpoint(run)
            try:
                return run, self._service.checkpoints.read(checkpoint)
            except DamagedFileError:
                run = self._run(run.id)
                if run.checkpoint == checkpoint and run.state in ACTIVE:
                    raise


def _checkpoint(run: RunRow) -> Any:
    if run.checkpoint is None or run.state not in ACTIVE:
        raise Problem("no-snapshot", f"The run is {run.state} and has no checkpoint.")
    return run.checkpoint
