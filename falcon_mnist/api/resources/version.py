"""The version of what is running."""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar

import falcon

from falcon_mnist.api.auth import READ
from falcon_mnist.api.request import read_query
from falcon_mnist.api.resources.base import Resource, answer
from falcon_mnist.storage.migrations import STEPS


class Version(Resource):
    """`/version`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the package's version and the schema's, to which the database was migrated when it was opened."""
        read_query(req)
        answer(resp, {"version": version("falcon-mnist"), "schema_version": len(STEPS)})
