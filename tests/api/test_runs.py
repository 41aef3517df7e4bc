"""Models and runs: what is created, what a run goes through, and what it shows meanwhile."""

from __future__ import annotations

import math
import re

import pytest
from asking import PROBLEM, Document
from cases import for_each
from checking_client import Client, kind
from on_disk import OnDisk
from small_networks import DEFAULTS, SMALL, architecture, linear, pixels


def untimed(run: Document) -> list[Document]:
    """The history of a run but for how long its epochs took."""
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in run["history"]]


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
    assert {entry["lr"] for entry in trained["history"]} == {0.1}
    assert all(entry["seconds"] > 0 for entry in trained["history"])
    losses = [entry["val_loss"] for entry in trained["history"]]
    assert trained["best_epoch"] == losses.index(min(losses)) + 1
    accuracies = [entry["val_accuracy"] for entry in trained["history"]]
    best = max(accuracies)
    assert trained["best_accuracy"] == {"epoch": accuracies.index(best) + 1, "val_accuracy": best}
    assert trained["samples_per_second"] > 0
    assert trained["eta_seconds"] is None
    assert "error" not in trained


def test_two_reads_of_a_finished_run_are_byte_identical(client: Client, trained: Document) -> None:
    path = f"/api/runs/{trained['run_id']}"
    assert client.get(path).content == client.get(path).content


@for_each(
    "method, path",
    [
        ("POST", "/api/models/m_0/train"),
        ("GET", "/api/models/m_0/runs"),
        ("GET", "/api/runs/r_0"),
        ("POST", "/api/runs/r_0/cancel"),
        ("GET", "/api/params/p_0"),
    ],
)
def test_an_unknown_id_is_not_found(client: Client, on_disk: OnDisk, method: str, path: str) -> None:
    with on_disk.unchanged():
        response = client.request(method, path)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == PROBLEM
    assert kind(response).startswith("unknown-")


def test_an_architecture_whose_layers_do_not_chain_is_refused(client: Client, on_disk: OnDisk) -> None:
    broken = architecture(16)
    broken["layers"][2]["in"] = 17
    with on_disk.unchanged():
        response = client.post("/api/models", {"architecture": broken})
    assert response.status_code == 400
    assert response.json()["errors"] == [
        {"pointer": "/architecture/layers/2/in", "detail": "must equal the previous layer's output size (16), got 17"}
    ]


# What a run goes through


def test_a_run_goes_forward_only_and_shows_each_epoch_as_it_ends(client: Client) -> None:
    run_id = client.train(client.model(epochs=60, batch_size=600))
    order = ["queued", "running", "succeeded"]
    state, epoch = "queued", 0
    while True:
        run = client.run(run_id)
        assert order.index(run["state"]) >= order.index(state)
        assert run["epoch"] >= epoch
        assert run["epoch"] == len(run["history"])
        assert [entry["epoch"] for entry in run["history"]] == list(range(1, run["epoch"] + 1))
        expected = {name: run["history"][-1][name] for name in NO_METRICS} if run["history"] else NO_METRICS
        assert run["metrics"] == expected
        assert ("param_id" in run) == (run["state"] == "succeeded")
        assert (run["started_at"] is None) == (run["state"] == "queued")
        assert (run["finished_at"] is None) == (run["state"] != "succeeded")
        assert "error" not in run
        state, epoch = run["state"], run["epoch"]
        if state == "succeeded":
            break
    assert run["epoch"] == 60


def test_a_run_shows_no_metrics_before_its_first_epoch_has_ended(limited_server: tuple[Client, OnDisk]) -> None:
    client, _ = limited_server
    with client.endless_run(), client.endless_run(running=False) as queued:
        assert queued["metrics"] == NO_METRICS
        assert queued["history"] == []
        assert (queued["epoch"], queued["epochs_total"]) == (0, 1000)
        assert queued["started_at"] is queued["finished_at"] is queued["dataset"] is None
        assert queued["hyperparams"] == DEFAULTS | {"epochs": 1000}


def test_a_queued_run_can_be_cancelled_and_never_starts(limited_server: tuple[Client, OnDisk]) -> None:
    client, _ = limited_server
    with client.endless_run(), client.endless_run(running=False) as queued:
        response = client.post(f"/api/runs/{queued['run_id']}/cancel")
        assert response.status_code == 200
        cancelled = response.json()
        assert cancelled["state"] == "cancelled"
        assert cancelled["started_at"] is None
        assert cancelled["finished_at"] is not None
        assert "param_id" not in cancelled
        assert "error" not in cancelled
        # Room in the queue again, and again a worker: the next run is not held up by the cancelled one.
        assert client.post(f"/api/models/{queued['model_id']}/train").status_code == 202
        last = client.get(f"/api/models/{queued['model_id']}/runs").json()["items"][0]
        client.post(f"/api/runs/{last['run_id']}/cancel")
    client.trained(seed=1)
    assert client.run(queued["run_id"]) == cancelled


def test_a_running_run_can_be_cancelled_twice_and_stays_so(client: Client, on_disk: OnDisk) -> None:
    with client.endless_run() as run:
        path = f"/api/runs/{run['run_id']}"
        first = client.post(f"{path}/cancel")
        assert first.status_code == 200
        assert first.json()["state"] == "cancelled"
        again = client.post(f"{path}/cancel", {})
        assert again.status_code == 200
        assert again.content == first.content
    # Its worker becomes free, and changes nothing any more.
    for seed in (1, 2):
        client.trained(seed=seed)
    assert client.get(path).content == first.content
    assert on_disk.query("SELECT id FROM parameter_sets WHERE run_id = ?", run["run_id"]) == []


