"""Models and runs: what is created, what a run goes through, and what it shows meanwhile."""

from __future__ import annotations

import math
import re

import pytest
from serving import PROBLEM, SMALL, Client, Document, Kept, architecture, kind, pixels

DEFAULTS = {
    "epochs": 5,
    "batch_size": 64,
    "optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.0},
    "loss": "cross_entropy",
    "seed": 42,
    "train_split": 0.9,
    "shuffle": True,
}
NO_METRICS = dict.fromkeys(("train_loss", "train_accuracy", "val_loss", "val_accuracy"))
UTC_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def test_the_minimal_flow(client: Client) -> None:
    created = client.post("/api/models", {"architecture": SMALL, "hyperparams": {"epochs": 3}}).json()
    assert created["architecture"] == SMALL
    assert created["hyperparams"] == DEFAULTS | {"epochs": 3}
    assert re.fullmatch(UTC_TIME, created["created_at"])

    queued = client.post(f"/api/models/{created['model_id']}/train")
    assert queued.status_code == 202
    run_id = queued.json()["run_id"]
    assert queued.json() == {"run_id": run_id, "model_id": created["model_id"], "status": "queued"}
    assert queued.headers["Location"] == f"/api/runs/{run_id}"

    run = client.wait(run_id)
    assert run["state"] == "succeeded"
    answer = client.infer(run["param_id"], pixels(4).tolist())
    assert answer["model_id"] == created["model_id"]
    assert answer["param_id"] == run["param_id"]
    assert set(answer["outputs"]) == {"labels", "probabilities"}
    assert len(answer["outputs"]["labels"]) == 4


def test_a_finished_run_shows_everything_about_itself(client: Client, trained: Document) -> None:
    assert trained["epoch"] == trained["epochs_total"] == 3
    assert trained["hyperparams"] == DEFAULTS | {"epochs": 3}
    assert trained["dataset"]["name"] == "folder"
    assert re.fullmatch("sha256:[0-9a-f]{64}", trained["dataset"]["checksum"])
    assert trained["created_at"] <= trained["started_at"] <= trained["finished_at"]
    assert [entry["epoch"] for entry in trained["history"]] == [1, 2, 3]
    assert {name: trained["history"][-1][name] for name in NO_METRICS} == trained["metrics"]
    for entry in trained["history"]:
        assert all(math.isfinite(entry[name]) for name in NO_METRICS)
        assert 0 <= entry["train_accuracy"] <= 1
    assert trained["history"][0]["train_loss"] > trained["history"][-1]["train_loss"]
    assert "error" not in trained


def test_two_reads_of_a_finished_run_are_byte_identical(client: Client, trained: Document) -> None:
    path = f"/api/runs/{trained['run_id']}"
    assert client.get(path).content == client.get(path).content


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/models/m_0/train"),
        ("GET", "/api/models/m_0/runs"),
        ("GET", "/api/runs/r_0"),
        ("POST", "/api/runs/r_0/cancel"),
        ("GET", "/api/params/p_0"),
    ],
)
def test_an_unknown_id_is_not_found(client: Client, kept: Kept, method: str, path: str) -> None:
    with kept.unchanged():
        response = client.request(method, path)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == PROBLEM
    assert kind(response).startswith("unknown-")


def test_an_architecture_whose_layers_do_not_chain_is_refused(client: Client, kept: Kept) -> None:
    broken = architecture(16)
    broken["layers"][2]["in"] = 17
    with kept.unchanged():
        response = client.post("/api/models", {"architecture": broken})
    assert response.status_code == 400
    assert response.json()["errors"] == [
        {"pointer": "/architecture/layers/2/in", "detail": "must be 16, the width that comes in, but is 17"}
    ]
