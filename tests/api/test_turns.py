"""Large work takes turns: what waits gives up soon, and small requests go on beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import numpy as np
import orjson
import pytest
from asking import PATIENCE, SAFETENSORS, Document, until
from cases import for_each
from checking_client import Client
from falcon.testing import TestClient
from small_networks import SMALL, architecture, pixels

from falcon_mnist.api import json_answer
from falcon_mnist.api.app import build_app
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.service import Service
from falcon_mnist.api.streams import WHEN_READ
from falcon_mnist.api.turns import Turns

EVERYTHING = 2**62


@pytest.fixture(scope="module")
def large(client: Client) -> Document:
    """A parameter set of 2 MB: more than is answered in one piece, and as JSON more than a connection holds."""
    return client.trained({"architecture": architecture(600), "hyperparams": {"epochs": 1}})


@pytest.fixture(scope="module")
def medium(client: Client) -> Document:
    """A parameter set of 0.2 MB: as JSON it is answered in one piece of 0.6 MB, with its length."""
    return client.trained({"architecture": architecture(64), "hyperparams": {"epochs": 1}})


def test_a_budget_is_shared_and_a_larger_cost_takes_all_of_it() -> None:
    turns = Turns(10)
    first = turns.take(4)
    assert (first, turns.take(6)) == (4, 6)
    with pytest.raises(Problem, match="busy"):
        turns.take(1)
    turns.release(4)
    turns.release(6)
    with turns.held(1000), pytest.raises(Problem):
        turns.take(1)
    assert turns.take(1000) == 10


def test_who_waits_gets_the_turn_that_comes_free() -> None:
    turns = Turns(1, patient_seconds=PATIENCE)
    with ThreadPoolExecutor(1) as threads:
        with turns.held(1):
            waiting = threads.submit(turns.take, 1)
            until(lambda: turns.waiting, "the other waits")
        assert waiting.result(timeout=PATIENCE) == 1


def test_who_is_one_too_many_gives_up_while_others_wait() -> None:
    turns = Turns(1, most_waiting=2, patient_seconds=PATIENCE, brief_seconds=PATIENCE)

    def wait() -> None:
        with turns.held(1):
            pass

    with ThreadPoolExecutor(2) as threads:
        with turns.held(1):
            waiting = [threads.submit(wait) for _ in range(2)]
            until(lambda: turns.waiting == 2, "two wait")
            with pytest.raises(Problem, match="busy"):
                turns.take(1)
            assert turns.waiting == 2
        for each in waiting:
            each.result(timeout=PATIENCE)


def test_one_waits_longer_than_all_others() -> None:
    turns = Turns(1, patient_seconds=PATIENCE, brief_seconds=0)
    with ThreadPoolExecutor(1) as threads:
        with turns.held(1):
            patient = threads.submit(turns.take, 1)
            until(lambda: turns.waiting, "one waits")
            with pytest.raises(Problem, match="busy"):
                turns.take(1)
        assert patient.result(timeout=PATIENCE) == 1


@for_each("shape", [(3,), (0,), (7, 5), (70_000,), (40_000, 3), (2, 70_000), (3, 40_000), (1, 1)])
def test_chunks_are_the_document_in_pieces(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    document = {"a": [{"W": array, "b": []}, {}], "c": {"d": None, "e": [1, "é"]}}
    pieces = list(json_answer.chunks(document))
    assert b"".join(pieces) == json_answer.dumps(document)
    assert max(map(len, pieces)) < 2**20


def test_a_large_set_is_streamed_as_the_same_numbers(client: Client, large: Document) -> None:
    path = f"/api/params/{large['param_id']}"
    answer = client.get(path)
    assert "Content-Length" not in answer.headers
    document = orjson.loads(answer.content)
    weight = np.array(document["parameters"]["layers"][0]["W"], dtype=np.float32)
    file = client.get(path, headers={"Accept": SAFETENSORS})
    assert file.headers["Content-Length"] == str(document["size_bytes"]) == str(len(file.content))
    assert weight.tobytes() in file.content
    headed = client.request("HEAD", path)
    assert headed.headers["ETag"] == answer.headers["ETag"]
    assert "Content-Length" not in headed.headers


def test_what_finds_no_room_is_told_to_come_back(
    service: tuple[Service, str], client: Client, trained: Document, medium: Document, large: Document
) -> None:
    path = f"/api/params/{large['param_id']}"
    body = {"param_id": trained["param_id"], "inputs": (pixels(1) / 255).tolist()}
    padded = json.dumps(body) + " " * 2**20
    limits = service[0].limits
    with limits.answers.held(EVERYTHING), limits.bodies.held(EVERYTHING), limits.writes.held(1):
        asked = [  # at once: each waits for a second
            partial(client.get, path),
            partial(client.get, path, headers={"Accept": SAFETENSORS}),
            partial(client.get, f"/api/params/{medium['param_id']}"),
            partial(client.post, "/api/infer", content=padded),
            partial(client.post, "/api/models", {"architecture": SMALL}),
            partial(client.post, f"/api/models/{trained['model_id']}/train"),
            partial(client.post, f"/api/runs/{trained['run_id']}/cancel"),
        ]
        with ThreadPoolExecutor(len(asked)) as threads:
            busy = list(threads.map(lambda ask: ask(), asked))
        assert [(answer.status_code, answer.json()["type"][-5:]) for answer in busy] == [(503, ":busy")] * len(busy)
        # What is small, or comes without its body, goes on.
        assert client.request("HEAD", path).status_code == 200
        assert client.request("HEAD", f"/api/params/{medium['param_id']}").status_code == 200
        assert client.get(f"/api/params/{trained['param_id']}").status_code == 200
        assert client.post("/api/infer", body).status_code == 200
        assert client.post("/api/infer", content=padded, token=None).status_code == 401
    assert client.get(path).status_code == 200
    assert client.post("/api/infer", content=padded).status_code == 200


def test_a_client_that_leaves_in_the_middle_keeps_no_turn(
    service: tuple[Service, str], client: Client, large: Document
) -> None:
    request = f"GET /api/params/{large['param_id']} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\n\r\n"
    for _ in range(3):
        with client.connect() as connection:
            connection.sendall(request.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    until(lambda: service[0].limits.answers.free == service[0].limits.answers.capacity, "all turns are free again")


def test_an_answer_in_one_piece_keeps_its_turn_until_the_server_says_that_it_is_read(
    service: tuple[Service, str], client: Client, medium: Document
) -> None:
    answers = service[0].limits.answers
    path, headers = f"/api/params/{medium['param_id']}", {"Authorization": f"Bearer {client.token}"}
    content = client.get(path).content
    until(lambda: answers.free == answers.capacity, "all turns are free")
    told: list[Callable[[], None]] = []
    asked = TestClient(build_app(service[0]))
    answer = asked.simulate_get(path, headers=headers, extras={WHEN_READ: told.append})
    assert answer.content == content
    assert len(content) <= answers.capacity - answers.free < 2 * len(content)
    told.pop()()
    assert answers.free == answers.capacity
    assert asked.simulate_get(path, headers=headers).headers["Content-Length"] == str(len(content))
    assert answers.free == answers.capacity  # under another server it ends with the answer


def test_health_is_answered_beside_large_work(client: Client, service: tuple[Service, str], large: Document) -> None:
    """Seven requests ask for turns that nobody gives up."""
    path = f"/api/params/{large['param_id']}"
    with service[0].limits.answers.held(EVERYTHING), ThreadPoolExecutor(7) as threads:
        asked = [threads.submit(client.get, path) for _ in range(7)]
        while wait(asked, timeout=0.05).not_done:
            assert client.get("/healthz").status_code == 200
    assert {request.result().status_code for request in asked} == {503}