def test_a_finished_run_cannot_be_cancelled(client: Client, trained: Document) -> None:
    path = f"/api/runs/{trained['run_id']}"
    before = client.get(path).content
    response = client.post(f"{path}/cancel")
    assert response.status_code == 409
    assert kind(response) == "run-finished"
    assert client.get(path).content == before


def test_a_loss_that_stops_being_finite_ends_the_run(client: Client) -> None:
    layers = [linear(784, 32), linear(32, 32), linear(32, 10)]  # nothing holds the weights back
    body = {
        "architecture": {"input_size": 784, "layers": layers},
        "hyperparams": {"epochs": 50, "optimizer": {"lr": 100}},
    }
    run = client.wait(client.train(client.model(body)))
    assert run["state"] == "failed"
    assert run["error"]["code"] == "diverged"
    assert "epoch" in run["error"]["message"]
    assert "param_id" not in run
    assert run["finished_at"] is not None
    assert all(value is None or math.isfinite(value) for entry in run["history"] for value in entry.values())
    assert all(value is None or math.isfinite(value) for value in run["metrics"].values())
    path = f"/api/runs/{run['run_id']}"
    assert client.get(path).content == client.get(path).content
    assert client.post(f"{path}/cancel").status_code == 409
    # A failed run does not stand in the way of one with better hyperparameters.
    retried = client.wait(client.train(run["model_id"], epochs=1, optimizer={"lr": 0.01}))
    assert retried["state"] == "succeeded"


def test_with_nothing_set_apart_there_are_no_validation_metrics(client: Client) -> None:
    run = client.trained(epochs=2, train_split=1)
    for entry in (run["metrics"], *run["history"]):
        assert entry["val_loss"] is entry["val_accuracy"] is None
        assert math.isfinite(entry["train_loss"])


@pytest.mark.parametrize("hyperparams", [{"train_split": 1e-9}, {"batch_size": 4096}, {"batch_size": 1}, {"seed": 0}])
def test_extreme_hyperparameters_train_all_the_same(client: Client, hyperparams: Document) -> None:
    assert client.trained(**hyperparams)["epoch"] == 1


# The same bits


def test_the_same_seed_gives_the_same_parameters_and_another_seed_others(client: Client) -> None:
    first = client.trained(epochs=2, seed=7, optimizer={"momentum": 0.9})
    with client.endless_run():  # whatever else the machine is doing
        second = client.trained(epochs=2, seed=7, optimizer={"momentum": 0.9})
    again = client.wait(client.train(first["model_id"]))
    assert client.digest_of_parameters(second) == client.digest_of_parameters(first)
    assert client.digest_of_parameters(again) == client.digest_of_parameters(first)
    assert untimed(first) == untimed(second) == untimed(again)
    assert len({run["param_id"] for run in (first, second, again)}) == 3
    for other in ({"seed": 8}, {"shuffle": False}, {"optimizer": {"momentum": 0.5}}):
        differing = client.wait(client.train(first["model_id"], **other))
        assert client.digest_of_parameters(differing) != client.digest_of_parameters(first)


def test_two_runs_train_at_once_while_the_server_infers(client: Client, trained: Document) -> None:
    with client.endless_run() as one, client.endless_run() as other:
        before = client.run(one["run_id"])["state"], client.run(other["run_id"])["state"]
        client.infer(trained["param_id"], pixels(512).tolist())
        after = client.run(one["run_id"])["state"], client.run(other["run_id"])["state"]
        assert before == after == ("running", "running")


def test_a_run_may_begin_with_a_parameter_set(client: Client, trained: Document) -> None:
    """With a learning rate too small to change a float32, it ends where it began."""
    overrides = {"epochs": 1, "optimizer": {"lr": 1e-30}}
    response = client.post(
        f"/api/models/{trained['model_id']}/train", {"hyperparams": overrides, "start_from": trained["param_id"]}
    )
    run = client.wait(response.json()["run_id"])
    assert run["start_from"] == trained["param_id"]
    assert trained["start_from"] is None
    assert client.digest_of_parameters(run) == client.digest_of_parameters(trained)


def test_what_no_run_can_begin_with_is_refused(client: Client, on_disk: OnDisk, trained: Document) -> None:
    other = client.model({"architecture": architecture(3)})
    with on_disk.unchanged():
        for model_id, param_id, status, problem in (
            (trained["model_id"], "p_0", 404, "unknown-parameters"),
            (other, trained["param_id"], 409, "other-architecture"),
            (other, 5, 422, "invalid-fields"),
        ):
            response = client.post(f"/api/models/{model_id}/train", {"start_from": param_id})
            assert (response.status_code, kind(response)) == (status, problem)


def test_an_active_run_that_began_elsewhere_is_a_conflict(client: Client, trained: Document) -> None:
    path = f"/api/models/{trained['model_id']}/train"
    long = {"hyperparams": {"epochs": 1000}, "start_from": trained["param_id"]}
    run_id = client.post(path, long).json()["run_id"]
    try:
        response = client.post(path, {"hyperparams": {"epochs": 1000}})
        assert (response.status_code, kind(response)) == (409, "conflicting-hyperparams")
    finally:
        client.post(f"/api/runs/{run_id}/cancel")
