"""The description: valid, complete, and in agreement with what the server does."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from asking import JSON, PROBLEM, Document
from checking_client import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from small_networks import SMALL, architecture

from falcon_mnist.api.operations import OPERATIONS

METHODS = ("get", "put", "post", "delete", "patch", "trace")


@pytest.fixture(scope="module")
def document(client: Client) -> Document:
    found: Document = client.get("/api/openapi.json").json()
    return found


def test_the_document_is_valid_openapi(document: Document) -> None:
    from openapi_spec_validator import validate  # takes long: not in each process that collects tests

    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_and_method_stands_in_the_document_and_no_other(document: Document) -> None:
    routes = {
        operation.path: {method for method in METHODS if hasattr(operation.resource, f"on_{method}")}
        for operation in OPERATIONS
    }
    assert {path: set(item) for path, item in document["paths"].items()} == routes


def test_the_server_allows_what_the_document_names_and_nothing_else(client: Client, document: Document) -> None:
    for template, operations in document["paths"].items():
        path = template.replace("{", "").replace("}", "")
        for method in METHODS:
            response = client.request(method.upper(), path)
            assert (response.status_code == 405) == (method not in operations), (method, path)


def test_every_operation_names_its_refusals(document: Document) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = set(operation["responses"])
            assert "500" in responses
            protected = path.startswith(("/api", "/v2", "/metrics")) and not path.startswith("/v2/health")
            assert ("401" in responses) == protected
            assert operation["security"] == ([{"bearer": []}] if protected else [])
            assert ("404" in responses) == (
                "{" in path or operation["operationId"] in ("infer", "listAllRuns", "listParameters")
            )
            if method == "post":
                assert {"400", "413", "415"} <= responses
                assert ("422" in responses) == path.startswith("/api")
            for status, response in operation["responses"].items():
                media = set(response.get("content", {}))
                error = {JSON} if path.startswith("/v2") else {PROBLEM}
                assert media == error if int(status) >= 400 else PROBLEM not in media
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


def test_operations_stand_in_groups(document: Document) -> None:
    tags = [tag["name"] for tag in document["tags"]]
    assert tags == ["models", "runs", "parameters", "inference", "service"]
    found = {
        operation["operationId"]: operation["tags"]
        for item in document["paths"].values()
        for operation in item.values()
    }
    assert all(len(of_one) == 1 and of_one[0] in tags for of_one in found.values())
    assert found["startTraining"] == ["runs"]


def test_no_schema_names_a_keyword_that_json_schema_does_not_have(document: Document) -> None:
    """An unknown keyword is silently ignored: limits that it should set would not hold."""
    known = {
        "$ref", "type", "const", "enum", "title", "description", "default", "format", "pattern", "properties",
        "required", "additionalProperties", "items", "minItems", "maxItems", "minLength", "maxLength", "minimum",
        "maximum", "exclusiveMinimum", "exclusiveMaximum", "oneOf", "anyOf", "discriminator", "contentMediaType",
    }  # fmt: skip

    def check(schema: Any) -> None:
        assert set(schema) <= known, set(schema) - known
        for name in ("oneOf", "anyOf"):
            for each in schema.get(name, ()):
                check(each)
        for each in schema.get("properties", {}).values():
            check(each)
        if "items" in schema:
            check(schema["items"])

    for schema in document["components"]["schemas"].values():
        check(schema)


# Anything at all


# A failing one is shown as it was found, as each smaller one is a request as well.
AS_FOUND = settings(suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.reuse, Phase.generate))

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=12,
)
PLAIN_ROW = [0.5] * 784
BODIES: dict[str, Document] = {
    "/api/models": {
        "architecture": architecture(16, softmax=True),
        "hyperparams": {
            "epochs": 5, "batch_size": 64, "optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.0},
            "loss": "cross_entropy", "seed": 42, "train_split": 0.9, "shuffle": True,
        },
    },
    "/api/infer": {"param_id": "p_0", "inputs": [PLAIN_ROW], "return": {"logits": True, "labels": False}},
    "/api/infer_adhoc": {
        "architecture": architecture(1),
        "parameters": {
            "layers": [
                {"type": "linear", "W": [[0.5]] * 784, "b": [0.0]},
                {"type": "relu"},
                {"type": "linear", "W": [[0.5] * 10], "b": [0.0] * 10},
            ],
            "dtype": "float32",
            "layout": "row_major",
        },
        "inputs": [PLAIN_ROW],
        "return": {"logits": True, "probabilities": True, "labels": True},
    },
}  # fmt: skip


def places(value: Any, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The ways to every value in a document; of long arrays, to their ends."""
    found = [here]
    if isinstance(value, dict):
        for name, member in value.items():
            found += places(member, (*here, name))
    elif isinstance(value, list):
        for index in sorted({0, 1, len(value) - 1} & set(range(len(value)))):
            found += places(value[index], (*here, index))
    return found


