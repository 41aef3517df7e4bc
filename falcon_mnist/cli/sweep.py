"""`falcon-mnist sweep`: one model for each set of values, trained by a server; what was done stands there.

Models and runs are made with keys that are drawn from their values, so a sweep that is started again finds those that
it has made, and makes the others.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from falcon_mnist.cli.choosers import Chooser, SweepError, Values
from falcon_mnist.cli.options import HYPERPARAMETERS, put
from falcon_mnist.cli.refusals import in_options
from falcon_mnist.client import Client, ClientError, network
from falcon_mnist.client.answers import Run
from falcon_mnist.constants import ACTIVE, SUCCEEDED

LOOK_SECONDS = 0.5
NOTHING = math.nan  # the score of a trial without a result


@dataclass
class Trial:
    """One set of values: `run` as it was last seen, or `refused`, and why."""

    number: int
    values: Values
    run_id: str = ""
    run: Run | None = None
    refused: str = ""

    @property
    def score(self) -> float | None:
        """Validation accuracy of what is stored; None until the run has ended, NaN where it has not succeeded."""
        if self.refused:
            return NOTHING
        if self.run is None or self.run["state"] in ACTIVE:
            return None
        return accuracy(self.run) if self.run["state"] == SUCCEEDED else NOTHING

    @property
    def param_id(self) -> str:
        """Of what was trained; empty where nothing was."""
        return self.run.get("param_id", "") if self.run else ""


def accuracy(run: Run) -> float:
    """On the validation digits, of the parameters that the run has stored."""
    best = run["best_epoch"] if run["hyperparams"]["keep"] == "best" else None
    value = run["history"][best - 1]["val_accuracy"] if best else run["metrics"]["val_accuracy"]
    return NOTHING if value is None else value


@dataclass
class Plan:
    """What all trials have in common. Sweeps of another `name` find nothing of each other."""

    chooser: Chooser
    activation: str
    name: str
    together: int

    def body(self, values: Values) -> dict[str, Any]:
        """The body of `POST /models` of a trial."""
        hyperparams: dict[str, Any] = {}
        for name, value in values.items():
            if name != "hidden":
                put(hyperparams, HYPERPARAMETERS[name].path, value)
        widths = [int(width) for width in str(values["hidden"]).split("-") if width]
        return {"architecture": network(*widths, activation=self.activation), "hyperparams": hyperparams}

    def key(self, body: Mapping[str, Any]) -> str:
        """The same for the same values of the same sweep."""
        text = json.dumps([self.name, body], sort_keys=True)
        return f"sweep-{hashlib.sha256(text.encode()).hexdigest()}"


def trials(client: Client, plan: Plan, *, pause: Callable[[float], object] = time.sleep) -> Iterator[list[Trial]]:
    """Do the trials; gives all that have begun, again and again until all have ended. Raises `ClientError`."""
    begun: list[Trial] = []
    while True:
        while (values := plan.chooser.choose(begun, plan.together)) is not None:
            begun.append(_begin(client, plan, Trial(len(begun), values)))
        for trial in begun:
            if trial.score is None:
                trial.run = client.run(trial.run_id)
        yield begun
        ended = all(trial.score is not None for trial in begun)
        if ended and len(begun) == plan.chooser.total:
            return
        if not ended:
            pause(LOOK_SECONDS)


def _begin(client: Client, plan: Plan, trial: Trial) -> Trial:
    body = plan.body(trial.values)
    key = plan.key(body)
    try:
        model = client.create_model(body["architecture"], body["hyperparams"], key=key)
    except ClientError as error:
        if error.status not in (400, 422):
            raise
        faults = [(fault["pointer"], fault["detail"]) for fault in error.details]
        trial.refused = in_options(faults, body["hyperparams"]) if faults else error.message
        return trial
    trial.run_id = client.train(model["model_id"], key=key)["run_id"]
    return trial


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The best first, then those under way, then those that came to nothing."""

    def place(trial: Trial) -> tuple[int, float, int]:
        score = trial.score
        if score is None:
            return 1, 0, trial.number
        return (2, 0, trial.number) if math.isnan(score) else (0, -score, trial.number)

    return sorted(trials, key=place)


def best(trials: Sequence[Trial]) -> Trial:
    """The trial of highest validation accuracy. Raises `SweepError` if none has succeeded."""
    first = ranked(trials)[0]
    if first.score is None or math.isnan(first.score):
        raise SweepError(f"no network of the sweep was trained: {reason(first)}")
    return first


def reason(trial: Trial) -> str:
    """Why a trial has come to nothing."""
    if trial.refused or trial.run is None:
        return trial.refused
    if "error" in trial.run:
        return trial.run["error"]["message"]
    return "no validation digits" if trial.run["state"] == SUCCEEDED else trial.run["state"]
