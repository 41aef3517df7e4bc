"""What parameter sets reach on the test images."""

from __future__ import annotations

from typing import Any, ClassVar

import falcon

from falcon_mnist.api.auth import READ
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.request import read_query
from falcon_mnist.api.resources.base import Resource, answer, client_has, unknown_parameters
from falcon_mnist.data.dataset import Dataset
from falcon_mnist.storage.tables import ParameterRow
from falcon_mnist.training import network
from falcon_mnist.training.evaluation import evaluate

MISTAKE = ("index", "label", "predicted", "confidence")


class Evaluation(Resource):
    """`/params/{param_id}/evaluation`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response, param_id: str) -> None:
        """Answer what was measured when the run ended, or measure it now, once."""
        read_query(req)
        row = self._parameters(param_id)
        found = self._service.store.evaluation(param_id) or self._measure(row)
        if found is None:
            raise unknown_parameters()  # it was removed meanwhile
        if client_has(req, resp, f"{row.sha256}-evaluation"):
            return
        mistakes = [dict(zip(MISTAKE, mistake, strict=True)) for mistake in found["mistakes"]]
        answer(resp, {"param_id": param_id, **found, "mistakes": mistakes})

    def _measure(self, row: ParameterRow) -> Any:
        """What an earlier version trained is evaluated when it is first asked for: one set at a time."""
        store = self._service.store
        with self._service.limits.evaluations.held(1):
            if found := store.evaluation(row.id):  # by another request, while this one waited
                return found
            data = self._test_data(row)
            architecture = self._model_of(row).architecture
            parameters = self._service.files.read(row.id, row.written, architecture)
            measured = evaluate(network.build(architecture), parameters, data.test_images, data.test_labels)
            basis = {"name": data.name, "checksum": data.checksum}
            with self._service.limits.write():
                return store.record_evaluation(row.id, {"dataset": basis, **measured})

    def _test_data(self, row: ParameterRow) -> Dataset:
        """The data set that the parameters were trained on."""
        data = self._data()
        run = None if row.run_id is None else self._service.store.run(row.run_id)
        trained_on = None if run is None else run.dataset  # unknown for imported ones
        if trained_on is not None and trained_on["checksum"] != data.checksum:
            raise Problem(
                "no-test-data",
                f"The parameters were trained on {trained_on['name']} ({trained_on['checksum']}), and this server "
                f"has {data.name} ({data.checksum}): set FALCON_MNIST_DATASET to that data set.",
            )
        return data
