"""What `/infer` answers in the thread that reads from all connections, and what it leaves to others."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from falcon.testing import Result, TestClient
from serving import BINARY, READ, Document, architecture, pixels

from falcon_mnist.api.app import build_app
from falcon_mnist.api.at_once import KEY, NotAtOnce, may_be_quick
from falcon_mnist.api.service import Service
from falcon_mnist.clock import Clock
from falcon_mnist.inference.predictors import LOOK_SECONDS, Predictors


class Asked:
    """The service with a cache of its own, asked at once."""

    def __init__(self, service: Service, trained: Document) -> None:
        self.now = 0.0
        clock = Clock(monotonic=lambda: self.now)
        self.predictors = Predictors(service.store, service.files, clock=clock)
        self._client = TestClient(build_app(replace(service, predictors=self.predictors)))
        self._param_id = trained["param_id"]

    def post(self, *, rows: int = 1, token: str = READ, at_once: bool = True, **members: Any) -> Result:
        body = {"param_id": self._param_id, "inputs": (pixels(rows) / 255).tolist()} | members
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        extras = {KEY: True} if at_once else {}
        return self._client.simulate_post("/api/infer", body=json.dumps(body), headers=headers, extras=extras)

    def post_bytes(self, rows: int) -> Result:
        headers = {"Authorization": f"Bearer {READ}", "Content-Type": BINARY}
        query = {"param_id": self._param_id, "dtype": "uint8"}
        return self._client.simulate_post(
            "/api/infer", body=pixels(rows).tobytes(), params=query, headers=headers, extras={KEY: True}
        )


@pytest.fixture
def asked(service: tuple[Service, str], trained: Document) -> Asked:
    return Asked(service[0], trained)


def test_parameters_that_are_not_loaded_or_not_looked_for_lately_are_left_to_another_thread(asked: Asked) -> None:
    for _ in range(2):
        with pytest.raises(NotAtOnce):
            asked.post()
    alone = asked.post(at_once=False).json
    for _ in range(2):
        answer = asked.post().json
        assert answer["outputs"] == alone["outputs"]
    asked.now += LOOK_SECONDS + 1
    with pytest.raises(NotAtOnce):
        asked.post()
    assert asked.post(at_once=False).status_code == 200
    assert asked.post_bytes(3).status_code == 200


def test_a_refusal_takes_no_time(asked: Asked) -> None:
    assert asked.post(token="no-token-of-ours").status_code == 401
    assert asked.post(inputs=[[1]]).status_code == 422
    assert asked.post(more=1).status_code == 422


def test_many_faults_are_left_to_another_thread(asked: Asked) -> None:
    many = {f"name{number}": 1 for number in range(100)}
    for members in (many, {"return": many}):
        with pytest.raises(NotAtOnce):
            asked.post(**members)
        assert asked.post(at_once=False, **members).status_code == 422


def test_a_large_network_is_left_to_another_thread(asked: Asked, client: Any, service: tuple[Service, str]) -> None:
    wide = client.trained({"architecture": architecture(3000), "hyperparams": {"epochs": 1}})
    large = Asked(service[0], wide)
    assert large.post(at_once=False).status_code == 200
    with pytest.raises(NotAtOnce):
        large.post()


@pytest.mark.parametrize(
    ("quick", "request_"),
    [
        (True, {}),
        (True, {"content_length": 16_528}),  # a row of doubles with all their digits
        (False, {"content_length": 100_000}),
        (False, {"content_length": 0}),  # as of chunks, whose length is not known
        (False, {"command": "GET"}),
        (False, {"path": "/api/infer_adhoc"}),
        (False, {"query": "a=1&" * 1000}),
    ],
)
def test_only_a_small_inference_may_be_quick(request_: dict[str, object], *, quick: bool) -> None:
    asked = {"command": "POST", "path": "/api/infer", "query": "", "content_length": 3000} | request_
    assert may_be_quick(SimpleNamespace(**asked)) is quick
