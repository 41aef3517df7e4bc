"""What the parameters say about images, and the parameters themselves."""

from __future__ import annotations

import json
import math
from itertools import product
from typing import Any

import numpy as np
import orjson
import pytest
import safetensors.numpy
from asking import BINARY, JSON, SAFETENSORS, Document
from cases import for_each
from checking_client import Client, kind, pointers
from on_disk import OnDisk
from small_networks import architecture, linear, pixels

ROWS = pixels(5)
FLOATS = (ROWS.astype(np.float32) / np.float32(255)).astype(np.float32)
EVERYTHING = {"logits": True, "probabilities": True, "labels": True}


def as_json(rows: np.ndarray) -> list[list[float]]:
    """Each float32 as the double of the same value, which JSON writes exactly."""
    return rows.astype(np.float64).tolist()  # type: ignore[no-any-return]


def bits(values: Any) -> bytes:
    return np.array(values, dtype=np.float32).tobytes()


def binary(client: Client, content: bytes, **query: str) -> Any:
    return client.post("/api/infer", content=content, params=query, headers={"Content-Type": BINARY})


@pytest.fixture(scope="module")
def outputs(client: Client, trained: Document) -> Document:
    found: Document = client.infer(trained["param_id"], as_json(FLOATS), **EVERYTHING)["outputs"]
    return found


# What is answered


def test_labels_and_probabilities_unless_told_otherwise(client: Client, trained: Document) -> None:
    answer = client.infer(trained["param_id"], as_json(FLOATS))
    assert set(answer) == {"model_id", "param_id", "outputs", "latency_ms", "warnings"}  # the rows are noise
    assert set(answer["outputs"]) == {"labels", "probabilities"}
    assert (answer["model_id"], answer["param_id"]) == (trained["model_id"], trained["param_id"])
    assert isinstance(answer["latency_ms"], int | float)
    assert answer["latency_ms"] >= 0


@for_each("chosen", list(product([None, False, True], repeat=3)))
def test_exactly_what_was_asked_for(
    client: Client, trained: Document, outputs: Document, chosen: tuple[bool | None, ...]
) -> None:
    names = ("logits", "probabilities", "labels")
    returns = {name: value for name, value in zip(names, chosen, strict=True) if value is not None}
    wanted = {"logits": False, "probabilities": True, "labels": True} | returns
    body = {"param_id": trained["param_id"], "inputs": as_json(FLOATS), "return": returns}
    response = client.post("/api/infer", body)
    if any(wanted.values()):
        assert response.json()["outputs"] == {name: outputs[name] for name in names if wanted[name]}
    else:
        assert response.status_code == 422
        assert pointers(response) == ["/return"]


def test_the_outputs_belong_together(outputs: Document) -> None:
    logits = np.array(outputs["logits"])
    assert logits.shape == (5, 10)
    assert outputs["labels"] == logits.argmax(axis=1).tolist()
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = shifted / shifted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], expected, rtol=1e-5, atol=1e-30)


