"""What others trained does the same here; what does not fit is refused with its name, and leaves nothing."""

from __future__ import annotations

import json
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.numpy
from asking import BINARY, JSON, READ, SAFETENSORS, Document
from cases import for_each
from checking_client import Client, kind, pointers, until_there_is_room
from on_disk import OnDisk
from small_networks import SMALL, architecture, pixels

Tensors = dict[str, np.ndarray]
FINE = {"activation": "relu"}


def state_dict(*widths: int, name: str = "{}") -> Tensors:
    """As PyTorch names the layers of a `Sequential` with something between each two: 0, 2, 4, …"""
    random = np.random.default_rng(5)
    found = {}
    for index, (inputs, outputs) in enumerate(zip((784, *widths), (*widths, 10), strict=True)):
        key = name.format(2 * index)
        found[f"{key}.weight"] = random.normal(0, 0.1, (outputs, inputs)).astype(np.float32)
        found[f"{key}.bias"] = random.normal(0, 0.1, outputs).astype(np.float32)
    return found


def bring(client: Client, data: bytes, query: Document | None = FINE, **options: Any) -> httpx.Response:
    headers = {"Content-Type": SAFETENSORS} | options.pop("headers", {})
    return client.post("/api/params", content=data, params=query, headers=headers, **options)


def logits_of(client: Client, param_id: str, rows: np.ndarray) -> list[Any]:
    found: list[Any] = client.infer(param_id, rows.tolist(), logits=True)["outputs"]["logits"]
    return found


