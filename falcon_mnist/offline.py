"""A run without a server: queued, executed and shown by one process, in the same database."""

from __future__ import annotations

import time
from typing import Any

from falcon_mnist import console, dataset, schemas
from falcon_mnist.client import ClientError
from falcon_mnist.service import Service
from falcon_mnist.settings import Settings
from falcon_mnist.store import ACTIVE, SUCCEEDED

POLL_SECONDS = 0.2


def train(settings: Settings, body: dict[str, Any]) -> None:
    """Create the model in `body` and train it; Ctrl-C cancels the run. Raises `Problem`, `ClientError`."""
    wanted = schemas.parse(schemas.CreateModel, body, max_parameters=settings.max_parameters)
    with console.progress() as show:
        data = dataset.load(settings.dataset, settings.home, progress=show)
    console.say(f"Data set: {data.name}. {data.reason}")
    service = Service.open(settings)
    try:
        _train(service, wanted)
    finally:
        service.close()


def _train(service: Service, wanted: schemas.CreateModel) -> None:
    store = service.store
    hyperparams = wanted.hyperparams.model_dump()
    model = store.create_model(wanted.architecture.model_dump(), hyperparams)
    run_id = store.create_run(model, hyperparams, max_queued=service.settings.max_queued_runs).id
    console.say(f"Model {model.id}, run {run_id}")
    service.executor.notify()
    try:
        with console.progress() as show:
            while (run := store.run(run_id)) is not None:
                show("Training", run.epoch, hyperparams["epochs"])
                if run.state not in ACTIVE:
                    break
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        store.cancel(run_id)
        console.say("The run is cancelled.")
        raise
    if run is None or run.state != SUCCEEDED:
        raise ClientError(f"the run has {run.state}: {run.error['message']}" if run else "the run is gone")
    for epoch in store.histories([run])[run_id]:
        console.say(console.epoch_line(epoch.__data__))
    console.say(f"Parameters {store.param_ids([run])[run_id]}")
