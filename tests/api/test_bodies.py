"""What is wrong in a body, where, and with which status; and that the description agrees."""

from __future__ import annotations

import json
from copy import copy
from typing import Any

import pytest
from asking import Document
from cases import for_each
from checking_client import Client, kind, pointers
from on_disk import OnDisk
from small_networks import DEFAULTS, SMALL, architecture, linear

ROW = [0.0] * 784
PARAMETERS = {
    "layers": [{"type": "linear", "W": [[0.5] * 10 for _ in range(784)], "b": [0.25] * 10}],
    "dtype": "float32",
    "layout": "row_major",
}
ADHOC = {"architecture": architecture(), "parameters": PARAMETERS, "inputs": [ROW]}
POSTS = ["/api/models", "/api/infer", "/api/infer_adhoc"]


def changed(document: Any, pointer: str, value: Any) -> Any:
    """A copy of the document with `value` at the JSON Pointer; an Ellipsis takes away what is there."""
    document = copy(document)  # and what lies on the way: the rest is large, and nobody changes it
    *steps, last = [int(step) if step.isdigit() else step for step in pointer.split("/")[1:]]
    target = document
    for step in steps:
        target[step] = copy(target[step])
        target = target[step]
    if value is ...:
        del target[last]
    elif isinstance(target, list) and last == len(target):
        target.append(value)
    else:
        target[last] = value
    return document


# The syntax

NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"}",
    b"{} {}",
    b'{"a": 1}x',
    b'{"a": 1,}',
    b"{'a': 1}",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b'{"a": 01}',
    b'{"a": .5}',
    b'{"a": +1}',
    b'{"a": 0x10}',
    b'{"a": "\x01"}',
    b'{"a": "\xff"}',
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\\ud800"}',
    b"\xff\xfe{\x00}\x00",
    b"// no comments\n{}",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 5000 + b"]" * 5000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
]
NOT_AN_OBJECT = [b"null", b"true", b"1", b"-0.0", b'"text"', b"[]", b"[{}]"]


@for_each("content", NOT_JSON + NOT_AN_OBJECT)
@for_each("path", POSTS)
def test_a_body_that_is_no_json_object_is_refused(client: Client, on_disk: OnDisk, path: str, content: bytes) -> None:
    with on_disk.unchanged():
        response = client.post(path, content=content)
    assert response.status_code == 400
    assert kind(response) == "invalid-json"
    assert "errors" not in response.json()


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused_among_the_inputs(client: Client, constant: str) -> None:
    content = json.dumps(ADHOC).replace("0.0", constant, 1)
    assert kind(client.post("/api/infer_adhoc", content=content)) == "invalid-json"


def test_of_members_that_stand_twice_the_last_counts(client: Client) -> None:
    content = json.dumps({"architecture": SMALL})[:-1] + ', "hyperparams": {"epochs": 3, "epochs": 7}}'
    response = client.post("/api/models", content=content)
    assert response.json()["hyperparams"]["epochs"] == 7
    content = json.dumps(ADHOC)[:-1] + f', "inputs": {json.dumps([ROW, ROW])}}}'
    assert len(client.post("/api/infer_adhoc", content=content).json()["outputs"]["labels"]) == 2


def test_an_optional_body_may_be_empty(client: Client, trained: Document) -> None:
    path = f"/api/models/{trained['model_id']}/train"
    for content in (b"", b"{}", b' {"hyperparams": {}}\n'):
        response = client.post(path, content=content)
        assert response.status_code == 202
        client.wait(response.json()["run_id"])
    host = f"Host: here\r\nAuthorization: Bearer {client.token}\r\n"
    # As curl -X POST asks: without a length and without a media type.
    response = client.raw(f"POST {path} HTTP/1.1\r\n{host}\r\n".encode())
    assert response.status_code == 202
    client.wait(response.json()["run_id"])


@for_each("name", ["", "\0", "hyperparams\0", "\ufeff", "é", "😀", '"', "\\", "/", "~"])
def test_an_unknown_member_is_named_whatever_its_name(client: Client, on_disk: OnDisk, name: str) -> None:
    with on_disk.unchanged():
        response = client.post("/api/models", {"architecture": SMALL, "hyperparams": {}, name: [[1]]})
    assert response.status_code == 422
    assert pointers(response) == ["/" + name.replace("~", "~0").replace("/", "~1")]


