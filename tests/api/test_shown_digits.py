"""Digits of the data set, as scripts and the page show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asking import Document
from cases import for_each
from checking_client import Client, kind, pointers
from server_process import Server

from falcon_mnist.data import dataset


def test_digits_are_those_of_the_data_set(client: Client, trained: Document, digits: Path, tmp_path: Path) -> None:
    data = dataset.load(str(digits), tmp_path)
    for part, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        found = client.get(f"/api/digits/{part}", params={"indices": "7,0,7"}).json()
        assert found["images"] == images[[7, 0, 7]].tolist()
        assert found["labels"] == labels[[7, 0, 7]].tolist()
        assert found["count"] == len(labels)
        assert found["dataset"] == trained["dataset"]


@for_each("indices", ["", "100", "-1", "1,", ",1", "1.0", "x", "1;2", "9" * 5000, ",".join("1" * 101)])
def test_indices_are_numbers_of_digits_that_are_there(client: Client, indices: str) -> None:
    response = client.get("/api/digits/test", params={"indices": indices})
    assert response.status_code == 422
    assert pointers(response) == ["/indices"]


def test_up_to_a_hundred_are_answered(client: Client) -> None:
    found = client.get("/api/digits/test", params={"indices": ",".join(map(str, range(100)))}).json()
    assert len(found["images"]) == 100
    assert pointers(client.get("/api/digits/test")) == ["/indices"]


def test_there_are_two_parts(client: Client) -> None:
    response = client.get("/api/digits/validation", params={"indices": "0"})
    assert response.status_code == 404
    assert kind(response) == "unknown-path"


def test_a_server_without_data_says_so(serve: Callable[..., Server], tmp_path: Path) -> None:
    with Client(serve(dataset="mnist").url()) as client:
        response = client.get("/api/digits/test", params={"indices": "0"})
        assert response.status_code == 409
        assert kind(response) == "no-test-data"
        assert client.get("/api/status").json()["dataset"] is None
