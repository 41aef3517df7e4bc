"""Bodies without a server: whatever is sent, it is parsed or refused, and numbers are those that were written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import for_each
from hypothesis import example, given
from hypothesis import strategies as st

from falcon_mnist.api import schemas
from falcon_mnist.api.errors import KINDS, Fault, Problem, invalid_fields
from falcon_mnist.api.json_answer import dumps
from falcon_mnist.api.json_body import FaultAt, decode, matrix, vector
from falcon_mnist.api.validation import parse

BODIES = (schemas.CreateModel, schemas.StartTraining, schemas.Nothing, schemas.Infer, schemas.InferAdhoc)

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from(
    ["architecture", "input_size", "layers", "type", "in", "out", "hyperparams", "optimizer", "lr", "parameters",
     "W", "b", "dtype", "layout", "inputs", "return", "labels", "linear", "relu", "softmax", "param_id"]
) | st.text(max_size=3)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | FLOAT32 | st.just(784) | st.just(10) | NAMES
VALUES = st.recursive(
    SCALARS, lambda values: st.lists(values, max_size=5) | st.dictionaries(NAMES, values, max_size=5), max_leaves=30
)


def problem_of(action: Callable[[], object]) -> Problem | None:
    """The problem that the action ends in, if it does; any other exception is a failure."""
    try:
        action()
    except Problem as problem:
        return problem
    return None


def plain(text: str) -> dict[str, Any]:
    return decode(text.encode(), max_numbers=1000)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
@example({"architecture": {"layers": [[[]], {"type": {}}, {"type": ["linear"]}]}})
@example({"architecture": {"layers": [{"type": "linear", "in": 10**400, "out": -1}]}})
@example({"architecture": {"layers": [{"type": "linear", "W": [[1.0]], "b": [1.0]}]}})
@example({"parameters": {"layers": {"W": [1]}}, "architecture": {"layers": 5}})
@example({"inputs": {"inputs": [[1.0]]}, "return": {"inputs": [1]}})
def test_any_object_as_any_body_is_parsed_or_refused(body: dict[str, Any]) -> None:
    decoded = plain(json.dumps(body))
    for schema in BODIES:
        problem = problem_of(lambda schema=schema: parse(schema, decoded, max_parameters=10_000))
        if problem is not None:
            assert problem.status in (400, 422)
            assert problem.faults
            structural = [fault.pointer.split("/")[1] in ("architecture", "parameters") for fault in problem.faults]
            assert any(structural) == (problem.status == 400)
            document = problem.document("id")
            assert document["errors"] == [fault._asdict() for fault in problem.faults]
            json.dumps(document)


@given(
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | VALUES.map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    problem = problem_of(lambda: decode(body, max_numbers=1000))
    assert problem is None or problem.kind == "invalid-json"


def matrices(elements: st.SearchStrategy[float]) -> st.SearchStrategy[list[list[float]]]:
    return st.integers(1, 6).flatmap(
        lambda columns: st.lists(st.lists(elements, min_size=columns, max_size=columns), min_size=1, max_size=6)
    )


@given(matrices(FLOAT32 | st.integers(-(2**70), 2**70)), st.booleans())
@example([[1e-45, 3.4028234663852886e38, -0.0, 1.1754943508222875e-38]], False)
def test_a_matrix_is_what_numpy_makes_of_the_numbers(rows: list[list[float]], doubtful: bool) -> None:
    """By the fast way and (with a bracket in a string) by the slow one."""
    document = {"inputs": rows, "note": "[" if doubtful else ""}
    found = matrix(plain(json.dumps(document))["inputs"])
    assert found.dtype == np.float32
    assert found.tobytes() == np.array(rows, dtype=np.float64).astype(np.float32).tobytes()
    for row, numbers in zip(rows, found, strict=True):
        assert vector(plain(json.dumps({"b": row}))["b"]).tobytes() == numbers.tobytes()


@given(st.integers(0, 2**32 - 1))
@example(0x15AE43FD)
@example(0x95AE43FD)
@example(0x00000001)
@example(0x7F7FFFFF)
def test_a_float32_is_written_so_that_it_reads_back_as_itself(bits: int) -> None:
    number = np.uint32(bits).view(np.float32)
    if np.isfinite(number):
        text = dumps({"b": number.reshape(1)}).decode().partition("[")[2].partition("]")[0]
        assert vector(plain(f'{{"b": [{text.replace(".e", ".0e")}]}}')["b"]).tobytes() == number.tobytes()


@for_each(
    "text, place",
    [
        ("[[1, 2], [3]]", (1,)),
        ("[[1], [2, 3], [4]]", (1,)),
        ("[[], []]", (0,)),
        ("[[1, true]]", (0, 1)),
        ("[[1, 2], [3, null]]", (1, 1)),
        ('[[1, "2"]]', (0, 1)),
        ("[[1, [2]]]", (0, 1)),
        ("[1, [2]]", (0,)),
        ("[[1], 2]", (1,)),
        ("[[1, 1e39]]", (0, 1)),
        ("[[1, -1e400]]", (0, 1)),
        ("[[3.4028235677973366e38]]", (0, 0)),
        ("[]", ()),
        ("{}", ()),
        ("null", ()),
    ],
)
def test_the_first_fault_of_a_matrix_is_found(text: str, place: tuple[int, ...]) -> None:
    with pytest.raises(FaultAt) as caught:
        matrix(plain(f'{{"inputs": {text}}}')["inputs"])
    assert caught.value.place == place


def test_a_body_of_very_many_values_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Problem) as caught:
        decode(b'{"a": [' + b"[]," * 200_001 + b"[]]}", max_numbers=10**9)
    assert caught.value.kind == "invalid-json"
    with pytest.raises(Problem) as caught:
        decode(b'{"a": [' + b"1, " * 3_000_000 + b"1]}", max_numbers=1_000_000)
    assert caught.value.kind == "invalid-json"


def test_every_problem_has_one_shape() -> None:
    for kind, (status, title) in KINDS.items():
        problem = Problem(kind, "Why.", faults=[Fault("/a", "is wrong")], members={"limit_bytes": 5})
        assert problem.document("the-request") == {
            "type": f"urn:falcon-mnist:problem:{kind}",
            "title": title,
            "status": status,
            "detail": "Why.",
            "instance": "the-request",
            "errors": [{"pointer": "/a", "detail": "is wrong"}],
            "limit_bytes": 5,
        }
    assert invalid_fields([Fault("/a", "x")]).status == 422
    assert invalid_fields([Fault("/a", "x")], structural=True).status == 400


def test_parameters_of_very_many_short_rows_are_decoded() -> None:
    rows = 250_000
    body = b'{"W": [' + b"[1.5]," * (rows - 1) + b"[2.5]]}"
    weight = decode(body, max_numbers=11_000_000)["W"]
    assert isinstance(weight, np.ndarray)
    assert weight.shape == (rows, 1)


def test_many_wide_activations_count_against_the_limit() -> None:
    layers: list[dict[str, Any]] = [
        {"type": "linear", "in": 784, "out": 1},
        {"type": "linear", "in": 1, "out": 100_000},
    ]
    layers += [{"type": "relu"}] * 20
    layers.append({"type": "linear", "in": 100_000, "out": 10})
    body = {"architecture": {"input_size": 784, "layers": layers}}
    with pytest.raises(Problem) as caught:
        parse(schemas.CreateModel, body, max_parameters=2_000_000)
    assert [fault.pointer for fault in caught.value.faults] == ["/architecture/layers"]
    assert "values" in caught.value.faults[0].detail
    parse(schemas.CreateModel, body, max_parameters=3_000_000)
