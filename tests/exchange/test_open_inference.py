"""The Open Inference Protocol: its usual client works unchanged, and bad requests get its errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from asking import PLAIN, READ, Document
from cases import for_each
from checking_client import Client
from small_networks import pixels

from falcon_mnist.exchange.open_inference import OUTPUTS

# To be copied: the client of Triton writes into what it is given.
HEADERS = {"Authorization": f"Bearer {READ}"}
FLOATS = (pixels(5) / np.float32(255)).astype(np.float32)


@pytest.fixture
def triton() -> Any:
    import tritonclient.http  # takes long: not in each process that collects tests

    return tritonclient.http


@pytest.fixture
def client_of_triton(client: Client, triton: Any) -> Iterator[Any]:
    asking = triton.InferenceServerClient(f"{client.url.host}:{client.url.port}")
    yield asking
    asking.close()


def test_the_client_of_triton_finds_what_it_looks_for(client_of_triton: Any, trained: Document) -> None:
    assert client_of_triton.is_server_live()
    assert client_of_triton.is_server_ready()
    assert client_of_triton.is_model_ready(trained["param_id"], headers=dict(HEADERS))
    assert not client_of_triton.is_model_ready("p_0", headers=dict(HEADERS))
    assert client_of_triton.get_server_metadata(headers=dict(HEADERS))["name"] == "falcon-mnist"
    found = client_of_triton.get_model_metadata(trained["param_id"], headers=dict(HEADERS))
    assert [each["name"] for each in found["inputs"]] == ["pixels"]
    assert {each["name"]: each["shape"] for each in found["outputs"]} == {
        "probabilities": [-1, 10], "logits": [-1, 10], "labels": [-1]
    }  # fmt: skip


@pytest.mark.parametrize("binary_outputs", [True, False])
@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
def test_the_client_of_triton_gets_the_answers_of_infer(
    client: Client,
    triton: Any,
    client_of_triton: Any,
    trained: Document,
    datatype: str,
    binary_input: bool,
    binary_outputs: bool,
) -> None:
    rows = FLOATS if datatype == "FP32" else pixels(5)
    tensor = triton.InferInput("pixels", list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows, binary_data=binary_input)
    asked = ["labels", "logits", "probabilities"]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_outputs) for name in asked]
    answer = client_of_triton.infer(
        trained["param_id"], [tensor], outputs=outputs, request_id="number 5", headers=dict(HEADERS)
    )
    assert answer.get_response()["id"] == "number 5"
    assert [each["name"] for each in answer.get_response()["outputs"]] == asked
    ours = client.infer(trained["param_id"], FLOATS.tolist(), logits=True, labels=True, probabilities=True)["outputs"]
    assert answer.as_numpy("labels").dtype == np.int64
    for name in asked:
        np.testing.assert_array_equal(answer.as_numpy(name), np.array(ours[name], answer.as_numpy(name).dtype))


def test_all_outputs_come_where_none_is_named(triton: Any, client_of_triton: Any, trained: Document) -> None:
    tensor = triton.InferInput("pixels", [5, 784], "FP32")
    tensor.set_data_from_numpy(FLOATS)
    answer = client_of_triton.infer(trained["param_id"], [tensor], headers=dict(HEADERS))
    assert [each["name"] for each in answer.get_response()["outputs"]] == list(OUTPUTS)


def test_the_client_of_triton_raises_what_is_wrong(triton: Any, client_of_triton: Any, trained: Document) -> None:
    from tritonclient.utils import InferenceServerException

    tensor = triton.InferInput("pixels", [1, 785], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 785), np.float32))
    with pytest.raises(InferenceServerException, match="784"):
        client_of_triton.infer(trained["param_id"], [tensor], headers=dict(HEADERS))
    with pytest.raises(InferenceServerException, match="no parameter set"):
        client_of_triton.infer("p_0", [tensor], headers=dict(HEADERS))


def ask(client: Client, path: str, **options: Any) -> httpx.Response:
    options = {"headers": HEADERS} | options
    response = httpx.request(options.pop("method", "POST"), f"{client.url}{path}", **options, **PLAIN)
    client.description.check(response)
    return response


def tensor(**changes: Any) -> Document:
    fine = {"name": "pixels", "datatype": "FP32", "shape": [1, 784], "data": [0.5] * 784}
    return {name: value for name, value in (fine | changes).items() if value is not None}


def test_numbers_may_lie_in_one_list_or_in_rows_and_what_is_unknown_is_left_alone(
    client: Client, trained: Document
) -> None:
    path = f"/v2/models/{trained['param_id']}/infer"
    alike = []
    nothing = {"id": None, "outputs": None, "parameters": None}  # as some clients write what they leave out
    for data, more in (([0.5] * 1568, {"parameters": {"priority": 3}, "more": []}), ([[0.5] * 784] * 2, nothing)):
        body = {"inputs": [tensor(shape=[2, 784], data=data) | {"other": 1}]} | more
        response = ask(client, path, json=body)
        assert response.status_code == 200, response.text
        assert "id" not in response.json()
        alike.append(response.content)
    assert alike[0] == alike[1]


@for_each("body, said", [
        ({}, "inputs.*required"),
        ({"inputs": []}, "inputs.*must not be empty"),
        ({"inputs": [tensor(), tensor()]}, "inputs.*at most 1"),
        ({"inputs": [tensor(name="image")]}, "/inputs/0.*pixels"),
        ({"inputs": [tensor(datatype="FP64")]}, "FP32 or UINT8"),
        ({"inputs": [tensor(shape=[784])]}, "784"),
        ({"inputs": [tensor(shape=[513, 784])]}, "512"),
        ({"inputs": [tensor(shape=[1, 10**9])]}, "784"),
        ({"inputs": [tensor(shape=[2, 784])]}, "784 numbers.*1568"),
        ({"inputs": [tensor(data=None)]}, "array of numbers"),
        ({"inputs": [tensor(data=[0.5] * 783 + ["1"])]}, "/inputs/0/data/783.*string"),
        ({"inputs": [tensor(shape=[2, 784], data=[[0.5] * 784, [0.5] * 783])]}, "/inputs/0/data/1.*783"),
        ({"inputs": [tensor(datatype="UINT8")]}, "whole numbers from 0 to 255"),
        ({"inputs": [tensor(datatype="UINT8", data=[256] * 784)]}, "whole numbers from 0 to 255"),
        ({"inputs": [tensor(datatype="UINT8", data=[-1e30] * 784)]}, "whole numbers from 0 to 255"),
        ({"inputs": [tensor(parameters={"binary_data_size": 3136})]}, "both"),
        ({"inputs": [tensor(data=None, parameters={"binary_data_size": 3136})]}, "0 bytes that follow"),
        ({"inputs": [tensor()], "outputs": [{"name": "scores"}]}, "/outputs/0/name"),
        ({"inputs": [tensor()], "id": 5}, "/id.*string"),
        ([], "object"),
    ])  # fmt: skip
def test_a_bad_body_gets_the_protocol_s_error(client: Client, trained: Document, body: Any, said: str) -> None:
    response = ask(client, f"/v2/models/{trained['param_id']}/infer", json=body)
    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert re.search(said, response.json()["error"]), response.text


def binary(document: Document, data: bytes, length: int | str | None = None) -> dict[str, Any]:
    head = json.dumps(document).encode()
    said = str(len(head) if length is None else length)
    return {"content": head + data, "headers": HEADERS | {"Inference-Header-Content-Length": said}}


@for_each("options, said", [
        (binary({"inputs": [tensor(data=None, parameters={"binary_data_size": 8})]}, bytes(8)), "8 bytes.*3136"),
        (binary({"inputs": [tensor(data=None, parameters={"binary_data_size": 3136})]}, bytes(3135)), "3135 bytes"),
        (binary({"inputs": [tensor()]}, bytes(8)), "no binary_data_size"),
        (binary({"inputs": [tensor()]}, b"", 10**6), "length of the JSON"),
        (binary({"inputs": [tensor()]}, b"", "-1"), "length of the JSON"),
        (binary({"inputs": [tensor(data=None, parameters={"binary_data_size": 3136})]}, b"\xff" * 3136), "not finite"),
    ])  # fmt: skip
def test_bad_binary_data_get_it_too(client: Client, trained: Document, options: dict[str, Any], said: str) -> None:
    response = ask(client, f"/v2/models/{trained['param_id']}/infer", **options)
    assert response.status_code == 400
    assert re.search(said, response.json()["error"]), response.text


@for_each(
    "method, path, headers, status",
    [
        ("GET", "/v2", {}, 401),
        ("GET", "/v2/models/p_0", {"Authorization": "Bearer wrong-token-wrong"}, 401),
        ("GET", "/v2/models/p_0", HEADERS, 404),
        ("GET", "/v2/nothing", {}, 401),
        ("GET", "/v2/nothing", HEADERS, 404),
        ("DELETE", "/v2", HEADERS, 405),
        ("POST", "/v2/models/p_0/infer", HEADERS | {"Content-Type": "text/plain"}, 415),
        ("POST", "/v2/models/p_0/infer", HEADERS, 400),
    ],
)
def test_every_error_has_the_protocol_s_form(
    client: Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = ask(client, path, method=method, headers=headers)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert " or ," not in response.json()["error"]
    assert response.headers["Content-Type"] == "application/json"
