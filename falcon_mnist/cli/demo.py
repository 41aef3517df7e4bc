"""The main job, once, over HTTP against a server that is started here."""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from falcon_mnist import kernels
from falcon_mnist.app import open_service
from falcon_mnist.cli import console, refusals, report, watch
from falcon_mnist.client import Client, ClientError
from falcon_mnist.data import dataset
from falcon_mnist.server.serve import running
from falcon_mnist.settings import Settings

SHOWN = 6
NEXT = "Now draw a digit yourself: run `falcon-mnist serve` and open the page that it names."


def run(settings: Settings, model: dict[str, Any]) -> None:
    """Create `model`, train it, infer on some test digits, and print them with what all of them showed."""
    refusals.checked(model, max_parameters=settings.max_parameters)  # before anything is done
    with console.progress() as show:
        data = dataset.load(settings.dataset, settings.home, progress=show)
    console.say(f"Data set: {data.name}. {data.reason}")
    watch.hear_interrupts()
    token = secrets.token_urlsafe(32)  # of this server alone
    service = open_service(replace(settings, tokens=(token,), tokens_file=None, workers=1))
    if left := report.unfinished(service.store.count_runs()):
        console.say(f"{left}; they go first.")
    with running(service) as url, Client(url, token) as client:
        console.say(f"Server: {url}/api, with the {kernels.isa()} kernels")
        model_id = client.create_model(model["architecture"], model["hyperparams"])["model_id"]
        run_id = client.train(model_id)["run_id"]
        console.say(f"Model {model_id}, run {run_id}")
        finish, cancel = partial(_finish, client, run_id), partial(_cancel, client, run_id)
        ended = watch.until_succeeded(partial(client.run, run_id), finish, cancel)
        labels = client.infer(ended["param_id"], data.test_images[:SHOWN]).labels
        evaluation = client.evaluation(ended["param_id"])
    console.say(f"Parameters {ended['param_id']}")
    captions = [
        f"{found}" if found == label else f"{found}, but is {label}"
        for found, label in zip(labels, data.test_labels[:SHOWN], strict=True)
    ]
    console.out.print(console.digits(data.test_images[:SHOWN], captions), markup=False, soft_wrap=True)
    mistakes = [
        (each["index"], each["label"], each["predicted"], each["confidence"]) for each in evaluation["mistakes"]
    ]
    report.evaluation(evaluation, mistakes, data.test_images)
    console.say(report.learned_nothing(evaluation["accuracy"], ended) or NEXT)


def _finish(client: Client, run_id: str) -> bool:
    try:
        client.finish(run_id)
    except ClientError:  # it is not running
        return False
    return True


def _cancel(client: Client, run_id: str) -> bool:
    try:
        client.cancel(run_id)
    except ClientError as error:
        if error.status != HTTPStatus.CONFLICT:  # it has ended
            raise
        return False
    return True
