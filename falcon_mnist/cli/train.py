"""A run without a server: queued, executed and shown by one process, in the same database."""

from __future__ import annotations

import json
from typing import Any

from falcon_mnist.api import schemas
from falcon_mnist.api.service import Service
from falcon_mnist.app import open_service
from falcon_mnist.cli import console, report, watch
from falcon_mnist.data import dataset
from falcon_mnist.data.dataset import Dataset
from falcon_mnist.settings import Settings


def train(settings: Settings, body: dict[str, Any], *, as_json: bool = False) -> None:
    """Create the model in `body` and train it; Ctrl-C cancels the run. Raises `Problem`, `RunError`.

    With `as_json` the last line is one object with what a script needs.
    """
    wanted = schemas.parse(schemas.CreateModel, body, max_parameters=settings.max_parameters)
    with console.progress() as show:
        data = dataset.load(settings.dataset, settings.home, progress=show)
    console.say(f"Data set: {data.name}. {data.reason}")
    watch.hear_interrupts()
    service = open_service(settings)
    try:
        _train(service, wanted, data, as_json)
    finally:
        service.close()


def _train(service: Service, wanted: schemas.CreateModel, data: Dataset, as_json: bool) -> None:
    store = service.store
    hyperparams = wanted.hyperparams.model_dump()
    model = store.create_model(wanted.architecture.model_dump(), hyperparams)
    run = store.create_run(model, hyperparams, max_queued=service.settings.max_queued_runs)
    console.say(f"Model {model.id}, run {run.id}")
    service.executor.notify()

    def look() -> dict[str, Any]:
        now = store.run(run.id) or run
        return {"state": now.state, "epoch": now.epoch, "epochs_total": hyperparams["epochs"], "error": now.error}

    watch.until_succeeded(look, cancel=lambda: store.cancel(run.id))
    history = store.history(run.id)
    for epoch in history:
        console.say(console.epoch_line(epoch._asdict()))
    ended = store.run(run.id)
    param_id = str(ended and ended.param_id)
    evaluation = store.evaluation(param_id)
    report.evaluation(evaluation, evaluation["mistakes"], data.test_images)
    console.say(f"Parameters {param_id}")
    if as_json:
        facts = {"model_id": model.id, "run_id": run.id, "param_id": param_id, "epochs": len(history)}
        facts |= {"seconds": sum(epoch.seconds or 0 for epoch in history), "test_accuracy": evaluation["accuracy"]}
        console.say(json.dumps(facts))
