"""A run without a server: queued, executed and shown by one process, in the same database."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from typing import Any

from falcon_mnist.api import schemas
from falcon_mnist.api.resources.runs import whole_document
from falcon_mnist.api.service import Service
from falcon_mnist.app import BACKENDS, open_service
from falcon_mnist.cli import console, refusals, report, watch
from falcon_mnist.data import dataset
from falcon_mnist.data.dataset import Dataset
from falcon_mnist.runs.executor import Executor
from falcon_mnist.runs.queue import Queue
from falcon_mnist.settings import Settings
from falcon_mnist.storage.tables import RunRow

NEXT = "Next: `falcon-mnist serve` has a page to draw digits on; `falcon-mnist recipes` lists networks that do better."


def train(settings: Settings, body: dict[str, Any], *, as_json: bool = False) -> None:
    """Create the model in `body` and train it. Raises `OptionsError`, `RunError`, `InterruptedRunError`.

    With `as_json` the last line is one object with what a script needs.
    """
    wanted = refusals.checked(body, max_parameters=settings.max_parameters)
    with console.progress() as show:
        data = dataset.load(settings.dataset, settings.home, progress=show)
    console.say(f"Data set: {data.name}. {data.reason}")
    watch.hear_interrupts()
    service = open_service(settings)
    try:
        run = _queue(service, wanted)
        report_run(service, _executed(service, run), data, as_json=as_json)
    finally:
        service.close()


def _queue(service: Service, wanted: schemas.CreateModel) -> RunRow:
    store = service.store
    left = report.unfinished(store.count_runs())
    hyperparams = wanted.hyperparams.model_dump()
    model = store.create_model(wanted.architecture.model_dump(), hyperparams)
    run = store.create_run(model, hyperparams, max_queued=sys.maxsize)  # no limit: this process executes it at once
    console.say(f"Model {model.id}, run {run.id}")
    if left:
        console.say(f"{left}; `falcon-mnist serve` resumes them.")
    return run


def _executed(service: Service, run: RunRow) -> dict[str, Any]:
    """The run when it has succeeded, as the API shows it. No other run is executed meanwhile."""
    store, settings = service.store, replace(service.settings, workers=1)
    make_queue = partial(Queue, only=run.id)
    executor = Executor(settings, store, BACKENDS[settings.executor], make_queue=make_queue)

    def look() -> dict[str, Any]:
        with store.snapshot():
            return whole_document(store.run(run.id) or run, store.history(run.id))

    finish, cancel = partial(store.finish, run.id), partial(store.cancel, run.id)
    try:
        executor.notify()
        return dict(watch.until_succeeded(look, finish, cancel))
    finally:
        executor.stop()


def report_run(service: Service, run: dict[str, Any], data: Dataset, *, as_json: bool) -> None:
    """Show what a run that has succeeded has reached; `data` is what this command would train it on."""
    param_id, history = run["param_id"], run["history"]
    evaluation = service.store.evaluation(param_id)
    mistakes = evaluation["mistakes"]
    if run["dataset"]["checksum"] != data.checksum:
        console.say(f"A server on this home executed the run, on its own data set: {run['dataset']['name']}.")
        mistakes = []  # of its digits, which are not here
    report.evaluation(evaluation, mistakes, data.test_images)
    console.say(f"Parameters {param_id}")
    console.say(report.learned_nothing(evaluation["accuracy"], run) or NEXT)
    if as_json:
        facts = {"model_id": run["model_id"], "run_id": run["run_id"], "param_id": param_id, "epochs": len(history)}
        facts |= {"seconds": sum(epoch["seconds"] or 0 for epoch in history), "test_accuracy": evaluation["accuracy"]}
        console.say(json.dumps(facts))
