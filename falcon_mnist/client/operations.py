"""Every operation of the API as steps; docs/api.md says what each does. Inference stands in a file of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np

from falcon_mnist.client import answers
from falcon_mnist.client.errors import read_json
from falcon_mnist.client.forms import all_pages, holds, in_path, json_of, new_key, nothing, query_of
from falcon_mnist.client.steps import Request, Steps
from falcon_mnist.constants import ACTIVE, PAGE_SIZE, PIXELS, Array

Document = Mapping[str, Any]
Format = Literal["safetensors", "onnx", "npz", "json"]
Progress = Callable[[answers.Run], object]

# A run is looked at every 0.1 s at first, then less and less often: a pause is a share of what was waited before.
FIRST_LOOK, LAST_LOOK, LOOKS_SHARE = 0.1, 2.0, 0.05


def create_model(
    architecture: Document, hyperparams: Document | None = None, *, key: str | None = None
) -> Steps[answers.Model]:
    """Create a model. The same `key` with the same values gives the same model again, whoever asks."""
    body = {"architecture": architecture, "hyperparams": hyperparams or {}}
    return json_of("POST", "/api/models", body=body, key=key or new_key())


def models(*, limit: int = PAGE_SIZE, cursor: str | None = None) -> Steps[answers.ModelPage]:
    """A page of all models, newest first."""
    return json_of("GET", "/api/models", limit=limit, cursor=cursor)


def all_models() -> Steps[list[answers.Model]]:
    """All models, newest first."""
    return all_pages("/api/models")


def model(model_id: str) -> Steps[answers.Model]:
    """A model."""
    return json_of("GET", f"/api/models/{in_path(model_id)}")


def delete_model(model_id: str) -> Steps[None]:
    """Delete a model, its runs and its parameter sets."""
    return nothing("DELETE", f"/api/models/{in_path(model_id)}")


def train(
    model_id: str, hyperparams: Document | None = None, *, start_from: str | None = None, key: str | None = None
) -> Steps[answers.QueuedRun]:
    """Queue a run; `hyperparams` go over the model's. The same `key` with the same values gives the same run again."""
    body = {"hyperparams": hyperparams or {}} | ({"start_from": start_from} if start_from else {})
    return json_of("POST", f"/api/models/{in_path(model_id)}/train", body=body, key=key or new_key())


def model_runs(model_id: str, *, limit: int = PAGE_SIZE, cursor: str | None = None) -> Steps[answers.RunPage]:
    """A page of a model's runs, newest first."""
    return json_of("GET", f"/api/models/{in_path(model_id)}/runs", limit=limit, cursor=cursor)


def runs(
    *, state: str | None = None, model_id: str | None = None, limit: int = PAGE_SIZE, cursor: str | None = None
) -> Steps[answers.RunPage]:
    """A page of all runs, newest first."""
    return json_of("GET", "/api/runs", state=state, model_id=model_id, limit=limit, cursor=cursor)


def all_runs(*, state: str | None = None, model_id: str | None = None) -> Steps[list[answers.RunSummary]]:
    """All runs, newest first."""
    return all_pages("/api/runs", state=state, model_id=model_id)


def run(run_id: str) -> Steps[answers.Run]:
    """How far a run has come."""
    return json_of("GET", f"/api/runs/{in_path(run_id)}")


def wait(run_id: str, *, progress: Progress | None = None) -> Steps[answers.Run]:
    """The run when it has ended, well or not; `progress` is called with it at every look until then."""
    waited = 0.0
    while True:
        now = yield from run(run_id)
        if progress:
            progress(now)
        if now["state"] not in ACTIVE:
            return now
        pause = min(max(waited * LOOKS_SHARE, FIRST_LOOK), LAST_LOOK)
        yield pause
        waited += pause


def cancel(run_id: str) -> Steps[answers.Run]:
    """End a queued or running run."""
    return json_of("POST", f"/api/runs/{in_path(run_id)}/cancel")


