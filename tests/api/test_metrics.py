"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from asking import BINARY, READ, Document
from checking_client import Client
from falcon.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families
from small_networks import pixels

from falcon_mnist.api.app import build_app
from falcon_mnist.api.service import Service

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Samples:
    """Name and labels to value."""
    families = text_string_to_metric_families(text)
    return {
        (sample.name.removeprefix("falcon_mnist_"), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


@pytest.fixture
def scrape(service: tuple[Service, str]) -> Callable[..., Samples]:
    """What a server counts that has answered these requests, each a method, a path and further options."""

    def ask(*requests: tuple[str, str, Document]) -> Samples:
        alone = TestClient(build_app(fresh(service[0])), headers={"Authorization": f"Bearer {READ}"})
        for method, path, options in requests:
            alone.simulate_request(method, path, **options)
        return read(alone.simulate_get("/metrics").text)

    return ask


def fresh(service: Service, *, public: bool = False) -> Service:
    """The session's service, with counts of its own."""
    return replace(service, metrics=type(service.metrics)(), settings=replace(service.settings, metrics_public=public))


def test_requests_are_counted_by_template_and_code(scrape: Callable[..., Samples], trained: Document) -> None:
    seen = scrape(
        ("GET", f"/api/runs/{trained['run_id']}", {}),
        ("GET", "/api/runs/r_none", {}),
        ("GET", "/api/runs/r_none_either", {}),
        ("DELETE", f"/api/runs/{trained['run_id']}", {}),
    )
    counted = {(*sorted(labels),): count for (name, labels), count in seen.items() if name == "request_seconds_count"}
    route = ("route", "/api/runs/{run_id}")
    assert counted == {
        (("code", "200"), ("method", "GET"), route): 1,
        (("code", "404"), ("method", "GET"), route): 2,
        (("code", "403"), ("method", "DELETE"), route): 1,
    }
    assert 0 < seen[of("request_seconds_sum", method="GET", route=route[1], code="200")] < 60


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")  # Falcon's test client, of what is sent here
def test_no_client_can_make_series(scrape: Callable[..., Samples]) -> None:
    """With the paths and methods that they think of."""

    def ask(count: int) -> Samples:
        paths = [("GET", f"/{n}", {}) for n in range(count)]
        return scrape(*paths, *[(f"BREW{n}", "/api/version", {}) for n in range(count)])

    few, many = ask(1), ask(50)
    assert few.keys() == many.keys()
    assert many[of("request_seconds_count", method="GET", route="none", code="404")] == 50
    assert (
        sum(count for (name, labels), count in many.items() if ("method", "other") in labels and "count" in name) == 50
    )


def test_rows_are_counted_where_they_were_answered(scrape: Callable[..., Samples], trained: Document) -> None:
    def infer(rows: int, param_id: str = trained["param_id"]) -> tuple[str, str, Document]:
        query = {"param_id": param_id, "dtype": "uint8"}
        return "POST", "/api/infer", {"params": query, "body": pixels(rows).tobytes(), "content_type": BINARY}

    assert scrape(infer(3), infer(2), infer(7, "p_none"))[of("rows_inferred_total")] == 5


def test_a_run_is_seen(client: Client, trained: Document) -> None:
    before = read(client.get("/metrics").text)
    run = client.trained(epochs=2)
    for _ in range(2):
        client.infer(run["param_id"], [[0.0] * 784])
    after = read(client.get("/metrics", token=READ).text)
    gained = {name: after[name] - before.get(name, 0) for name in after}
    assert gained[of("epochs_trained_total")] >= 2
    assert gained[of("samples_trained_total")] >= 2 * 540
    assert gained[of("runs", state="succeeded")] >= 1
    assert after[of("runs", state="queued")] == after[of("queue_depth")]
    assert gained[of("cache_loads_total")] >= 1
    assert gained[of("cache_hits_total")] >= 1
    assert after[of("workers")] == 2
    assert 1 <= after[of("workers_alive")] <= 2
    assert 0 < after[of("cache_bytes")] < after[of("cache_limit_bytes")]


def test_epochs_stay_counted_when_their_run_is_removed(client: Client) -> None:
    run = client.trained()
    before = read(client.get("/metrics").text)
    client.request("DELETE", f"/api/runs/{run['run_id']}")
    assert read(client.get("/metrics").text)[of("epochs_trained_total")] >= before[of("epochs_trained_total")]


@pytest.mark.parametrize(("public", "status"), [(False, "401 Unauthorized"), (True, "200 OK")])
def test_only_the_setting_opens_it(service: tuple[Service, str], public: bool, status: str) -> None:
    app = TestClient(build_app(fresh(service[0], public=public)))
    for method in ("GET", "HEAD"):
        assert app.simulate_request(method, "/metrics").status == status
    assert app.simulate_get("/api/status").status == "401 Unauthorized"
