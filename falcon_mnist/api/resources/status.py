"""What runs here, and how it is doing."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, ClassVar

import falcon

from falcon_mnist import kernels
from falcon_mnist.api.auth import READ
from falcon_mnist.api.request import read_query
from falcon_mnist.api.resources.base import Resource, answer
from falcon_mnist.data.dataset import DataError


class Version(Resource):
    """`/version`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the versions of the package and of the database, and the instruction set of the kernels."""
        read_query(req)
        schema_version = self._service.store.schema_version
        answer(resp, {"version": version("falcon-mnist"), "schema_version": schema_version, "isa": kernels.isa()})


class ServiceStatus(Resource):
    """`/status`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer workers, runs, data set, and this process's requests of the last minute."""
        read_query(req)
        document = {
            "token": req.context.holder.scope,
            "workers": self._service.workers,
            "runs": self._service.store.count_runs(),
            "dataset": self._dataset(),
            "isa": kernels.isa(),
            **self._service.traffic.figures(),
        }
        answer(resp, document)

    def _dataset(self) -> dict[str, Any] | None:
        try:
            found = self._service.datasets.load()
        except DataError:
            return None
        return {"name": found.name, "checksum": found.checksum}