# Architectures

BROKEN_ARCHITECTURES = [
    ("", ..., ["/architecture"]),
    ("", None, ["/architecture"]),
    ("", [], ["/architecture"]),
    ("", "784-10", ["/architecture"]),
    ("", {}, ["/architecture/input_size", "/architecture/layers"]),
    ("/name", "mine", ["/architecture/name"]),
    ("/a~1b", 1, ["/architecture/a~01b"]),
    ("/input_size", ..., ["/architecture/input_size"]),
    ("/input_size", 783, ["/architecture/input_size"]),
    ("/input_size", 784.5, ["/architecture/input_size"]),
    ("/input_size", "784", ["/architecture/input_size"]),
    ("/input_size", True, ["/architecture/input_size"]),
    ("/input_size", None, ["/architecture/input_size"]),
    ("/layers", ..., ["/architecture/layers"]),
    ("/layers", None, ["/architecture/layers"]),
    ("/layers", {}, ["/architecture/layers"]),
    ("/layers", [{"type": "relu"}], ["/architecture/layers"]),
    ("/layers", [{"type": "softmax"}], ["/architecture/layers"]),
    ("/layers/0", None, ["/architecture/layers/0"]),
    ("/layers/0", "linear", ["/architecture/layers/0"]),
    ("/layers/0/type", ..., ["/architecture/layers/0/type"]),
    ("/layers/0/type", None, ["/architecture/layers/0/type"]),
    ("/layers/0/type", "conv2d", ["/architecture/layers/0/type"]),
    ("/layers/0/type", "Linear", ["/architecture/layers/0/type"]),
    ("/layers/1/type", ["relu"], ["/architecture/layers/1/type"]),
    ("/layers/1/type", "gelu", ["/architecture/layers/1/type"]),
    ("/layers/1/in", 16, ["/architecture/layers/1/in"]),
    ("/layers/1/type", "softmax", ["/architecture/layers/1"]),
    ("/layers/0/in", ..., ["/architecture/layers/0/in"]),
    ("/layers/0/in", 785, ["/architecture/layers/0/in"]),
    ("/layers/0/in", "784", ["/architecture/layers/0/in"]),
    ("/layers/0/in", 0, ["/architecture/layers/0/in"]),
    ("/layers/0/in", -784, ["/architecture/layers/0/in"]),
    ("/layers/0/in", 784.5, ["/architecture/layers/0/in"]),
    ("/layers/0/in", True, ["/architecture/layers/0/in"]),
    ("/layers/0/out", ..., ["/architecture/layers/0/out"]),
    ("/layers/0/out", 17, ["/architecture/layers/2/in"]),
    ("/layers/0/out", 0, ["/architecture/layers/0/out"]),
    ("/layers/0/out", 2**31, ["/architecture/layers/0/out"]),
    ("/layers/0/out", 1e300, ["/architecture/layers/0/out"]),
    ("/layers/0/out", None, ["/architecture/layers/0/out"]),
    ("/layers/0/bias", True, ["/architecture/layers/0/bias"]),
    ("/layers/2/in", 15, ["/architecture/layers/2/in"]),
    ("/layers/2/out", 11, ["/architecture/layers/2/out"]),
    ("/layers/2/out", 1, ["/architecture/layers/2/out"]),
]


@for_each("pointer, value, expected", BROKEN_ARCHITECTURES)
def test_a_broken_architecture_is_a_400_that_says_where(
    client: Client, on_disk: OnDisk, pointer: str, value: Any, expected: list[str]
) -> None:
    body = changed({"architecture": SMALL}, f"/architecture{pointer}", value)
    with on_disk.unchanged():
        response = client.post("/api/models", body)
    assert response.status_code == 400
    assert kind(response) == "invalid-architecture"
    assert sorted(set(pointers(response))) == expected


