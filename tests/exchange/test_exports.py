"""What is taken away does the same elsewhere: ONNX in its reference runtime, arrays in NumPy."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import BINARY, SAFETENSORS, Document
from checking_client import Client
from server_process import Server
from small_networks import architecture, linear, pixels

from falcon_mnist.data import dataset

MNIST = Path(__file__).parents[2].parent / "shared" / "data" / "mnist"

ONNX, NPZ = "application/vnd.onnx", "application/vnd.numpy.npz"

ARCHITECTURES = {
    "one layer": architecture(),
    "relu": architecture(16, 12),
    "tanh": architecture(16, activation="tanh", softmax=True),
    "sigmoid": architecture(16, 16, 16, 16, activation="sigmoid"),
    "layers side by side": {"input_size": 784, "layers": [linear(784, 8), linear(8, 10), {"type": "relu"}]},
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def run(request: pytest.FixtureRequest, client: Client) -> Document:
    return client.trained({"architecture": ARCHITECTURES[request.param], "hyperparams": {"epochs": 1}})


def session_of(content: bytes) -> Any:
    import onnxruntime  # takes long: not in each process that collects tests

    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def exported(client: Client, run: Document, name: str) -> bytes:
    response = client.get(f"/api/params/{run['param_id']}?format={name}")
    assert response.status_code == 200
    return response.content


def test_onnx_answers_as_infer_does_for_any_number_of_rows(client: Client, run: Document) -> None:
    session = session_of(exported(client, run, "onnx"))
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("pixels", "tensor(float)", ["N", 784])
    assert [(each.name, each.shape) for each in session.get_outputs()] == [
        ("logits", ["N", 10]),
        ("probabilities", ["N", 10]),
    ]
    for rows in (1, 7, 70):
        digits = (pixels(rows) / np.float32(255)).astype(np.float32)
        ours = client.infer(run["param_id"], digits, logits=True, probabilities=True)["outputs"]
        logits, probabilities = session.run(["logits", "probabilities"], {"pixels": digits})
        np.testing.assert_allclose(logits, ours["logits"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(probabilities, ours["probabilities"], rtol=0, atol=1e-5)


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST is not beside the repository")
def test_onnx_answers_as_infer_does_on_every_test_digit(serve: Callable[..., Server]) -> None:
    with Client(serve(dataset=MNIST).url()) as client:
        run = client.trained({"architecture": architecture(32, 16), "hyperparams": {"epochs": 1}})
        images = np.asarray(dataset.load(str(MNIST), MNIST).test_images).reshape(-1, 784)
        session = session_of(exported(client, run, "onnx"))
        asked = {"param_id": run["param_id"], "dtype": "uint8", "return": "logits,probabilities"}
        for start in range(0, len(images), 500):
            rows = images[start : start + 500]
            sent = client.post("/api/infer", content=rows.tobytes(), params=asked, headers={"Content-Type": BINARY})
            ours = sent.json()["outputs"]
            logits, probabilities = session.run(["logits", "probabilities"], {"pixels": rows / np.float32(255)})
            np.testing.assert_allclose(logits, ours["logits"], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(probabilities, ours["probabilities"], rtol=0, atol=1e-5)


def test_onnx_says_what_it_is(client: Client, run: Document) -> None:
    import onnx  # takes long, too

    model = onnx.load_from_string(exported(client, run, "onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    facts = {each.key: each.value for each in model.metadata_props}
    assert json.loads(facts["architecture"]) == client.get(f"/api/models/{run['model_id']}").json()["architecture"]
    assert facts["param_id"] == run["param_id"]
    assert model.producer_name == "falcon-mnist"


def test_npz_holds_the_arrays_of_the_json(client: Client, run: Document) -> None:
    found = np.load(io.BytesIO(exported(client, run, "npz")), allow_pickle=False)
    described = json.loads(str(found["architecture"]))
    assert described == client.get(f"/api/models/{run['model_id']}").json()["architecture"]
    layers = client.get(f"/api/params/{run['param_id']}").json()["parameters"]["layers"]
    named = [layer for layer in layers if layer["type"] == "linear"]
    assert set(found) == {"architecture"} | {f"linear.{i}.{name}" for i in range(len(named)) for name in "Wb"}
    for index, layer in enumerate(named):
        for name in "Wb":
            np.testing.assert_array_equal(found[f"linear.{index}.{name}"], np.array(layer[name], dtype=np.float32))


def test_a_format_is_named_by_the_query_or_by_accept_and_is_cached(client: Client, trained: Document) -> None:
    path = f"/api/params/{trained['param_id']}"
    tags = set()
    for name, media_type in (("onnx", ONNX), ("npz", NPZ), ("safetensors", SAFETENSORS), ("json", "application/json")):
        by_query = client.get(f"{path}?format={name}")
        by_header = client.get(path, headers={"Accept": media_type})
        assert by_query.headers["Content-Type"] == by_header.headers["Content-Type"] == media_type
        assert by_query.content == by_header.content
        tags.add(by_query.headers["ETag"])
        again = client.get(f"{path}?format={name}", headers={"If-None-Match": by_query.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.request("HEAD", f"{path}?format={name}").content == b""
    assert len(tags) == 4
