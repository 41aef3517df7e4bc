"""What `/infer` answers in the thread that reads from all connections, and what it leaves to others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from asking import BINARY, READ, Document
from cases import for_each
from falcon.testing import TestClient
from small_networks import architecture, pixels

from falcon_mnist.api import paths
from falcon_mnist.api.app import build_app
from falcon_mnist.api.at_once import Answer, AtOnce, may_be_quick
from falcon_mnist.api.request import JSON
from falcon_mnist.api.service import Service
from falcon_mnist.clock import Clock
from falcon_mnist.inference.figures import SharedFigures
from falcon_mnist.inference.predictors import LOOK_SECONDS, Predictors
from falcon_mnist.server.plain_head import Head


class Asked:
    """The service with a cache of its own, asked at once."""

    def __init__(self, service: Service, trained: Document) -> None:
        self.now = 0.0
        clock = Clock(monotonic=lambda: self.now)
        self.figures = SharedFigures()
        predictors = Predictors(service.store, service.files, clock=clock, figures=self.figures)
        self.service = replace(service, predictors=predictors)
        self.answer = AtOnce(self.service)
        self._param_id = trained["param_id"]

    def body(self, *, rows: int = 1, **members: Any) -> bytes:
        return json.dumps({"param_id": self._param_id, "inputs": (pixels(rows) / 255).tolist()} | members).encode()

    def post(self, *, rows: int = 1, token: str = READ, media_type: str = JSON, **members: Any) -> Answer | None:
        return self.answer(_head(token, media_type), self.body(rows=rows, **members))

    def post_bytes(self, rows: int, query: str = "dtype=uint8") -> Answer | None:
        return self.answer(_head(READ, BINARY, f"param_id={self._param_id}&{query}"), pixels(rows).tobytes())

    def load(self) -> None:
        """As the application does for a request."""
        assert self.service.predictors.get(self._param_id)


def _head(token: str, media_type: str, query: str = "") -> Head:
    return Head(
        "POST", paths.INFER, paths.INFER, query, {"AUTHORIZATION": f"Bearer {token}", "CONTENT_TYPE": media_type}, 0
    )


@pytest.fixture
def asked(service: tuple[Service, str], trained: Document) -> Asked:
    return Asked(service[0], trained)


def test_parameters_that_are_not_loaded_or_not_looked_for_lately_are_left_to_another_thread(asked: Asked) -> None:
    for _ in range(2):
        assert asked.post() is None
    asked.load()
    assert asked.post()
    asked.now += LOOK_SECONDS + 1
    assert asked.post() is None
    asked.load()
    assert asked.post_bytes(3)


def test_what_is_refused_is_left_to_the_application(asked: Asked) -> None:
    asked.load()
    assert asked.post(token="no-token-of-ours") is None
    assert asked.post(media_type="text/plain") is None
    assert asked.post(inputs=[[1]]) is None
    assert asked.post(more=1) is None
    assert asked.post(param_id=5) is None
    assert asked.post(param_id=["p_1"]) is None
    assert asked.answer(_head(READ, JSON, "more=1"), asked.body()) is None
    assert asked.post_bytes(1, "dtype=uint9") is None
    many = {f"name{number}": 1 for number in range(100)}
    assert asked.post(**{"return": many}) is None
    assert asked.answer(_head(READ, JSON), b"no JSON") is None


def test_a_large_network_is_left_to_another_thread(client: Any, service: tuple[Service, str]) -> None:
    large = Asked(service[0], client.trained({"architecture": architecture(3000), "hyperparams": {"epochs": 1}}))
    large.load()
    assert large.post() is None
    assert large.figures.totals().hits == 0  # the application, which is asked next, counts it


@pytest.mark.parametrize("members", [{}, {"return": {}}, {"return": {"logits": True, "labels": False}}])
def test_an_answer_at_once_is_that_of_the_application_and_counts_as_one(asked: Asked, members: Document) -> None:
    asked.load()
    counted = _count(asked.service)
    body, headers = asked.body(rows=2, **members), {"Authorization": f"Bearer {READ}", "Content-Type": JSON}
    usual = TestClient(build_app(asked.service)).simulate_post("/api/infer", body=body, headers=headers)
    at_once = asked.post(rows=2, **members)
    assert at_once
    ours, theirs = dict(at_once.headers), dict(usual.headers)
    document = orjson.loads(at_once.data)
    assert ours.pop("content-length") == str(len(at_once.data))
    assert ours.pop("x-request-id") != theirs.pop("x-request-id")
    assert ours == {name: value for name, value in theirs.items() if name != "content-length"}
    assert document | {"latency_ms": 0} == usual.json | {"latency_ms": 0}
    assert _count(asked.service) == counted + 2


def _count(service: Service) -> float:
    """How many inferences have succeeded."""
    samples = [sample for family in service.metrics.collect() for sample in family.samples]
    labels = {"method": "POST", "route": "/api/infer", "code": "200", "le": "+Inf"}
    return sum(sample.value for sample in samples if sample.labels == labels)


@for_each(
    "quick, length, changed",
    [
        (True, 3000, {}),
        (True, 16_528, {}),  # a row of doubles with all their digits
        (False, 100_000, {}),
        (False, 0, {}),
        (False, 3000, {"method": "GET"}),
        (False, 3000, {"path": "/api/infer_adhoc"}),
        (False, 3000, {"query": "a=1&" * 1000}),
        (False, 3000, {"headers": {"CONNECTION": "Close"}}),
        (False, 3000, {"headers": {"CONTENT_ENCODING": "gzip"}}),
    ],
)
def test_only_a_small_inference_may_be_quick(length: int, changed: dict[str, Any], *, quick: bool) -> None:
    assert may_be_quick(replace(_head(READ, JSON), **changed), length) is quick