@for_each(
    "layers",
    [
        [linear(784, 10)],
        [linear(784, 10), {"type": "softmax"}],
        [linear(784, 30), linear(30, 10)],
        [linear(784, 30), {"type": "sigmoid"}, linear(30, 20), {"type": "tanh"}, linear(20, 10)],
        [{"type": "tanh"}, linear(784, 10)],
        [linear(784, 8), {"type": "relu"}, {"type": "tanh"}, linear(8, 10), {"type": "sigmoid"}],
        [linear(784, 9), linear(9, 8), linear(8, 7), linear(7, 6), linear(6, 10)],
        [linear(784, 10), *[{"type": "relu"}] * 30, {"type": "softmax"}],
        [linear(784, 12_578), linear(12_578, 10)],
    ],
)
def test_an_architecture_within_the_rules_is_taken_as_it_is(client: Client, layers: list[Document]) -> None:
    asked = {"input_size": 784, "layers": layers}
    response = client.post("/api/models", {"architecture": asked})
    assert response.status_code == 200, response.text
    assert response.json()["architecture"] == asked
    assert client.description.accepts("POST", "/api/models", {"architecture": asked})


@for_each(
    "layers, expected",
    [
        ([linear(784, 9), linear(9, 8), linear(8, 7), linear(7, 6), linear(6, 5), linear(5, 10)], ["/5"]),
        ([linear(784, 9), *[linear(9, 9)] * 5, linear(9, 10)], ["/5"]),
        ([{"type": "softmax"}, linear(784, 10)], ["/0"]),
        ([linear(784, 10), {"type": "softmax"}, {"type": "softmax"}], ["/1"]),
        ([linear(784, 10), *[{"type": "relu"}] * 32], [""]),
        ([linear(784, 12_579), linear(12_579, 10)], [""]),
        ([linear(784, 2**31 - 1), linear(2**31 - 1, 10)], [""]),
        ([linear(784, 10), linear(11, 12)], ["/1/in", "/1/out"]),
        ([linear(1, 2), {"type": "gelu"}, linear(3, 4)], ["/0/in", "/1/type", "/2/out"]),
    ],
)
def test_every_fault_of_an_architecture_is_reported_at_once(
    client: Client, layers: list[Document], expected: list[str]
) -> None:
    response = client.post("/api/models", {"architecture": {"input_size": 784, "layers": layers}})
    assert response.status_code == 400
    assert pointers(response) == [f"/architecture/layers{place}" for place in expected]


# Hyperparameters

OUT_OF_RANGE = [
    ("/epochs", 0), ("/epochs", 1001), ("/epochs", 2.5), ("/epochs", "5"), ("/epochs", True), ("/epochs", None),
    ("/epochs", []), ("/epochs", 10**400), ("/epochs", -1),
    ("/batch_size", 0), ("/batch_size", 4097), ("/batch_size", False),
    ("/optimizer", None), ("/optimizer", "sgd"), ("/optimizer", []),
    ("/optimizer/type", "adams"), ("/optimizer/type", None), ("/optimizer/nesterov", 1),
    ("/optimizer/weight_decay", 1.1), ("/optimizer/weight_decay", -0.1), ("/optimizer/beta1", 0.5),
    ("/schedule", None), ("/schedule/type", "linear"), ("/schedule/warmup_epochs", -1),
    ("/schedule/warmup_epochs", "1"), ("/schedule/final", 0.5),
    ("/label_smoothing", 1), ("/label_smoothing", -0.1), ("/averaging", 1), ("/averaging", None),
    ("/dropout", None), ("/dropout", 0.5), ("/dropout/input", 1), ("/dropout/hidden", -0.1), ("/dropout/hidden", None),
    ("/dropout/output", 0.5), ("/augmentation", 1), ("/augmentation", []), ("/augmentation/shift", 10.5),
    ("/augmentation/rotation", 181), ("/augmentation/scale", 0.91), ("/augmentation/shear", 1.1),
    ("/augmentation/elastic", 201), ("/augmentation/smoothness", 0.4), ("/augmentation/smoothness", 21),
    ("/augmentation/shift", -1), ("/augmentation/elastic", "36"), ("/augmentation/tilt", 1),
    ("/early_stopping", 3), ("/early_stopping/patience", 0), ("/early_stopping/patience", 1001),
    ("/keep", "first"), ("/keep", None),
    ("/optimizer/lr", 0), ("/optimizer/lr", -0.1), ("/optimizer/lr", 100.1), ("/optimizer/lr", "0.1"),
    ("/optimizer/lr", True), ("/optimizer/lr", 1e999), ("/optimizer/lr", 10**400), ("/optimizer/lr", None),
    ("/optimizer/momentum", 1), ("/optimizer/momentum", -0.1), ("/optimizer/momentum", None),
    ("/loss", "mse"), ("/loss", None), ("/loss", 1),
    ("/seed", -1), ("/seed", 2**63), ("/seed", 0.5), ("/seed", "42"), ("/seed", 10**30),
    ("/train_split", 0), ("/train_split", 1.01), ("/train_split", -0.5), ("/train_split", True),
    ("/shuffle", 1), ("/shuffle", "true"), ("/shuffle", None),
    ("/weight_decay", 0.1), ("/", 1), ("/a~b", 1),
]  # fmt: skip

