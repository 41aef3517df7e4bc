"""What may not happen at the same time, and what may be asked twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import pytest
from asking import Document, listed
from checking_client import Client, kind, until_there_is_room
from on_disk import OnDisk
from server_process import Server
from small_networks import DEFAULTS, SGD, SMALL, architecture


def test_an_active_run_refuses_other_hyperparameters_and_takes_the_same(client: Client, on_disk: OnDisk) -> None:
    with client.endless_run() as run:
        path = f"/api/models/{run['model_id']}/train"
        with on_disk.unchanged():
            for other in ({"epochs": 2}, {"seed": 1}, {"optimizer": {"momentum": 0.5}}, {"shuffle": False}):
                response = client.post(path, {"hyperparams": other})
                assert response.status_code == 409
                assert kind(response) == "conflicting-hyperparams"
                assert run["run_id"] in response.json()["detail"]
        # The same effective ones, whether they are named or not; each time a run of its own.
        same = [{}, {"epochs": 1000}, {"epochs": 1000.0, "optimizer": {"lr": 0.1}}, run["hyperparams"]]
        queued = [client.train(run["model_id"], **hyperparams) for hyperparams in same]
        assert len({run["run_id"], *queued}) == 5
        assert all(client.run(run_id)["hyperparams"] == run["hyperparams"] for run_id in queued)
        for run_id in queued:
            assert client.post(f"/api/runs/{run_id}/cancel").status_code == 200
    # Nothing is active any more.
    run_id = client.train(run["model_id"], epochs=1, batch_size=4096)
    client.post(f"/api/runs/{run_id}/cancel")


def test_a_queued_run_refuses_other_hyperparameters_too(limited_server: tuple[Client, OnDisk]) -> None:
    client, on_disk = limited_server
    with client.endless_run(), client.endless_run(running=False) as queued, on_disk.unchanged():
        response = client.post(f"/api/models/{queued['model_id']}/train", {"hyperparams": {"epochs": 2}})
        assert response.status_code == 409


def test_a_run_of_one_model_does_not_concern_another(client: Client) -> None:
    with client.endless_run():
        assert client.trained(seed=5)["state"] == "succeeded"


def test_hyperparameters_are_merged_member_by_member_also_inside_the_optimizer(client: Client) -> None:
    model_id = client.model(epochs=2, seed=9, optimizer={"lr": 0.01, "momentum": 0.5}, train_split=0.8)
    changes = {"epochs": 1, "optimizer": {"momentum": 0.25}}
    run = client.wait(client.train(model_id, **changes))
    assert run["hyperparams"] == {
        **DEFAULTS,
        "epochs": 1,
        "optimizer": {**SGD, "lr": 0.01, "momentum": 0.25},
        "seed": 9,
        "train_split": 0.8,
    }
    # The model keeps its own.
    assert client.wait(client.train(model_id))["hyperparams"]["optimizer"] == {
        **SGD,
        "lr": 0.01,
        "momentum": 0.5,
    }


def test_another_type_starts_from_its_own_defaults_and_the_same_type_from_the_models(client: Client) -> None:
    model_id = client.model(epochs=1, optimizer={"lr": 0.01, "momentum": 0.5}, early_stopping={"patience": 3})
    run = client.wait(client.train(model_id, optimizer={"type": "adamw", "beta1": 0.5}, early_stopping=None))
    assert run["hyperparams"]["optimizer"] == {
        "type": "adamw", "lr": 0.001, "beta1": 0.5, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01
    }  # fmt: skip
    assert run["hyperparams"]["early_stopping"] is None
    adam = client.model(epochs=1, optimizer={"type": "adam", "eps": 0.1})
    run = client.wait(client.train(adam, optimizer={"beta2": 0.9}))
    assert run["hyperparams"]["optimizer"] == {
        "type": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.9, "eps": 0.1, "weight_decay": 0.0
    }  # fmt: skip


def test_overrides_that_fit_no_longer_with_what_the_model_has_are_a_422(client: Client) -> None:
    model_id = client.model(epochs=4, schedule={"warmup_epochs": 2}, keep="best", optimizer={"type": "adam"})
    for overrides, pointer in (
        ({"epochs": 2}, "/hyperparams"),
        ({"train_split": 1}, "/hyperparams/keep"),
        ({"optimizer": {"momentum": 0.5}}, "/hyperparams/optimizer/momentum"),
    ):
        response = client.post(f"/api/models/{model_id}/train", {"hyperparams": overrides})
        assert response.status_code == 422
        assert [fault["pointer"] for fault in response.json()["errors"]] == [pointer]


# Idempotency keys


def test_the_same_key_with_the_same_body_makes_one_model(client: Client, on_disk: OnDisk) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    body = {"architecture": SMALL, "hyperparams": {"epochs": 3}}
    first = client.post("/api/models", body, headers=key)
    with on_disk.unchanged():
        again = client.post("/api/models", body, headers=key)
        assert again.status_code == 200
        assert again.content == first.content
        # The same document, written otherwise.
        respelled = json.dumps(dict(reversed(body.items())), indent=2)
        assert client.post("/api/models", content=respelled, headers=key).content == first.content
        fractions = body | {"hyperparams": {"epochs": 3.0}}
        assert client.post("/api/models", fractions, headers=key).content == first.content
        for other in (body | {"hyperparams": {"epochs": 4}}, {"architecture": SMALL}):
            response = client.post("/api/models", other, headers=key)
            assert response.status_code == 409
            assert kind(response) == "idempotency-key-reused"
        # What is wrong with the body comes first.
        assert client.post("/api/models", {}, headers=key).status_code == 400
    assert client.post("/api/models", body).json()["model_id"] != first.json()["model_id"]


def test_the_same_key_with_the_same_body_makes_one_run(client: Client, on_disk: OnDisk) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    model_id = client.model(epochs=1)
    path = f"/api/models/{model_id}/train"
    first = client.post(path, {"hyperparams": {"seed": 1}}, headers=key)
    run = client.wait(first.json()["run_id"])
    with on_disk.unchanged():
        again = client.post(path, {"hyperparams": {"seed": 1}}, headers=key)
        assert again.status_code == 202
        assert again.content == first.content
        assert again.headers["Location"] == first.headers["Location"] == f"/api/runs/{run['run_id']}"
        for other in ({"hyperparams": {"seed": 2}}, {}):
            assert kind(client.post(path, other, headers=key)) == "idempotency-key-reused"
    # A key belongs to what was asked: another model, or the making of a model, is something else.
    other_model = client.model(epochs=1)
    response = client.post(f"/api/models/{other_model}/train", {"hyperparams": {"seed": 2}}, headers=key)
    assert response.status_code == 202
    client.wait(response.json()["run_id"])
    assert client.post("/api/models", {"architecture": architecture(8)}, headers=key).status_code == 200


def test_a_key_is_answered_again_though_a_new_run_would_be_refused(limited_server: tuple[Client, OnDisk]) -> None:
    client, _ = limited_server
    model_id = client.model(epochs=1)
    key = {"Idempotency-Key": "the-first"}
    first = client.post(f"/api/models/{model_id}/train", headers=key)
    client.wait(first.json()["run_id"])
    with client.endless_run(), client.endless_run(running=False):
        assert client.post(f"/api/models/{model_id}/train").status_code == 503
        again = client.post(f"/api/models/{model_id}/train", headers=key)
        assert again.status_code == 202
        assert again.content == first.content


@pytest.mark.parametrize("kind_of_thing", ["models", "runs"])
def test_the_same_key_at_the_same_time_makes_one_thing(client: Client, on_disk: OnDisk, kind_of_thing: str) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    body: Document = {"architecture": SMALL} if kind_of_thing == "models" else {"hyperparams": {"epochs": 1}}
    path = "/api/models" if kind_of_thing == "models" else f"/api/models/{client.model()}/train"
    before = len(on_disk.query(f"SELECT id FROM {kind_of_thing}"))
    post = partial(client.post, path, body, headers=key)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(until_there_is_room, [post] * 24))
    assert len({answer.content for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {200 if kind_of_thing == "models" else 202}
    assert len(on_disk.query(f"SELECT id FROM {kind_of_thing}")) == before + 1
    if kind_of_thing == "runs":
        client.wait(answers[0].json()["run_id"])


def test_keys_and_everything_else_outlive_the_server(serve: Callable[..., Server]) -> None:
    key = {"Idempotency-Key": "before-and-after"}
    server = serve()
    with Client(server.url()) as client:
        model = client.post("/api/models", {"architecture": SMALL, "hyperparams": {"epochs": 2}}, headers=key)
        path = f"/api/models/{model.json()['model_id']}/train"
        train = client.post(path, headers=key)
        run = client.wait(train.json()["run_id"], "succeeded")
        shown = client.get(f"/api/runs/{run['run_id']}").content
        parameters = client.get(f"/api/params/{run['param_id']}").content
        second = client.wait(client.train(model.json()["model_id"]))
        page = client.get(f"/api/models/{run['model_id']}/runs?limit=1").json()
    assert server.stop() == 0
    server = serve()
    with Client(server.url()) as client, server.on_disk.unchanged():
        body = {"architecture": SMALL, "hyperparams": {"epochs": 2}}
        assert client.post("/api/models", body, headers=key).content == model.content
        assert client.post(path, headers=key).content == train.content
        assert client.post("/api/models", {"architecture": SMALL}, headers=key).status_code == 409
        assert client.post(path, {"hyperparams": {"seed": 2}}, headers=key).status_code == 409
        assert client.get(f"/api/runs/{run['run_id']}").content == shown
        assert client.get(f"/api/params/{run['param_id']}").content == parameters
        # A cursor, too.
        assert page["items"] == [listed(second)]
        rest = client.get(f"/api/models/{run['model_id']}/runs", params={"cursor": page["next_cursor"]})
        assert [found["run_id"] for found in rest.json()["items"]] == [run["run_id"]]
