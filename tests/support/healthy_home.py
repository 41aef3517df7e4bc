"""Makes the home that the environment names, with models, a run that has succeeded and its parameters."""

from __future__ import annotations

from falcon_mnist.app import open_service
from falcon_mnist.runs import worker
from falcon_mnist.settings import Settings
from falcon_mnist.training.hyperparams import Hyperparams

MODELS = 300


def main() -> None:
    service = open_service(Settings.from_env())
    hyperparams = Hyperparams(epochs=1).model_dump()
    layers = [{"type": "linear", "in": 784, "out": 10}]
    with service.store.together():
        for _ in range(MODELS):
            model = service.store.create_model({"input_size": 784, "layers": layers}, hyperparams)
    run = service.store.create_run(model, hyperparams, max_queued=1)
    worker.execute(service.settings, run.id, "me")
    service.store._database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    service.close()