def finish(run_id: str) -> Steps[answers.Run]:
    """Let a running run succeed at the end of the epoch under way, with what it has learned."""
    return json_of("POST", f"/api/runs/{in_path(run_id)}/finish")


def delete_run(run_id: str) -> Steps[None]:
    """Delete a run that has ended, and its parameter set."""
    return nothing("DELETE", f"/api/runs/{in_path(run_id)}")


def snapshot(run_id: str) -> Steps[answers.Snapshot]:
    """The parameters of a run's newest checkpoint."""
    return json_of("GET", f"/api/runs/{in_path(run_id)}/snapshot")


def import_parameters(
    data: bytes | Document, *, activation: str | None = None, key: str | None = None
) -> Steps[answers.Imported]:
    """Bring parameters: a safetensors file's bytes, or a document with `architecture` and `parameters`."""
    as_file = isinstance(data, bytes)
    headers = {
        "Content-Type": "application/vnd.safetensors" if as_file else "application/json",
        "Idempotency-Key": key or new_key(),
    }
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    response = yield Request("POST", "/api/params", query_of(activation=activation), content, headers)
    imported: answers.Imported = read_json(response)
    return imported


def parameter_sets(
    *, model_id: str | None = None, limit: int = PAGE_SIZE, cursor: str | None = None
) -> Steps[answers.ParameterPage]:
    """A page of all parameter sets, newest first."""
    return json_of("GET", "/api/params", model_id=model_id, limit=limit, cursor=cursor)


def all_parameter_sets(*, model_id: str | None = None) -> Steps[list[answers.ListedParameters]]:
    """All parameter sets, newest first."""
    return all_pages("/api/params", model_id=model_id)


def parameters(param_id: str) -> Steps[answers.ParameterSet]:
    """A parameter set as a document."""
    return json_of("GET", f"/api/params/{in_path(param_id)}", format="json")


def arrays(param_id: str) -> Steps[dict[str, Array]]:
    """The arrays of a parameter set: `linear.0.W` (in, out), `linear.0.b` (out), …"""
    data = yield from export(param_id, "npz")
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != "architecture"}


def export(param_id: str, format: Format = "safetensors") -> Steps[bytes]:
    """A parameter set as a file."""
    response = yield Request("GET", f"/api/params/{in_path(param_id)}", {"format": format})
    return response.content


def delete_parameters(param_id: str) -> Steps[None]:
    """Delete a parameter set; its run stays."""
    return nothing("DELETE", f"/api/params/{in_path(param_id)}")


def evaluation(param_id: str) -> Steps[answers.Evaluation]:
    """What a parameter set reaches on the test digits."""
    return json_of("GET", f"/api/params/{in_path(param_id)}/evaluation")


def digits(part: Literal["train", "test"], indices: Iterable[int]) -> Steps[answers.Digits]:
    """Digits of the server's data set, at most `MAX_DIGITS`."""
    chosen = ",".join(str(int(index)) for index in indices)
    found = yield from json_of("GET", f"/api/digits/{part}", indices=chosen)
    images = np.array(found["images"], np.uint8).reshape(-1, PIXELS)
    return answers.Digits(images, np.array(found["labels"], np.int64), found["count"], found["dataset"])


def recipes() -> Steps[list[answers.Recipe]]:
    """Networks and hyperparameters that do well."""
    found: dict[str, list[answers.Recipe]] = yield from json_of("GET", "/api/recipes")
    return found["items"]


def status() -> Steps[answers.Status]:
    """How the service is doing."""
    return json_of("GET", "/api/status")


def version() -> Steps[answers.Version]:
    """What runs there."""
    return json_of("GET", "/api/version")


def openapi() -> Steps[dict[str, Any]]:
    """The OpenAPI document."""
    return json_of("GET", "/api/openapi.json")


def metrics() -> Steps[str]:
    """What Prometheus scrapes."""
    response = yield Request("GET", "/metrics")
    return response.text


def live() -> Steps[bool]:
    """Whether the process lives."""
    return holds("/healthz")


def ready() -> Steps[bool]:
    """Whether requests can be served."""
    return holds("/readyz")
