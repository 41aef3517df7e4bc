"""Whether the process lives and can serve; tells strangers nothing else."""

from __future__ import annotations

from typing import ClassVar

import falcon

from falcon_mnist.api.auth import PUBLIC
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.resources.base import Resource, answer


class Health(Resource):
    """`/healthz`: the process answers."""

    access: ClassVar = {"GET": PUBLIC}
    is_probe: ClassVar = True

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Always 200."""
        answer(resp, {"status": "live"})


class Readiness(Resource):
    """`/readyz`: requests can be served."""

    access: ClassVar = {"GET": PUBLIC}
    is_probe: ClassVar = True

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 if the database answers and the server is not about to end, else 503.

        Where runs cannot be started it stays 200, and says so: whatever else is asked is answered.
        """
        if self._service.draining.is_set():
            raise Problem("not-ready", "The service is about to end.", headers={"Retry-After": "5"})
        try:
            self._service.store.check()
        except Exception as error:
            raise Problem("not-ready", "The service is not ready.", headers={"Retry-After": "5"}) from error
        waiting = self._service.executor.problem() is not None
        answer(resp, {"status": "ready"} | ({"runs": "waiting"} if waiting else {}))