def test_a_trained_network_knows_the_digits(client: Client, digits: Any) -> None:
    images = np.fromfile(digits / "t10k-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 784)
    labels = np.fromfile(digits / "t10k-labels-idx1-ubyte", np.uint8)[8:]
    run = client.trained(epochs=20, batch_size=16)
    found = binary(client, images.tobytes(), param_id=run["param_id"], dtype="uint8").json()["outputs"]["labels"]
    assert (np.array(found) == labels).mean() > 0.95


# Rows


@pytest.mark.parametrize("rows", [1, 2, 512])
def test_a_row_is_answered_the_same_whatever_stands_beside_it(client: Client, trained: Document, rows: int) -> None:
    images = pixels(512, seed=3).astype(np.float32) / np.float32(255)
    together = client.infer(trained["param_id"], as_json(images[:rows]), **EVERYTHING)["outputs"]
    for row in {0, rows // 2, rows - 1}:
        alone = client.infer(trained["param_id"], as_json(images[row : row + 1]), **EVERYTHING)["outputs"]
        assert alone["labels"][0] == together["labels"][row]
        for name in ("logits", "probabilities"):
            assert bits(alone[name][0]) == bits(together[name][row])


@for_each("rows, columns", [(0, 784), (513, 784), (1, 783), (1, 785), (2, 392)])
def test_any_other_number_of_rows_or_pixels_is_a_422(
    client: Client, trained: Document, rows: int, columns: int
) -> None:
    values = np.zeros((rows, columns), dtype=np.float32)
    response = client.post("/api/infer", {"param_id": trained["param_id"], "inputs": values.tolist()})
    assert response.status_code == 422
    assert pointers(response) == ["/inputs" if columns == 784 else "/inputs/0"]
    if (rows, columns) != (2, 392):
        for dtype in ("float32", "uint8"):
            content = values.astype(dtype).tobytes()
            response = binary(client, content, param_id=trained["param_id"], dtype=dtype)
            assert response.status_code == 422
            assert pointers(response) == ["/inputs"]


@pytest.mark.parametrize("rows", [1, 5, 512])
def test_binary_rows_are_answered_as_json_ones(client: Client, trained: Document, rows: int) -> None:
    images = pixels(rows, seed=rows)
    scaled = images.astype(np.float32) / np.float32(255)
    written = client.infer(trained["param_id"], as_json(scaled), **EVERYTHING)["outputs"]
    query = {"param_id": trained["param_id"], "return": "logits,labels,probabilities"}
    for content, dtype in ((scaled.astype("<f4"), "float32"), (images, "uint8")):
        answer = binary(client, content.tobytes(), **query, dtype=dtype).json()
        assert answer["param_id"] == trained["param_id"]
        assert answer["outputs"]["labels"] == written["labels"]
        for name in ("logits", "probabilities"):
            assert bits(answer["outputs"][name]) == bits(written[name])


def test_a_binary_body_is_answered_with_labels_and_probabilities_too(client: Client, trained: Document) -> None:
    answer = binary(client, FLOATS.tobytes(), param_id=trained["param_id"], dtype="float32").json()
    assert set(answer["outputs"]) == {"labels", "probabilities"}


@for_each(
    "query, expected",
    [
        ({}, ["/dtype", "/param_id"]),
        ({"param_id": "p_0"}, ["/dtype"]),
        ({"param_id": "p_0", "dtype": "float64"}, ["/dtype"]),
        ({"param_id": "p_0", "dtype": "uint8", "return": ""}, ["/return"]),
        ({"param_id": "p_0", "dtype": "uint8", "return": "labels,scores"}, ["/return"]),
        ({"param_id": "p_0", "dtype": "uint8", "return": "labels,"}, ["/return"]),
        ({"dtype": "int8", "return": "x"}, ["/dtype", "/param_id", "/return"]),
        ({"param_id": "p_0", "dtype": "uint8", "rows": "5"}, ["/rows"]),
    ],
)
def test_the_query_of_a_binary_body_is_checked(client: Client, query: dict[str, str], expected: list[str]) -> None:
    response = binary(client, FLOATS.tobytes(), **query)
    assert response.status_code == 422
    assert pointers(response) == expected


def test_binary_rows_must_be_finite(client: Client, trained: Document) -> None:
    for value in (math.nan, math.inf, -math.inf):
        rows = FLOATS.copy()
        rows[3, 7] = value
        response = binary(client, rows.tobytes(), param_id=trained["param_id"], dtype="float32")
        assert response.status_code == 422
        assert pointers(response) == ["/inputs/3/7"]


def test_a_binary_body_is_not_for_other_endpoints(client: Client) -> None:
    headers = {"Content-Type": BINARY}
    assert client.post("/api/infer_adhoc", content=FLOATS.tobytes(), headers=headers).status_code == 415
    assert client.post("/api/models", content=FLOATS.tobytes(), headers=headers).status_code == 415


def test_unknown_parameters_are_not_found(client: Client, trained: Document) -> None:
    for param_id in ("p_0", "", "p_" + "0" * 32, trained["run_id"], "../x", "\x00", "é", trained["param_id"].upper()):
        response = client.post("/api/infer", {"param_id": param_id, "inputs": as_json(FLOATS)})
        assert response.status_code == 404
        assert kind(response) == "unknown-parameters"
    assert binary(client, FLOATS.tobytes(), param_id="p_0", dtype="float32").status_code == 404


# Parameters


@pytest.mark.parametrize(
    "asked",
    [
        architecture(16),
        architecture(16, softmax=True),
        architecture(1400),  # a body of 13 MB: longer ones than 12 MiB are read in another way
        architecture(40, 30, 20, 12, activation="tanh", softmax=True),
        {"input_size": 784, "layers": [{"type": "sigmoid"}, linear(784, 9), linear(9, 10), {"type": "relu"}]},
    ],
    ids=["small", "softmax", "large", "deep", "odd"],
)
def test_parameters_posted_back_answer_bit_for_bit_the_same(client: Client, on_disk: OnDisk, asked: Document) -> None:
    run = client.trained({"architecture": asked, "hyperparams": {"epochs": 1}})
    response = client.get(f"/api/params/{run['param_id']}")
    answer = orjson.loads(response.content)
    assert (answer["param_id"], answer["model_id"]) == (run["param_id"], run["model_id"])
    parameters = answer["parameters"]
    assert (parameters["dtype"], parameters["layout"]) == ("float32", "row_major")
    assert [layer["type"] for layer in parameters["layers"]] == [layer["type"] for layer in asked["layers"]]
    for layer, values in zip(asked["layers"], parameters["layers"], strict=True):
        if layer["type"] == "linear":
            assert (len(values["W"]), len(values["W"][0])) == (layer["in"], layer["out"])
            assert len(values["b"]) == layer["out"]
        else:
            assert set(values) == {"type"}

    stored = client.infer(run["param_id"], as_json(FLOATS), **EVERYTHING)["outputs"]
    others = json.dumps({"architecture": asked, "inputs": as_json(FLOATS), "return": EVERYTHING})
    as_answered = response.text.partition('"parameters":')[2].rpartition(',"size_bytes"')[0]
    with on_disk.unchanged():
        adhoc = client.post("/api/infer_adhoc", content=f'{others[:-1]}, "parameters": {as_answered}}}').json()
    assert set(adhoc) == {"outputs", "latency_ms", "warnings"}
    assert adhoc["outputs"] == stored


@pytest.mark.parametrize("with_softmax", [True, False])
def test_a_softmax_belongs_to_the_probabilities_alone(
    client: Client, trained: Document, outputs: Document, with_softmax: bool
) -> None:
    parameters = client.get(f"/api/params/{trained['param_id']}").json()["parameters"]
    layers = parameters["layers"]
    body = {
        "architecture": architecture(16, softmax=with_softmax),
        "parameters": parameters | {"layers": layers if with_softmax else layers[:-1]},
        "inputs": as_json(FLOATS),
        "return": EVERYTHING,
    }
    assert client.post("/api/infer_adhoc", body).json()["outputs"] == outputs


def test_parameters_in_json_and_in_safetensors_are_the_same_numbers(client: Client, trained: Document) -> None:
    path = f"/api/params/{trained['param_id']}"
    answer = client.get(path).json()
    file = client.get(path, headers={"Accept": SAFETENSORS})
    assert file.headers["Content-Type"] == SAFETENSORS
    assert answer["size_bytes"] == len(file.content)
    tensors = safetensors.numpy.load(file.content)
    layers = [layer for layer in answer["parameters"]["layers"] if layer["type"] == "linear"]
    assert set(tensors) == {f"linear.{index}.{name}" for index in range(len(layers)) for name in "Wb"}
    for index, layer in enumerate(layers):
        for name in "Wb":
            assert tensors[f"linear.{index}.{name}"].dtype == np.float32
            assert bits(layer[name]) == tensors[f"linear.{index}.{name}"].tobytes()


def test_every_number_is_written_in_its_shortest_form(client: Client, trained: Document) -> None:
    text = client.get(f"/api/params/{trained['param_id']}").text
    bias = text[text.index('"b":[') + 5 :].partition("]")[0].split(",")
    weights = text[text.index('"W":[[') + 6 :].partition("]")[0].split(",")
    for number in bias + weights:
        assert float(number) == float(np.format_float_scientific(np.float32(number), unique=True))


def test_of_json_and_safetensors_the_one_that_is_asked_for(client: Client, trained: Document, on_disk: OnDisk) -> None:
    path = f"/api/params/{trained['param_id']}"
    for accept in (
        "*/*",
        "",
        JSON,
        "application/*",
        f"{SAFETENSORS};q=0.5, {JSON}",
    ):
        assert client.get(path, headers={"Accept": accept}).headers["Content-Type"] == JSON
    for accept in ("text/html", "nonsense", "a/b;q=x", f"{JSON};q=0"):
        refused = client.get(path, headers={"Accept": accept})
        assert (refused.status_code, kind(refused)) == (406, "not-acceptable")
        assert client.get(f"{path}?format=json", headers={"Accept": accept}).status_code == 200
    stored = on_disk.parameter_file(trained["param_id"]).read_bytes()
    for query, accept in (("", SAFETENSORS), ("?format=safetensors", "*/*"), ("?format=safetensors", JSON),
                          ("", f"{JSON};q=0.1, {SAFETENSORS}")):  # fmt: skip
        response = client.get(path + query, headers={"Accept": accept})
        assert response.headers["Content-Type"] == SAFETENSORS
        assert response.content == stored
    assert client.get(f"{path}?format=json", headers={"Accept": SAFETENSORS}).headers["Content-Type"] == JSON
    response = client.get(f"{path}?format=pickle")
    assert response.status_code == 422
    assert pointers(response) == ["/format"]


@pytest.mark.parametrize("accept", [JSON, SAFETENSORS])
def test_parameters_that_the_client_has_are_not_sent_again(client: Client, trained: Document, accept: str) -> None:
    path = f"/api/params/{trained['param_id']}"
    first = client.get(path, headers={"Accept": accept})
    tag = first.headers["ETag"]
    assert tag.startswith('"')  # strong
    assert "Accept" in first.headers["Vary"]
    for condition in (tag, "*", f'"other", {tag}', f"W/{tag}"):
        again = client.get(path, headers={"Accept": accept, "If-None-Match": condition})
        assert again.status_code == 304
        assert again.headers["ETag"] == tag
        assert "Accept" in again.headers["Vary"]
    other = client.get(path, headers={"Accept": SAFETENSORS if accept == JSON else JSON}).headers["ETag"]
    assert other != tag
    for condition in ('"other"', other, "", "nonsense", '"'):
        whole = client.get(path, headers={"Accept": accept, "If-None-Match": condition})
        assert whole.status_code == 200
        assert whole.content == first.content
    headed = client.request("HEAD", path, headers={"Accept": accept})
    assert headed.headers["ETag"] == tag
    assert headed.headers["Content-Length"] == str(len(first.content))
    assert client.get("/api/params/p_0", headers={"If-None-Match": "*"}).status_code == 404


def test_a_damaged_file_is_a_500_and_the_others_go_on(client: Client, on_disk: OnDisk, trained: Document) -> None:
    run = client.trained(seed=11)
    file = on_disk.parameter_file(run["param_id"])
    whole = file.read_bytes()
    body = {"param_id": run["param_id"], "inputs": as_json(FLOATS)}
    for damage in (whole[:-1], b"", whole + b"x", bytes([whole[0] ^ 1]) + whole[1:], whole[:-1] + b"\x01", None):
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
        for response in (
            client.get(f"/api/params/{run['param_id']}"),
            client.get(f"/api/params/{run['param_id']}?format=safetensors"),
            client.post("/api/infer", body),
        ):
            assert response.status_code == 500
            assert kind(response) == "damaged-parameters"
    client.infer(trained["param_id"], as_json(FLOATS))
    assert client.run(run["run_id"]) == run
    file.write_bytes(whole)
    client.infer(run["param_id"], as_json(FLOATS))


# Ad-hoc inference


def adhoc(weight: Any, bias: Any, row: Any) -> Document:
    return {
        "architecture": architecture(),
        "parameters": {
            "layers": [{"type": "linear", "W": weight, "b": bias}], "dtype": "float32", "layout": "row_major",
        },
        "inputs": [row],
        "return": EVERYTHING,
    }  # fmt: skip


def test_a_linear_layer_is_the_row_times_w_plus_b(client: Client) -> None:
    weight = np.zeros((784, 10))
    weight[0] = np.arange(10)
    weight[783] = 2.0 ** np.arange(10)
    row = np.zeros(784)
    row[0], row[783] = 3, -1
    bias = np.arange(10) / 4
    outputs = client.post("/api/infer_adhoc", adhoc(weight.tolist(), bias.tolist(), row.tolist())).json()["outputs"]
    expected = 3 * np.arange(10) - 2.0 ** np.arange(10) + np.arange(10) / 4
    assert outputs["logits"] == [expected.tolist()]
    assert outputs["labels"] == [int(expected.argmax())]


def test_logits_beyond_float32_are_a_422(client: Client) -> None:
    huge = np.full((784, 10), 3e38).tolist()
    response = client.post("/api/infer_adhoc", adhoc(huge, [0.0] * 10, [3e38] * 784))
    assert response.status_code == 422
    assert pointers(response) == ["/inputs/0"]


def test_probabilities_are_finite_however_large_the_logits(client: Client) -> None:
    weight = np.zeros((784, 10)).tolist()
    bias = [3e38, -3e38, *[0.0] * 8]
    outputs = client.post("/api/infer_adhoc", adhoc(weight, bias, [0.0] * 784)).json()["outputs"]
    assert outputs["probabilities"] == [[1.0, *[0.0] * 9]]


@pytest.mark.parametrize("seed", range(3))
def test_any_normal_float32_comes_back_from_a_round_trip(client: Client, seed: int) -> None:
    """Through b, a row of zeros gives the numbers back as logits. A pass computes with subnormal ones as zeros."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 2**32, 4000, dtype=np.uint32).view(np.float32)
    normal = np.isfinite(numbers) & (np.abs(numbers) >= np.finfo(np.float32).tiny)
    numbers = np.append(numbers[normal][:3990], np.float32([3.4028235e38, 1.1754944e-38, 0, 7e-26]))
    for start in range(0, 200, 10):
        some = numbers[start : start + 10].astype(np.float32)
        weight = np.zeros((784, 10)).tolist()
        answer = client.post("/api/infer_adhoc", adhoc(weight, some.astype(float).tolist(), [0.0] * 784))
        assert bits(answer.json()["outputs"]["logits"]) == (some + np.float32(0)).tobytes()


def test_the_one_number_whose_shortest_form_is_read_as_its_neighbour_is_written_longer(client: Client) -> None:
    """7.038531e-26, read as a double and rounded, is 7.0385313e-26."""
    body = adhoc(np.zeros((784, 10)).tolist(), "BIAS", [0.0] * 784) | {"return": {"logits": True}}
    bias = "[7.0385307e-26, -7.0385307e-26, 7.0385313e-26, 7.038531e-26, 0, 0, 0, 0, 0, 0]"
    response = client.post("/api/infer_adhoc", content=json.dumps(body).replace('"BIAS"', bias))
    assert '"logits":[[7.0385307e-26,-7.0385307e-26,7.0385313e-26,7.0385313e-26,0.0' in response.text


# What does not look like a digit


def test_an_answer_to_what_does_not_look_like_a_digit_warns(
    client: Client, trained: Document, drawn_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    """Whichever way the rows come; without a fault there is no such member."""
    digits = drawn_digits[0][:3]
    faulty = np.stack([digits[0], 255 - digits[1], digits[2]])
    parameters = client.get(f"/api/params/{trained['param_id']}").json()["parameters"]
    adhoc = {"architecture": architecture(16, softmax=True), "parameters": parameters}
    for rows, expected in ((digits, []), (faulty, [("polarity", [1])])):
        inputs = as_json(rows / np.float32(255))
        answers = [
            client.infer(trained["param_id"], inputs),
            binary(client, rows.tobytes(), param_id=trained["param_id"], dtype="uint8").json(),
            client.post("/api/infer_adhoc", adhoc | {"inputs": inputs}).json(),
        ]
        for answer in answers:
            assert ("warnings" in answer) == bool(expected)
            assert [(each["code"], each["rows"]) for each in answer.get("warnings", [])] == expected
            assert all(each["detail"] for each in answer.get("warnings", []))
