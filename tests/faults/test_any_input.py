"""Whatever is sent to whichever operation: it is taken or refused, in the form that is described, and never a 5xx."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from asking import BINARY, JSON, Document
from checking_client import Client, kind
from faulty_servers import RUN
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from small_networks import SMALL, architecture

ANY = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # each smaller example would be a request as well
)

NAMES = st.sampled_from(
    ["architecture", "hyperparams", "parameters", "inputs", "return", "param_id", "layers", "type", "in", "out", "W",
     "b", "input_size", "dtype", "layout", "epochs", "batch_size", "optimizer", "lr", "momentum", "loss", "seed",
     "shuffle", "train_split", "logits", "labels", "probabilities"]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["linear", "relu", "softmax", "sgd", "cross_entropy", "float32", "row_major", 784, 10, 2**63])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(NAMES | st.text(max_size=4), values, max_size=5),
    max_leaves=20,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=4)
# As every run of RUN, which is soon over, so that what is accepted is accepted again.
MEMBERS = st.fixed_dictionaries({}, optional=dict.fromkeys(("epochs", "seed", "optimizer", "shuffle", "x"), VALUES))


def numbers_in(document: Any) -> list[float]:
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        return [number for entry in document for number in numbers_in(entry)]
    return [document] if isinstance(document, float) else []


def checked(response: httpx.Response, *statuses: int) -> Document:
    """`Client` has held it against the description already: no null where a number belongs, say."""
    full = response.status_code == 503 and kind(response) == "queue-full"
    assert response.status_code in statuses or full, response.text
    document: Document = json.loads(response.content, parse_constant=pytest.fail)  # of NaN and Infinity
    assert np.isfinite(numbers_in(document)).all()
    return document


@ANY
@given(st.sampled_from(["/api/models", "/api/infer", "/api/infer_adhoc"]), BODIES)
def test_any_json(client: Client, path: str, body: Document) -> None:
    checked(client.post(path, body), 200, 400, 404, 422)


@ANY
@given(BODIES | st.builds(lambda members: {"hyperparams": members}, MEMBERS), st.booleans())
@example({}, True)
@example({"hyperparams": {"seed": 7}}, True)
def test_any_json_to_train_and_to_cancel(client: Client, finished: Document, body: Document, known: bool) -> None:
    model_id, run_id = (finished["model_id"], finished["run_id"]) if known else ("m_0", "r_0")
    queued = checked(client.post(f"/api/models/{model_id}/train", body), 202, 400, 404, 409, 422)
    if "run_id" in queued:
        checked(client.post(f"/api/runs/{queued['run_id']}/cancel", body), 200, 409, 422)
        client.post(f"/api/runs/{queued['run_id']}/cancel")
        client.wait(queued["run_id"])
    checked(client.post(f"/api/runs/{run_id}/cancel", body), 400, 404, 409, 422)


@ANY
@given(st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=300), st.booleans())
@example("the same", True)
@example("the same", False)
@example("the-same", True)
@example("the-same", False)
def test_any_idempotency_key(client: Client, key: str, other: bool) -> None:
    """But for control characters, which are refused before anything is looked at."""
    headers = {"Content-Type": JSON, "Idempotency-Key": key.strip().encode("latin-1")}
    content = json.dumps({"architecture": SMALL} if other else RUN)
    checked(client.request("POST", "/api/models", content=content, headers=headers), 200, 409, 422)


FLOATS = st.lists(st.floats(width=32), min_size=1, max_size=20).map(
    lambda values: np.resize(np.array(values, dtype="<f4"), 784 * max(1, len(values) % 3)).tobytes()
)


@ANY
@given(
    FLOATS | st.binary(max_size=100) | st.integers(0, 3).map(lambda rows: bytes(784 * rows)),
    st.dictionaries(st.sampled_from(["param_id", "dtype", "return", "x"]), st.text(max_size=10), max_size=2),
    st.sampled_from(["float32", "uint8"]),
    st.sampled_from([BINARY, f"{BINARY}; x=y", JSON, "text/plain"]),
)
@example(np.full(784, 3.4e38, dtype="<f4").tobytes(), {}, "float32", BINARY)
@example(np.full(784, np.nan, dtype="<f4").tobytes(), {}, "float32", BINARY)
@example(bytes(784), {}, "uint8", BINARY)
def test_any_bytes_to_infer(
    client: Client, finished: Document, content: bytes, query: dict[str, str], dtype: str, media: str
) -> None:
    params = {"param_id": finished["param_id"], "dtype": dtype} | query
    response = client.request("POST", "/api/infer", params=params, content=content, headers={"Content-Type": media})
    checked(response, 200, 400, 404, 415, 422)


@ANY
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9),
    st.sampled_from(["relu", "sigmoid", "tanh"]),
    st.booleans(),
)
@example([3.4028234663852886e38, -3.4028234663852886e38], "relu", True)
@example([1e-45, -1e-45, 0.0], "tanh", True)
def test_any_numbers_give_finite_answers_or_none(
    client: Client, values: list[float], activation: str, softmax: bool
) -> None:
    """As inputs, weights and biases at once: sums may go beyond float32's range."""
    around = np.resize(np.array(values), 784 * 2 + 2 + 2 * 10 + 10).tolist()
    middle: Document = {"type": activation}
    layers = [
        {"type": "linear", "W": [around[2 * i : 2 * i + 2] for i in range(784)], "b": around[1568:1570]},
        middle,
        {"type": "linear", "W": [around[1570:1580], around[1580:1590]], "b": around[1590:1600]},
        *([{"type": "softmax"}] if softmax else []),
    ]
    body = {
        "architecture": architecture(2, activation=activation, softmax=softmax),
        "parameters": {"layers": layers, "dtype": "float32", "layout": "row_major"},
        "inputs": [around[:784], around[784:1568]],
        "return": {"logits": True, "probabilities": True, "labels": True},
    }
    document = checked(client.post("/api/infer_adhoc", body), 200, 422)
    for row in document.get("outputs", {}).get("probabilities", []):
        assert 0.999 < sum(row) < 1.001


@ANY
@given(
    st.sampled_from(["GET /api/models/{}/runs", "GET /api/runs/{}", "GET /api/params/{}", "POST /api/runs/{}/cancel"]),
    st.text(max_size=20) | st.sampled_from(["model_id", "run_id", "param_id"]),
    st.dictionaries(st.sampled_from(["limit", "cursor", "format", "x"]), st.text(max_size=30), max_size=2),
)
@example("GET /api/models/{}/runs", "model_id", {"limit": "9" * 5000})
@example("GET /api/models/{}/runs", "model_id", {"limit": "٣"})
@example("GET /api/models/{}/runs", "model_id", {"cursor": "A" * 5000})
@example("GET /api/models/{}/runs", "model_id", {"cursor": "_" * 32})
def test_any_path_and_query(
    client: Client, finished: Document, operation: str, name: str, query: dict[str, str]
) -> None:
    method, template = operation.split()
    name = str(finished.get(name, name))
    response = client.request(method, template.format(quote(name, safe="")), params=query)
    checked(response, 200, 401, 404, 405, 409, 422)