ENDS_OF_RANGES = [
    {"epochs": 1},
    {"epochs": 1000},
    {"epochs": 7.0},
    {"batch_size": 1},
    {"batch_size": 4096},
    {"optimizer": {}},
    {"optimizer": {"lr": 1e-300}},
    {"optimizer": {"lr": 100}},
    {"optimizer": {"lr": 5e-324}},
    {"optimizer": {"momentum": 0}},
    {"optimizer": {"momentum": 0.9999999999999999}},
    {"optimizer": {"type": "sgd", "lr": 1, "momentum": 0.5}},
    {"optimizer": {"nesterov": True, "momentum": 0.5, "weight_decay": 1}},
    {"optimizer": {"type": "adam", "beta1": 0, "beta2": 0, "eps": 1}},
    {"optimizer": {"type": "adamw", "eps": 1e-300, "weight_decay": 0}},
    {"schedule": {"warmup_epochs": 4.9}},
    {"schedule": {"type": "cosine", "final": 1}},
    {"schedule": {"type": "step", "every": 1, "factor": 1}},
    {"label_smoothing": 0.99, "averaging": 0.99},
    {"dropout": {"input": 0.9999999999999999, "hidden": 0.9999999999999999}},
    {"augmentation": {}},
    {"augmentation": {"shift": 10, "rotation": 180, "scale": 0.9, "shear": 1, "elastic": 200, "smoothness": 0.5}},
    {"augmentation": {"smoothness": 20}},
    {"early_stopping": {"patience": 1}, "keep": "best"},
    {"loss": "cross_entropy"},
    {"seed": 0},
    {"seed": 2**63 - 1},
    {"train_split": 1},
    {"train_split": 1e-9},
    {"shuffle": False},
    {},
]


def with_hyperparams(pointer: str, value: Any) -> Document:
    first, *nested = pointer.strip("/").split("/")
    hyperparams: Document = {first: {}} if nested else {}
    return {"hyperparams": changed(hyperparams, pointer, value)}


def escaped(pointer: str) -> str:
    return pointer.replace("~", "~0")


def as_json(document: Document) -> str:
    """As `json.dumps`, which writes infinity as a name; here it is a number that is too large."""
    return json.dumps(document).replace("Infinity", "1e999")


@for_each("pointer, value", OUT_OF_RANGE)
def test_a_hyperparameter_out_of_its_range_is_a_422_on_models_and_on_train(
    client: Client, on_disk: OnDisk, trained: Document, pointer: str, value: Any
) -> None:
    body = with_hyperparams(pointer, value)
    with on_disk.unchanged():
        for path, content in (
            ("/api/models", as_json({"architecture": SMALL} | body)),
            (f"/api/models/{trained['model_id']}/train", as_json(body)),
        ):
            response = client.post(path, content=content)
            assert response.status_code == 422
            assert kind(response) == "invalid-fields"
            assert pointers(response) == [f"/hyperparams{escaped(pointer)}"]


@for_each("hyperparams", ENDS_OF_RANGES)
def test_the_ends_of_the_ranges_are_within(client: Client, hyperparams: Document) -> None:
    body = {"architecture": SMALL, "hyperparams": hyperparams}
    response = client.post("/api/models", body)
    assert response.status_code == 200, response.text
    found = response.json()["hyperparams"]
    for name, value in hyperparams.items():
        if isinstance(value, dict):
            assert found[name] == value | {member: found[name][member] for member in found[name].keys() - value.keys()}
        else:
            assert found[name] == value
    assert {name: found[name] for name in found.keys() - hyperparams.keys()} == {
        name: DEFAULTS[name] for name in DEFAULTS.keys() - hyperparams.keys()
    }
    assert client.description.accepts("POST", "/api/models", body)


