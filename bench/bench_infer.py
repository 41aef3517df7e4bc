"""Where the time of `POST /infer` goes, stage by stage, for one row and for 512, JSON and bytes.

    pytest bench/bench_infer.py --benchmark-columns=median,iqr --benchmark-sort=name

The stages of one group add up to its `whole`, but for Falcon's own routing and the switch of threads.
"""

import http.client
import socket
from collections.abc import Callable, Iterator
from typing import Any

import falcon
import load
import numpy as np
import orjson
import pytest
from falcon import testing
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

from falcon_mnist.api import schemas
from falcon_mnist.api.auth import AuthMiddleware
from falcon_mnist.api.json_body import decode
from falcon_mnist.api.resources.base import answer
from falcon_mnist.api.resources.inference import Inference
from falcon_mnist.api.service import Service
from falcon_mnist.inference import predictors as inference
from falcon_mnist.server import serve as server

JSON, BINARY = "application/json", "application/octet-stream"


@pytest.fixture(params=["1 row, JSON", "512 rows, JSON", "512 rows, uint8 bytes"])
def case(request: pytest.FixtureRequest, benchmark: Any) -> str:
    benchmark.group = request.param
    return str(request.param)


@pytest.fixture
def rows(case: str, digits: np.ndarray) -> np.ndarray:
    return digits[: 1 if case.startswith("1 ") else 512]


@pytest.fixture
def media_type(case: str) -> str:
    return JSON if case.endswith("JSON") else BINARY


@pytest.fixture
def body(media_type: str, rows: np.ndarray, param_id: str) -> bytes:
    if media_type == BINARY:
        return rows.tobytes()
    document = {"param_id": param_id, "inputs": rows / np.float32(255)}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


@pytest.fixture
def path(media_type: str, param_id: str) -> str:
    return "/api/infer" + (f"?param_id={param_id}&dtype=uint8" if media_type == BINARY else "")


@pytest.fixture
def predictor(service: Service, param_id: str) -> inference.Predictor:
    found = service.predictors.get(param_id)
    assert found is not None
    return found


def bench_1_read(benchmark: Any, body: bytes, path: str, media_type: str) -> None:
    """The bytes of a request, in the pieces that the socket gives, to a body in memory."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    sent = head.encode() + body
    size = server.ADJUSTMENTS["recv_bytes"]
    adjustments = Adjustments(recv_bytes=size, inbuf_overflow=server.ADJUSTMENTS["inbuf_overflow"])

    def read() -> bytes:
        parser = HTTPRequestParser(adjustments)
        consumed = 0
        while consumed < len(sent):
            consumed += parser.received(sent[consumed : consumed + size])
        return bytes(parser.get_body_stream().read())

    assert benchmark(read) == body


def bench_2_authenticate(benchmark: Any, service: Service, case: str) -> None:
    auth, resource = AuthMiddleware(service.tokens), Inference(service)
    request = falcon.Request(testing.create_environ("/api/infer", "POST", headers={"Authorization": "Bearer token"}))
    benchmark(auth.process_resource, request, falcon.Response(), resource, {})


def bench_3_decode(benchmark: Any, service: Service, body: bytes, media_type: str) -> None:
    if media_type == BINARY:
        pytest.skip("bytes are not decoded")
    document = benchmark(decode, body, max_numbers=service.max_numbers)
    assert isinstance(document["inputs"], np.ndarray)


def bench_4_validate(benchmark: Any, service: Service, body: bytes, media_type: str) -> None:
    if media_type == BINARY:
        pytest.skip("the rows of a binary body are valid if its length is")
    document = decode(body, max_numbers=service.max_numbers)
    wanted = benchmark(schemas.parse, schemas.Infer, document, max_parameters=1)
    assert wanted.inputs is document["inputs"]


def bench_5_forward(benchmark: Any, predictor: inference.Predictor, rows: np.ndarray, media_type: str) -> None:
    x = rows if media_type == BINARY else rows / np.float32(255)
    assert np.isfinite(benchmark(predictor, x).logits).all()


def bench_6_encode(benchmark: Any, predictor: inference.Predictor, rows: np.ndarray) -> None:
    logits = predictor(rows).logits
    response = falcon.Response()

    def encode() -> None:
        wanted = inference.outputs(logits, want_logits=False, want_probabilities=True, want_labels=True)
        answer(response, {"outputs": wanted, "latency_ms": 0.1})

    benchmark(encode)
    assert len(orjson.loads(response.data)["outputs"]["labels"]) == len(rows)


def bench_7_write(benchmark: Any, rows: np.ndarray) -> None:
    """An answer of that size through a socket."""
    sent = b"x" * (200 + 120 * len(rows))
    here, there = socket.socketpair()
    with here, there:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(sent))

        def write() -> int:
            here.sendall(sent)
            received = 0
            while received < len(sent):
                received += len(there.recv(len(sent)))
            return received

        assert benchmark(write) == len(sent)


@pytest.fixture(scope="session")
def address(service: Service, param_id: str) -> Iterator[str]:
    """The same home, served by a process of its own."""
    port = load.free_port()
    with load.serve(service.settings.home, port):
        yield f"127.0.0.1:{port}"


@pytest.fixture
def send(address: str, path: str, body: bytes, media_type: str) -> Iterator[Callable[[], int]]:
    """One request on a connection that stays open."""
    connection = http.client.HTTPConnection(address, timeout=30)
    headers = {"Authorization": f"Bearer {load.TOKEN}", "Content-Type": media_type}

    def request() -> int:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status

    yield request
    connection.close()


def bench_8_whole(benchmark: Any, send: Callable[[], int]) -> None:
    """From a client on the same machine and back."""
    assert benchmark(send) == 200
