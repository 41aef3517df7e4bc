"""What makes `/infer` fast must not be seen: the cache, the threads, and what is kept from one request to the next."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from typing import Any

import orjson
import pytest
from asking import BINARY, READ, Document
from checking_client import Client
from falcon.testing import TestClient
from small_networks import pixels

from falcon_mnist.api.app import build_app
from falcon_mnist.api.service import Service
from falcon_mnist.clock import Clock
from falcon_mnist.inference.predictors import LOOK_SECONDS, Predictors


@pytest.fixture(scope="module")
def another(client: Client) -> Document:
    """A second parameter set, of another model."""
    return client.trained(epochs=1, seed=7)


def test_requests_at_the_same_time_never_mix(client: Client, trained: Document, another: Document) -> None:
    """Hundreds of them, no two alike, each answered bit for bit as it is when it comes alone.

    Many have the same number of rows, so many that the forward pass gives up the GIL.
    """
    asked = []
    for seed in range(40):
        rows, param_id = pixels((1, 2, 160, 160, 160)[seed % 5], seed=seed), (trained, another)[seed % 2]["param_id"]
        if seed % 3 == 0:
            body = orjson.dumps({"param_id": param_id, "inputs": (rows / 255).round(2).tolist()})
            asked.append({"content": body, "headers": {"Content-Type": "application/json"}})
        else:
            query = {"param_id": param_id, "dtype": "uint8"}
            asked.append({"content": rows.tobytes(), "params": query, "headers": {"Content-Type": BINARY}})

    def answer(request: Document) -> str:
        """A digest: what differs would fill pages."""
        document = client.post("/api/infer", **request).json()
        del document["latency_ms"]
        return sha256(orjson.dumps(document)).hexdigest()

    alone = [answer(ask) for ask in asked]
    assert len(set(alone)) == len(asked)
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(answer, asked * 5)) == alone * 5


class Noting:
    """Stands before a part of the service, and notes what is asked of it."""

    def __init__(self, part: object, asked: list[str]) -> None:
        self._part = part
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        self._asked.append(name)
        return getattr(self._part, name)


def test_a_second_request_asks_neither_the_database_nor_the_disk(
    service: tuple[Service, str], trained: Document
) -> None:
    """But after some seconds whether the parameter set is still there: another server may have removed it."""
    asked: list[str] = []
    store, files = (Noting(part, asked) for part in (service[0].store, service[0].files))
    now = 1000.0
    clock = Clock(wall=time.time, monotonic=lambda: now)
    noted = replace(service[0], store=store, files=files, predictors=Predictors(store, files, clock=clock))
    client = TestClient(build_app(noted), headers={"Authorization": f"Bearer {READ}"})

    def ask(rows: int) -> None:
        query = {"param_id": trained["param_id"], "dtype": "uint8"}
        binary = client.simulate_post("/api/infer", body=pixels(rows).tobytes(), params=query, content_type=BINARY)
        body = {"param_id": trained["param_id"], "inputs": (pixels(rows) / 255).tolist()}
        as_json = client.simulate_post("/api/infer", body=orjson.dumps(body), content_type="application/json")
        assert binary.status_code == as_json.status_code == 200

    ask(1)
    assert asked == ["parameters", "model", "read"]
    asked.clear()
    ask(1)
    ask(512)
    assert asked == []
    now += LOOK_SECONDS + 1
    ask(1)
    assert asked == ["parameters"]


def test_the_cache_forgets_what_was_used_longest_ago(
    service: tuple[Service, str], trained: Document, another: Document
) -> None:
    store, files = service[0].store, service[0].files
    ids = [trained["param_id"], another["param_id"]]
    roomy = Predictors(store, files)
    first, second = (roomy.get(param_id) for param_id in ids)
    assert first is not None
    assert second is not None
    assert [roomy.get(param_id) for param_id in ids] == [first, second]

    narrow = Predictors(store, files, limit=max(first.size_bytes, second.size_bytes))
    kept = narrow.get(ids[0])
    assert narrow.get(ids[0]) is kept
    assert narrow.get(ids[1]) is not None
    assert narrow.get(ids[0]) is not kept
    assert narrow.get("p_unknown") is None

    tiny = Predictors(store, files, limit=1)
    assert tiny.get(ids[0]) is tiny.get(ids[0])


def test_threads_that_ask_for_a_parameter_set_at_once_get_the_same_answers(
    service: tuple[Service, str], trained: Document
) -> None:
    predictors = Predictors(service[0].store, service[0].files)
    rows = pixels(3)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: predictors.get(trained["param_id"]), range(32)))
        answers = list(threads.map(lambda predictor: predictor(rows).logits.tobytes(), found))
    assert len(set(answers)) == 1