# Inputs, and the other members of inference

BROKEN_INPUTS = [
    ("/inputs", ..., ["/inputs"]),
    ("/inputs", None, ["/inputs"]),
    ("/inputs", {}, ["/inputs"]),
    ("/inputs", "0", ["/inputs"]),
    ("/inputs", [], ["/inputs"]),
    ("/inputs", [[]], ["/inputs/0"]),
    ("/inputs", [0.5] * 512, ["/inputs/0"]),
    ("/inputs", [0.5] * 784, ["/inputs"]),
    ("/inputs", [ROW] * 513, ["/inputs"]),
    ("/inputs", [ROW[1:]], ["/inputs/0"]),
    ("/inputs", [[*ROW, 0.0]], ["/inputs/0"]),
    ("/inputs", [ROW, ROW, ROW[1:], ROW], ["/inputs/2"]),
    ("/inputs", [ROW[1:], ROW[2:]], ["/inputs/0"]),
    ("/inputs", [ROW, None], ["/inputs/1"]),
    ("/inputs", [ROW, 1.0], ["/inputs/1"]),
    ("/inputs", [ROW, {}], ["/inputs/1"]),
    ("/inputs/0/783", None, ["/inputs/0/783"]),
    ("/inputs/0/783", True, ["/inputs/0/783"]),
    ("/inputs/0/0", False, ["/inputs/0/0"]),
    ("/inputs/0/5", "0.5", ["/inputs/0/5"]),
    ("/inputs/0/5", [0.5], ["/inputs/0/5"]),
    ("/inputs/0/5", {}, ["/inputs/0/5"]),
    ("/inputs/0/5", 1e39, ["/inputs/0/5"]),
    ("/inputs/0/5", -1e39, ["/inputs/0/5"]),
    ("/inputs/0/5", 3.4028236e38, ["/inputs/0/5"]),
    ("/inputs/0/5", float("inf"), ["/inputs/0/5"]),
    ("/inputs/0/5", 10**39, ["/inputs/0/5"]),
    ("/inputs/0/5", 10**400, ["/inputs/0/5"]),
    ("/inputs", [ROW, [*ROW[:-1], 1e39]], ["/inputs/1/783"]),
    ("/return", None, ["/return"]),
    ("/return", [], ["/return"]),
    ("/return", {"labels": 1}, ["/return/labels"]),
    ("/return", {"labels": "true"}, ["/return/labels"]),
    ("/return", {"classes": True}, ["/return/classes"]),
    ("/return", {"probabilities": False, "labels": False}, ["/return"]),
    ("/return", {"logits": False, "probabilities": False, "labels": False}, ["/return"]),
    ("/batch", 1, ["/batch"]),
]


@for_each("pointer, value, expected", BROKEN_INPUTS)
def test_broken_inputs_are_a_422_that_says_where(
    client: Client, on_disk: OnDisk, trained: Document, pointer: str, value: Any, expected: list[str]
) -> None:
    infer = {"param_id": trained["param_id"], "inputs": [ROW]}
    with on_disk.unchanged():
        for path, body in (("/api/infer", infer), ("/api/infer_adhoc", ADHOC)):
            response = client.post(path, content=as_json(changed(body, pointer, value)))
            assert response.status_code == 422
            assert pointers(response) == expected


@for_each("value", [..., None, 7, [], "p" * 101])
def test_a_param_id_must_be_a_short_string(client: Client, value: Any) -> None:
    response = client.post("/api/infer", changed({"param_id": "p_0", "inputs": [ROW]}, "/param_id", value))
    assert response.status_code == 422
    assert pointers(response) == ["/param_id"]


