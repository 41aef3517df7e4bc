"""What a run has learned so far."""

from __future__ import annotations

import numpy as np
import orjson
import safetensors.numpy
from asking import SAFETENSORS, Document, until
from checking_client import Client, kind
from small_networks import pixels


def test_a_running_run_shows_its_newest_checkpoint(client: Client) -> None:
    with client.endless_run() as run:
        path = f"/api/runs/{run['run_id']}/snapshot"
        snapshot = until(lambda: _found(client, path), "there is a checkpoint")
        layers = snapshot["parameters"]["layers"]
        assert [len(layer["b"]) for layer in layers if layer["type"] == "linear"] == [128, 64, 10]
        model = client.get(f"/api/models/{run['model_id']}").json()
        inputs = (pixels(1) / 255).tolist()
        body = {"architecture": model["architecture"], "parameters": snapshot["parameters"], "inputs": inputs}
        assert client.post("/api/infer_adhoc", content=orjson.dumps(body)).status_code == 200
        response = client.get(path, headers={"Accept": SAFETENSORS})
        tensors = safetensors.numpy.load(response.content)
        assert tensors["linear.0.W"].shape == (784, 128)
        assert np.isfinite(tensors["linear.0.W"]).all()
        assert client.request("HEAD", path).status_code == 200


def _found(client: Client, path: str) -> Document | None:
    response = client.get(path)
    assert response.status_code in (200, 404)
    document: Document = orjson.loads(response.content)
    return document if response.status_code == 200 else None


def test_a_run_that_has_ended_has_none(client: Client, trained: Document) -> None:
    response = client.get(f"/api/runs/{trained['run_id']}/snapshot")
    assert response.status_code == 404
    assert kind(response) == "no-snapshot"
    assert kind(client.get("/api/runs/r_0/snapshot")) == "unknown-run"