@st.composite
def bent_bodies(draw: st.DrawFn) -> tuple[str, Any]:
    """A path, and a body that is valid for it but for one to three places."""
    path = draw(st.sampled_from(sorted(BODIES)))
    body = deepcopy(BODIES[path])
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(body)[1:] or [("x",)]))
        target: Any = body
        for step in way:
            target = target[step]
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove":
            del target[last]
        elif change == "replace":
            target[last] = draw(JSON_VALUES)
        elif isinstance(target, dict):
            target[draw(st.text(max_size=5))] = draw(JSON_VALUES)
        else:
            target.append(draw(JSON_VALUES))
    return path, body


@AS_FOUND
@given(bent_bodies())
def test_a_body_that_the_server_takes_is_one_that_the_description_takes(client: Client, bent: tuple[str, Any]) -> None:
    path, body = bent
    response = client.post(path, content=json.dumps(body))
    assert response.status_code in (200, 400, 404, 422), response.text
    described = client.description.accepts("POST", path, body)
    if response.status_code in (200, 404):
        assert described
    elif not described:
        assert response.json()["errors"]


@AS_FOUND
@given(st.sampled_from(sorted(BODIES)), st.binary(max_size=40) | st.text().map(str.encode))
def test_no_bytes_are_more_than_a_refused_body(client: Client, path: str, content: bytes) -> None:
    assert client.post(path, content=content).status_code == 400


@AS_FOUND
@given(
    st.sampled_from(["/api/runs/r_0", "/api/params/{param_id}", "/api/models/{model_id}/runs", "/api/openapi.json"]),
    st.dictionaries(st.sampled_from(["limit", "cursor", "format", "x"]) | st.text(max_size=5), st.text(max_size=30)),
    st.sampled_from(["Accept", "If-None-Match", "Range", "Content-Type", "Idempotency-Key"]),
    st.binary(max_size=30).filter(lambda value: not set(value) & set(b"\0\r\n\t\v\f") and value == value.strip()),
)
def test_no_query_and_no_header_is_more_than_a_refused_request(
    client: Client, trained: Document, path: str, query: dict[str, str], header: str, value: bytes
) -> None:
    printable = bytes(byte for byte in value if byte >= 32 and byte != 127)
    response = client.get(path.format(**trained), params=query, headers={header: printable.strip()})
    refusals = (406,) if header == "Accept" else ()
    assert response.status_code in (200, 304, 404, 422, *refusals), response.text
    assert response.headers.get("Content-Type") in (None, JSON, PROBLEM)


def test_a_model_within_the_description_is_taken(client: Client) -> None:
    assert client.description.accepts("POST", "/api/models", {"architecture": SMALL})
    for path, body in BODIES.items():
        assert client.description.accepts("POST", path, body)
        assert client.post(path, body).status_code in (200, 404)


def test_no_query_parameter_has_a_default_that_a_generated_client_would_send_with_a_json_body(
    document: Document,
) -> None:
    parameters = document["paths"]["/api/infer"]["post"]["parameters"]
    assert {parameter["name"] for parameter in parameters} == {"param_id", "dtype", "return"}
    assert not any("default" in parameter["schema"] or parameter.get("required") for parameter in parameters)