def header_and(header: Any, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_a_state_dict_answers_as_the_formula_says(client: Client, activation: str) -> None:
    tensors = state_dict(12, 11)
    response = bring(client, safetensors.numpy.save(tensors), {"activation": activation})
    assert response.status_code == 201
    brought = response.json()
    assert response.headers["Location"] == f"/api/params/{brought['param_id']}"
    functions = {"relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh}
    rows = (pixels(20) / 255).astype(np.float32)
    values = rows.astype(np.float64)
    for index in (0, 2, 4):
        values = values @ tensors[f"{index}.weight"].T.astype(np.float64) + tensors[f"{index}.bias"]
        values = functions[activation](values) if index < 4 else values
    np.testing.assert_allclose(logits_of(client, brought["param_id"], rows), values, atol=1e-5)
    shown = client.get(f"/api/models/{brought['model_id']}").json()
    assert shown["architecture"] == architecture(12, 11, activation=activation)
    assert shown["hyperparams"]["epochs"] == 5


def test_a_network_that_pytorch_trained_answers_as_it_did_there(client: Client) -> None:
    """Written by write_pytorch.py."""
    data = (Path(__file__).parent / "pytorch.safetensors").read_bytes()
    theirs = json.loads((Path(__file__).parent / "pytorch_logits.json").read_text())
    random = np.random.default_rng(1)
    rows = random.integers(0, 256, (len(theirs), 784), dtype=np.uint8) * (random.random((len(theirs), 784)) < 0.2)
    brought = bring(client, data, {"activation": "tanh"}).json()
    query = {"param_id": brought["param_id"], "dtype": "uint8", "return": "logits"}
    answer = client.post("/api/infer", content=rows.tobytes(), params=query, headers={"Content-Type": BINARY})
    np.testing.assert_allclose(answer.json()["outputs"]["logits"], theirs, atol=1e-5)


@for_each(
    "names",
    [
        ("0", "2", "10"),
        ("layers.9", "layers.10", "layers.11"),
        ("first", "hidden", "last"),
        ("fc_in", "fc_hidden", "fc_out"),  # in no order but that of their shapes
    ],
)
def test_layers_are_found_by_number_or_by_shape(client: Client, names: tuple[str, ...]) -> None:
    tensors = state_dict(12, 11)
    renamed = {
        f"{name}.{part}": tensors[f"{2 * index}.{part}"]
        for index, name in enumerate(names)
        for part in ("weight", "bias")
    }
    rows = (pixels(3) / 255).astype(np.float32)
    alike = [bring(client, safetensors.numpy.save(each)).json()["param_id"] for each in (tensors, renamed)]
    assert logits_of(client, alike[0], rows) == logits_of(client, alike[1], rows)


def test_ours_come_back_to_the_last_bit(client: Client, trained: Document, on_disk: OnDisk) -> None:
    path = f"/api/params/{trained['param_id']}"
    model = client.get(f"/api/models/{trained['model_id']}").json()
    body = {"architecture": model["architecture"], "parameters": client.get(path).json()["parameters"]}
    for response in (
        bring(client, client.get(f"{path}?format=safetensors").content, None),
        client.post("/api/params", body),
    ):
        assert response.status_code == 201
        brought = response.json()
        assert client.get(f"/api/models/{brought['model_id']}").json()["architecture"] == model["architecture"]
        theirs = client.get(f"/api/params/{brought['param_id']}").json()["parameters"]
        assert theirs == body["parameters"]
        assert on_disk.parameter_file(brought["param_id"]).stat().st_size == brought["size_bytes"]


def test_what_is_brought_is_evaluated_and_trained_on(client: Client, trained: Document) -> None:
    stored = client.get(f"/api/params/{trained['param_id']}?format=safetensors").content
    brought = bring(client, stored, None).json()
    paths = [f"/api/params/{each}/evaluation" for each in (brought["param_id"], trained["param_id"])]
    theirs, ours = (client.get(path).json() for path in paths)
    assert theirs | {"param_id": ""} == ours | {"param_id": ""}
    body = {"hyperparams": {"epochs": 1}, "start_from": brought["param_id"]}
    run = client.post(f"/api/models/{brought['model_id']}/train", body).json()
    assert client.wait(run["run_id"], "succeeded")["start_from"] == brought["param_id"]
    client.request("DELETE", f"/api/models/{brought['model_id']}")
    assert not client.get(paths[0]).is_success


def changed(**changes: np.ndarray | None) -> bytes:
    """A fine state dict of one hidden layer of 12, with some tensors replaced or left out."""
    names = {f"t{name.replace('.', '_')}": name for name in state_dict(12)}
    tensors = {**state_dict(12), **{names.get(name, name): array for name, array in changes.items()}}
    return safetensors.numpy.save({name: array for name, array in tensors.items() if array is not None})


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, dtype=np.float32)


@for_each("data, pointer, said", [
        (changed(t2_weight=zeros(10, 13)), "/2.weight", "10x13.*10x12"),
        (changed(t0_weight=zeros(12, 783)), "/0.weight", "12x783.*12x784"),
        (changed(t0_bias=zeros(13)), "/0.bias", "12.*13"),
        (changed(t2_weight=zeros(9, 12), t2_bias=zeros(9)), "/2.weight", "9.*10"),
        (changed(t2_bias=None), "/2.bias", "not there"),
        (changed(t0_weight=zeros(12, 28, 28)), "/0.weight", "2 dimensions.*12x28x28"),
        (changed(running_mean=zeros(3)), "/running_mean", "weight or bias"),
        (changed(t2_weight=np.full((10, 12), np.nan, np.float32)), "/2.weight", "not finite"),
        (changed(t2_weight=np.zeros((10, 12))), "/2.weight", "F32.*F64"),
        (changed(t2_weight=np.zeros((10, 12), np.float16)), "/2.weight", "F32.*F16"),
        (safetensors.numpy.save(state_dict(9, 8, 7, 6, 5)), "", "6 layers.*5"),
        (safetensors.numpy.save({"linear.0.W": zeros(784, 9), "linear.0.b": zeros(9)}), "/linear.0.W", "9.*10"),
        (safetensors.numpy.save({}), "", "no tensors"),
        (b"", "", "shorter"),
        (b"\x80\x04pickle", "", "shorter|header"),
        (struct.pack("<Q", 2**62) + b"{}", "", "shorter"),
        (header_and(b"{" + b" " * 200_000 + b"}"), "", "200002"),
        (header_and([]), "", "JSON object"),
        (header_and(b"{nonsense"), "", "JSON object"),
        (header_and({"a.weight": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}), "", "says"),
        (header_and({"a.weight": {"dtype": "F32", "shape": [10**9] * 5000}}), "/a.weight", "5000 dimensions"),
        (header_and({"\xb2.weight": {"dtype": "F32", "shape": []}}, bytes(4)), "/\xb2.weight", "2 dimensions"),
        (header_and({"a.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}), "/a.weight", "no shape"),
        (header_and({"a.weight": 5}), "/a.weight", "no shape"),
        (header_and({"__metadata__": {"a": 5}}), "", "metadata"),
        (
            header_and(
                {
                    "0.weight": {"dtype": "F32", "shape": [10, 784], "data_offsets": [0, 31360]},
                    "0.bias": {"dtype": "F32", "shape": [10], "data_offsets": [31320, 31360]},
                },
                bytes(31400),
            ),
            "",
            "does not fit",
        ),
    ])  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(
    client: Client, on_disk: OnDisk, data: bytes, pointer: str, said: str
) -> None:
    with on_disk.unchanged():
        response = bring(client, data)
        assert (response.status_code, kind(response)) == (400, "invalid-architecture")
        assert pointers(response) == [pointer]
        (fault,) = response.json()["errors"]
        assert re.search(said, fault["detail"]), fault


def test_an_architecture_in_a_file_is_checked_as_any_other(client: Client, on_disk: OnDisk) -> None:
    fine = {"linear.0.W": zeros(784, 10), "linear.0.b": zeros(10)}
    wrong: list[tuple[Any, str]] = [
        (architecture(12), ""),
        ({"input_size": 783, "layers": []}, "/architecture/input_size"),
        ({"input_size": 784, "layers": [{"type": "conv"}]}, "/architecture/layers/0/type"),
        ([], "/architecture"),
    ]
    with on_disk.unchanged():
        for described, pointer in wrong:
            data = safetensors.numpy.save(fine, {"architecture": json.dumps(described)})
            response = bring(client, data, None)
            assert response.status_code == 400
            assert pointer in pointers(response)
        assert bring(client, safetensors.numpy.save(fine, {"architecture": "{"}), None).status_code == 400


def test_the_activation_is_said_by_the_file_or_by_the_query(client: Client, trained: Document) -> None:
    ours = client.get(f"/api/params/{trained['param_id']}?format=safetensors").content
    theirs = safetensors.numpy.save(state_dict(12))
    for data, query in (
        (ours, FINE),
        (theirs, None),
        (theirs, {"activation": "softmax"}),
        (theirs, {"activation": ""}),
    ):
        response = bring(client, data, query)
        assert (response.status_code, pointers(response)) == (422, ["/activation"])
    assert bring(client, theirs, {"activations": "relu"}).status_code == 422
    body = {"architecture": SMALL, "parameters": {}}
    assert client.post("/api/params?activation=relu", body).status_code == 400


def test_json_that_does_not_fit_points_to_the_layer(client: Client, on_disk: OnDisk) -> None:
    layers = [{"type": "linear", "W": zeros(784, 9).tolist(), "b": [0] * 10}]
    body = {"architecture": architecture(), "parameters": {"layers": layers, "dtype": "float32", "layout": "row_major"}}
    with on_disk.unchanged():
        response = client.post("/api/params", body)
        assert (response.status_code, pointers(response)) == (400, ["/parameters/layers/0/W"])
        assert client.post("/api/params", body | {"inputs": []}).status_code == 400
        for content_type in ("application/octet-stream", "application/x-pickle"):
            assert client.post("/api/params", content=b"", headers={"Content-Type": content_type}).status_code == 415
        assert bring(client, safetensors.numpy.save(state_dict(12)), token=READ).status_code == 403


def test_a_key_brings_a_set_once_also_at_the_same_time_and_in_another_format(client: Client, on_disk: OnDisk) -> None:
    headers = {"Idempotency-Key": "bring-it-once"}
    data = safetensors.numpy.save(state_dict(12))
    post = partial(bring, client, data, headers=headers)
    with ThreadPoolExecutor(8) as threads:
        brought = {json.dumps(answer.json()) for answer in threads.map(until_there_is_room, [post] * 8)}
    assert len(brought) == 1
    with on_disk.unchanged():
        found = json.loads(brought.pop())
        path = f"/api/params/{found['param_id']}"
        body = {"architecture": architecture(12), "parameters": client.get(path).json()["parameters"]}
        assert client.post("/api/params", body, headers=headers).json() == found
        again = bring(client, safetensors.numpy.save(state_dict(13)), headers=headers)
        assert (again.status_code, kind(again)) == (409, "idempotency-key-reused")
    client.request("DELETE", path)
    assert bring(client, data, headers=headers).json()["param_id"] != found["param_id"]


def test_a_body_over_the_limit_is_refused_before_it_is_read(limited_server: tuple[Client, OnDisk]) -> None:
    client, on_disk = limited_server
    with on_disk.unchanged():
        assert bring(client, safetensors.numpy.save(state_dict(12))).status_code == 413
        assert client.post("/api/params", content=b"{}", headers={"Content-Type": JSON}).status_code == 400
