"""What a parameter set reaches on the test images, beside the same counted in NumPy from what `/infer` answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from asking import READ, Document
from checking_client import Client, kind
from on_disk import OnDisk
from server_process import Server
from small_networks import architecture, write_digits

from falcon_mnist.constants import PIXELS
from falcon_mnist.training.hyperparams import Hyperparams


def images_and_labels(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    images = np.frombuffer((folder / "t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(-1, PIXELS)
    return images, np.frombuffer((folder / "t10k-labels-idx1-ubyte").read_bytes()[8:], np.uint8)


@pytest.fixture(scope="module")
def beginner(client: Client) -> Document:
    """A run that has learned so little that its parameters make mistakes."""
    return client.trained({"architecture": architecture(8)}, epochs=1, optimizer={"lr": 1e-4})


def test_an_evaluation_is_what_the_answers_to_all_test_images_add_up_to(
    client: Client, digits: Path, beginner: Document
) -> None:
    images, labels = images_and_labels(digits)
    answered = client.infer(beginner["param_id"], (images / 255).tolist(), probabilities=True, labels=True)["outputs"]
    predicted, sure = np.array(answered["labels"]), np.array(answered["probabilities"])
    found = client.get(f"/api/params/{beginner['param_id']}/evaluation").json()
    assert found["accuracy"] == (predicted == labels).mean() < 1
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predicted), 1)
    assert found["confusion"] == confusion.tolist()
    assert found["loss"] == pytest.approx(-np.log(sure[np.arange(len(labels)), labels]).mean(), rel=1e-4)
    assert {each["index"] for each in found["mistakes"]} == set(np.flatnonzero(predicted != labels))
    for each in found["mistakes"]:
        assert (each["label"], each["predicted"]) == (labels[each["index"]], predicted[each["index"]])
        assert each["confidence"] == pytest.approx(sure[each["index"]].max(), rel=1e-5)
    confidences = [each["confidence"] for each in found["mistakes"]]
    assert confidences == sorted(confidences, reverse=True)
    assert found["dataset"] == beginner["dataset"]


def test_it_is_stored_when_the_run_ends_and_stays_the_same(client: Client, on_disk: OnDisk, trained: Document) -> None:
    param_id = trained["param_id"]
    assert on_disk.query("SELECT count(*) FROM evaluations WHERE param_id = ?", param_id) == [(1,)]
    first, again = (client.get(f"/api/params/{param_id}/evaluation", token=READ) for _ in range(2))
    assert first.content == again.content
    assert first.headers["cache-control"] == "private, no-cache"
    cached = client.get(f"/api/params/{param_id}/evaluation", headers={"If-None-Match": first.headers["etag"]})
    assert (cached.status_code, cached.content) == (304, b"")


def test_an_unknown_set_has_none(client: Client) -> None:
    response = client.get(f"/api/params/p_{'0' * 32}/evaluation")
    assert (response.status_code, kind(response)) == (404, "unknown-parameters")


def test_what_has_none_is_evaluated_once_for_all_who_ask_for_it_unless_its_data_set_is_gone(
    serve: Callable[..., Server], digits: Path, tmp_path: Path
) -> None:
    """As after an upgrade: an earlier version has trained it."""
    server = serve()
    with Client(server.url()) as client:
        param_id = client.trained({"architecture": architecture(8)}, epochs=1)["param_id"]
        path = f"/api/params/{param_id}/evaluation"
        stored = client.get(path)
        server.on_disk.change("DELETE FROM evaluations")
        assert client.get(path).content == stored.content
        assert server.on_disk.query("SELECT count(*) FROM evaluations") == [(1,)]
        server.on_disk.change("DELETE FROM evaluations")
        with ThreadPoolExecutor(16) as pool:
            responses = list(pool.map(lambda _: client.get(path), range(32)))
        answered = [response for response in responses if response.status_code == 200]
        assert answered
        assert {response.content for response in answered} == {stored.content}
        assert {kind(response) for response in responses if response.status_code != 200} <= {"busy"}
        assert server.on_disk.query("SELECT count(*) FROM evaluations") == [(1,)]
        server.on_disk.change("DELETE FROM evaluations")
    server.stop()
    other = write_digits(tmp_path / "other")
    labels = bytearray((other / "t10k-labels-idx1-ubyte").read_bytes())
    labels[-1] = (labels[-1] + 1) % 10
    (other / "t10k-labels-idx1-ubyte").write_bytes(bytes(labels))
    with Client(serve(dataset=other).url()) as client:
        response = client.get(path)
        assert (response.status_code, kind(response)) == (409, "no-test-data")
        assert "FALCON_MNIST_DATASET" in response.json()["detail"]
        assert "etag" not in response.headers
        again = client.get(path, headers={"If-None-Match": stored.headers["etag"]})
        assert again.status_code == 409


def test_recipes_are_bodies_of_models(client: Client) -> None:
    items = client.get("/api/recipes", token=READ).json()["items"]
    assert {item["name"] for item in items} >= {
        "lecun-300",
        "simard-800",
        "dropout",
        "ciresan-1000-500",
        "best",
        "quick",
    }
    for item in items:
        body = {"architecture": item["architecture"], "hyperparams": item["hyperparams"]}
        response = client.post("/api/models", body)
        assert response.status_code == 200
        assert response.json()["hyperparams"] == item["hyperparams"]
        assert item["hyperparams"] == Hyperparams.model_validate(item["hyperparams"]).model_dump()