@for_each("value", [0, -0.0, 1, 3.4028235e38, -3.4028235e38, 1e-45, 1e-60, 5e-324])
def test_numbers_within_float32_are_taken_however_they_are_written(client: Client, value: float) -> None:
    body = changed(ADHOC, "/inputs/0/0", value) | {"return": {"labels": True, "probabilities": False}}
    zeros = changed(changed(body, "/parameters/layers/0/W", [[0.0] * 10] * 784), "/inputs/0/0", value)
    assert client.post("/api/infer_adhoc", zeros).status_code == 200
    assert client.description.accepts("POST", "/api/infer_adhoc", zeros)


# Parameters

BROKEN_PARAMETERS = [
    ("", ..., [""]),
    ("", None, [""]),
    ("", [], [""]),
    ("/dtype", ..., ["/dtype"]),
    ("/dtype", "float64", ["/dtype"]),
    ("/dtype", "float16", ["/dtype"]),
    ("/layout", ..., ["/layout"]),
    ("/layout", "column_major", ["/layout"]),
    ("/order", "C", ["/order"]),
    ("/layers", ..., ["/layers"]),
    ("/layers", {}, ["/layers"]),
    ("/layers/0", None, ["/layers/0"]),
    ("/layers/0/type", ..., ["/layers/0/type"]),
    ("/layers/0/type", "dense", ["/layers/0/type"]),
    ("/layers/0/type", "relu", ["/layers/0/W", "/layers/0/b", "/layers/0/type"]),
    ("/layers/0/gain", 1, ["/layers/0/gain"]),
    ("/layers/1", {"type": "relu"}, ["/layers"]),
    ("/layers/0/W", ..., ["/layers/0/W"]),
    ("/layers/0/W", None, ["/layers/0/W"]),
    ("/layers/0/W", [], ["/layers/0/W"]),
    ("/layers/0/W", [0.5] * 7840, ["/layers/0/W/0"]),
    ("/layers/0/W", [[0.5] * 10] * 783, ["/layers/0/W"]),
    ("/layers/0/W", [[0.5] * 10] * 785, ["/layers/0/W"]),
    ("/layers/0/W", [[0.5] * 9] * 784, ["/layers/0/W"]),
    ("/layers/0/W", [[0.5] * 784] * 10, ["/layers/0/W"]),
    ("/layers/0/W/300", [0.5] * 9, ["/layers/0/W/300"]),
    ("/layers/0/W/783", None, ["/layers/0/W/783"]),
    ("/layers/0/W/5/3", None, ["/layers/0/W/5/3"]),
    ("/layers/0/W/5/3", True, ["/layers/0/W/5/3"]),
    ("/layers/0/W/5/3", "1", ["/layers/0/W/5/3"]),
    ("/layers/0/W/5/3", 1e39, ["/layers/0/W/5/3"]),
    ("/layers/0/W/5/3", [1], ["/layers/0/W/5/3"]),
    ("/layers/0/b", ..., ["/layers/0/b"]),
    ("/layers/0/b", None, ["/layers/0/b"]),
    ("/layers/0/b", [], ["/layers/0/b"]),
    ("/layers/0/b", [0.0] * 9, ["/layers/0/b"]),
    ("/layers/0/b", [0.0] * 11, ["/layers/0/b"]),
    ("/layers/0/b", [[0.0] * 10], ["/layers/0/b/0"]),
    ("/layers/0/b/9", False, ["/layers/0/b/9"]),
    ("/layers/0/b/9", -1e39, ["/layers/0/b/9"]),
]


@for_each("pointer, value, expected", BROKEN_PARAMETERS)
def test_broken_parameters_are_a_400_that_says_where(
    client: Client, pointer: str, value: Any, expected: list[str]
) -> None:
    response = client.post("/api/infer_adhoc", changed(ADHOC, f"/parameters{pointer}", value))
    assert response.status_code == 400
    assert kind(response) == "invalid-architecture"
    assert sorted(set(pointers(response))) == [f"/parameters{place}" for place in expected]


# Several faults in one body


