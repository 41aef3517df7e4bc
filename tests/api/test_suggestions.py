"""Errors that say what was probably meant."""

from __future__ import annotations

from typing import Any

import pytest
from asking import BINARY, Document
from cases import for_each
from checking_client import Client
from small_networks import architecture

from falcon_mnist.api import schemas
from falcon_mnist.api.suggestions import unknown_member


@for_each(
    "place, meant",
    [
        ("hyperparams/lr", "optimizer.lr"),
        ("lr", "hyperparams.optimizer.lr"),
        ("epochs", "hyperparams.epochs"),
        ("hyperparam", "hyperparams"),
        ("layers", "architecture.layers"),
        ("hyperparams/schedule/lr", "optimizer.lr"),
        ("hyperparams/learning_rate", "optimizer.lr"),
        ("hyperparams/optimizer/learningRate", "lr"),
        ("hyperparams/wd", "optimizer.weight_decay"),
        ("hyperparams/batchSize", "batch_size"),
        ("hyperparams/batch-size", "batch_size"),
        ("hyperparams/num_epochs", "epochs"),
        ("hyperparams/patience", "early_stopping.patience"),
        ("hyperparams/optimizer/weigth_decay", "weight_decay"),
    ],
)
def test_a_member_that_is_near_or_stands_elsewhere_is_named(place: str, meant: str) -> None:
    said = unknown_member(schemas.CreateModel, place.split("/"))
    assert said == f"is not a known member: did you mean {meant}?"


def test_a_layer_names_its_own_members() -> None:
    assert unknown_member(schemas.CreateModel, ["architecture", "layers", 3, "output"]).endswith("did you mean out?")


@pytest.mark.parametrize(
    ("place", "types"),
    [
        (["hyperparams", "optimizer", "beta1"], "adam or adamw"),
        (["hyperparams", "schedule", "final"], "cosine"),
        (["architecture", "layers", 1, "in"], "linear"),
    ],
)
def test_a_member_of_another_type_names_that_type(place: list[Any], types: str) -> None:
    assert unknown_member(schemas.CreateModel, place) == f"is known with type {types} alone"


def test_what_is_like_nothing_names_what_is_known_there() -> None:
    said = unknown_member(schemas.CreateModel, ["hyperparams", "dropout", "zzz"])
    assert said == "is not a known member: known here are input, hidden"
    assert unknown_member(schemas.Nothing, ["a"]) == "is not a known member"


def refused(client: Client, path: str, **request: Any) -> Document:
    response = client.post(path, **request)
    assert response.status_code == 422, response.text
    document: Document = response.json()
    return document


def test_the_answer_has_it(client: Client) -> None:
    body = {"architecture": architecture(16), "hyperparams": {"lr": 0.1, "epoch": 3}}
    errors = refused(client, "/api/models", json=body)["errors"]
    assert {error["pointer"]: error["detail"] for error in errors} == {
        "/hyperparams/lr": "is not a known member: did you mean optimizer.lr?",
        "/hyperparams/epoch": "is not a known member: did you mean epochs?",
    }


def test_one_row_without_its_list(client: Client, trained: Document) -> None:
    for row in ([0.0] * 784, [0] * 784):
        document = refused(client, "/api/infer", json={"param_id": trained["param_id"], "inputs": row})
        assert [error["pointer"] for error in document["errors"]] == ["/inputs"]
        assert "put it in a list, [[…]]" in document["detail"]


def test_a_picture_as_28_rows(client: Client, trained: Document) -> None:
    document = refused(client, "/api/infer", json={"param_id": trained["param_id"], "inputs": [[0.0] * 28] * 28})
    assert document["errors"][0]["detail"] == "must have 784 numbers, but has 28: a picture is one row, line after line"


def test_bytes_without_their_dtype(client: Client, trained: Document) -> None:
    request = {"content": bytes(784), "headers": {"Content-Type": BINARY}}
    document = refused(client, "/api/infer", params={"param_id": trained["param_id"]}, **request)
    assert document["errors"][0]["detail"].startswith("is required with bytes: uint8 (a byte a pixel")


def test_only_some_of_many_unknown_members_are_compared(client: Client) -> None:
    """However many and however long they are: to compare one takes a millisecond."""
    hyperparams = {f"learning_rate_{'of_a_layer' * 100}_{number}": 1 for number in range(10)}
    hyperparams |= {f"epochs_{number}": 1 for number in range(900)}
    document = refused(client, "/api/models", json={"architecture": architecture(16), "hyperparams": hyperparams})
    details = [error["detail"] for error in document["errors"]]
    assert len(details) == 910
    assert sum("did you mean" in detail for detail in details) == 10
    assert sum(detail == "is not a known member" for detail in details) == 890