def test_every_fault_of_a_body_is_reported_at_once_and_a_broken_architecture_decides(
    client: Client, on_disk: OnDisk
) -> None:
    elsewhere = {"hyperparams": {"epochs": 0, "optimizer": {"lr": 0, "beta": 1}}, "name": "x"}
    expected = ["/hyperparams/epochs", "/hyperparams/optimizer/beta", "/hyperparams/optimizer/lr", "/name"]
    with on_disk.unchanged():
        response = client.post("/api/models", {"architecture": SMALL} | elsewhere)
        assert response.status_code == 422
        assert pointers(response) == expected

        broken = changed(changed(SMALL, "/layers/2/out", 11), "/input_size", 28)
        response = client.post("/api/models", {"architecture": broken} | elsewhere)
        assert response.status_code == 400
        assert pointers(response) == ["/architecture/input_size", "/architecture/layers/2/out", *expected]
        assert "6 faults" in response.json()["detail"]


def test_every_fault_of_an_adhoc_inference_is_reported_at_once(client: Client) -> None:
    body = changed(ADHOC, "/inputs/0/3", None)
    body = changed(body, "/return", {"all": True})
    assert client.post("/api/infer_adhoc", body).status_code == 422
    body = changed(body, "/parameters/layers/0/b/2", "x")
    body = changed(body, "/architecture/layers/0/in", 28)
    response = client.post("/api/infer_adhoc", body)
    assert response.status_code == 400
    assert {
        "/architecture/layers/0/in", "/inputs/0/3", "/parameters/layers/0/b/2", "/return/all"
    } <= set(pointers(response))  # fmt: skip


def test_a_fault_in_the_body_and_one_in_the_query_are_a_400_if_one_is_structural(client: Client) -> None:
    assert client.post("/api/models?dry=1", {"architecture": SMALL}).status_code == 422
    assert client.post("/api/models?dry=1", {"architecture": {}}).status_code == 400
    assert client.post("/api/infer_adhoc?dry=1", ADHOC | {"parameters": {}}).status_code == 400


@for_each(
    "method, path",
    [
        ("GET", "/api/openapi.json"),
        ("GET", "/api/runs/{run_id}"),
        ("GET", "/api/models/{model_id}/runs"),
        ("GET", "/api/params/{param_id}"),
        ("POST", "/api/models/{model_id}/train"),
        ("POST", "/api/runs/{run_id}/cancel"),
    ],
)
def test_an_unknown_member_of_the_query_is_a_422(
    client: Client, on_disk: OnDisk, trained: Document, method: str, path: str
) -> None:
    with on_disk.unchanged():
        response = client.request(method, path.format(**trained) + "?page=2&x~y=1")
    assert response.status_code == 422
    assert set(pointers(response)) == {"/page", "/x~0y"}


@for_each("key", ["", "a b", "x" * 256, "é".encode()])
def test_an_idempotency_key_must_be_short_and_visible(client: Client, on_disk: OnDisk, key: Any) -> None:
    with on_disk.unchanged():
        response = client.post("/api/models", {"architecture": SMALL}, headers={"Idempotency-Key": key})
    assert response.status_code == 422


@for_each("name", ["a" * 101, "~" * 3000, "é" * 5000, "x/" * 100_000])
def test_a_long_name_of_the_client_is_echoed_in_part(client: Client, trained: Document, name: str) -> None:
    """One of 60 MB was once answered with 240 MB."""
    deep = {"architecture": SMALL | {name: 1}, "hyperparams": {name: {name: 1}}, name: [1]}
    answers = [
        client.post("/api/models", deep),
        client.post("/api/models", {"architecture": {"input_size": name, "layers": [{"type": name}]}}),
        client.post("/api/infer", {"param_id": name, "inputs": name, "return": {name: name}}),
        client.post("/api/infer", content=b"{}", headers={"Content-Type": name.encode()[:4000]}),
        client.get(f"/api/models/{trained['model_id']}/runs", params={name[:2000]: "1", "limit": name[:2000]}),
    ]
    cut = name[:100].replace("~", "~0").replace("/", "~1")
    assert pointers(answers[0]) == sorted([f"/architecture/{cut}", f"/hyperparams/{cut}", f"/{cut}"])
    for answer in answers:
        assert answer.status_code in (400, 415, 422)
        assert len(answer.content) < 4000


# The description says the same of what it can say


@for_each("pointer, value", OUT_OF_RANGE)
def test_the_description_refuses_what_is_out_of_range(client: Client, pointer: str, value: Any) -> None:
    body = {"architecture": SMALL} | with_hyperparams(pointer, value)
    assert not client.description.accepts("POST", "/api/models", body)
