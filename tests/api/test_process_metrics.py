"""What several server processes count, told by any of them, also after one has died."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from asking import until
from checking_client import Client
from prometheus_client.parser import text_string_to_metric_families
from server_process import Server
from several import EXECUTES, OTHER, clients, spawned
from small_networks import pixels

from falcon_mnist.api.ledger import MOST_SERIES, PID
from falcon_mnist.api.metrics import Metrics

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
INFER = {"method": "POST", "route": "/api/infer", "code": "200"}


def scrape(client: Client) -> tuple[Samples, Samples]:
    """The counters (and sums and buckets of histograms), and the gauges."""
    counters, gauges = Samples(), Samples()
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                kind = counters if family.type in ("counter", "histogram") else gauges
                kind[sample.name.removeprefix("falcon_mnist_"), frozenset(sample.labels.items())] = sample.value
    return counters, gauges


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_any_process_tells_the_sums_and_no_counter_falls_when_one_dies(pair: Server) -> None:
    with clients(pair) as asked:
        run = asked[OTHER].trained(epochs=1)
        rows = {"param_id": run["param_id"], "inputs": (pixels(3) / 255).tolist()}
        for client, times in zip(asked, (2, 5), strict=True):
            for _ in range(times):
                assert client.post("/api/infer", rows).status_code == 200
        for client in asked:
            until(lambda client=client: scrape(client)[1][of("workers_alive")] == 1, "the worker is told")
            counters, gauges = scrape(client)
            assert counters[of("request_seconds_count", **INFER)] == 7
            assert counters[of("rows_inferred_total")] == 21
            assert counters[of("cache_loads_total")] == gauges[of("cache_sets")] == 2
            assert counters[of("cache_hits_total")] == 5
            assert gauges[of("cache_bytes")] > 0
        before, gauges_before = scrape(asked[EXECUTES])
    first = spawned(pair.process.pid)
    for pid in (first[OTHER], first[EXECUTES]):
        os.kill(pid, signal.SIGKILL)
        until(lambda: len(spawned(pair.process.pid)) == 2 and pid not in spawned(pair.process.pid), "replaced")  # noqa: B023
        with clients(pair) as asked:
            for client in asked:
                after, gauges = scrape(client)
                assert {
                    name: (before[name], after.get(name)) for name in before if before[name] > after.get(name, -1)
                } == {}
                assert after[of("request_seconds_count", **INFER)] == 7
                before = after
        assert gauges[of("process_start_time_seconds")] >= gauges_before[of("process_start_time_seconds")]
    with clients(pair) as asked:
        for client in asked:
            until(lambda client=client: scrape(client)[1][of("cache_sets")] == 0, "what the dead had loaded is gone")
            assert scrape(client)[1][of("cache_bytes")] == 0


@pytest.fixture
def memory() -> bytearray:
    """What two processes share."""
    return bytearray(Metrics.memory_bytes(2))


def answered(metrics: Metrics, method: str, route: str | None, status: int = 200) -> None:
    metrics.answered(method, route, status, 0.002)


def counted(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.labels["method"], sample.labels["route"], sample.labels["code"]): sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.name.endswith("_count")
    }


def test_a_process_goes_on_with_the_counts_of_the_one_that_it_replaces(memory: bytearray) -> None:
    first, second = Metrics(memory, 0), Metrics(memory, 1)
    answered(first, "GET", "/a")
    answered(second, "GET", "/a")
    answered(second, "GET", "/b")
    replacing = Metrics(memory, 1)
    answered(replacing, "GET", "/b", 404)
    answered(replacing, "GET", "/b")
    expected = {("GET", "/a", "200"): 2, ("GET", "/b", "200"): 2, ("GET", "/b", "404"): 1}
    assert counted(first) == counted(replacing) == expected
    assert first.ledgers[1].fixed[PID] == os.getpid()


def test_what_finds_no_room_is_counted_with_the_others(memory: bytearray) -> None:
    metrics = Metrics(memory, 0)
    for number in range(MOST_SERIES + 20):
        answered(metrics, "GET", f"/{number}")
    answered(metrics, "GET", "/" + 100 * "x")
    found = counted(metrics)
    assert len(found) == MOST_SERIES
    assert found["other", "none", "none"] == 22
    assert sum(found.values()) == MOST_SERIES + 21
    assert counted(Metrics(memory, 1)) == found


def test_threads_lose_no_count(memory: bytearray) -> None:
    metrics = Metrics(memory, 0)
    threads = [threading.Thread(target=lambda: [answered(metrics, "GET", "/a") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(metrics)["GET", "/a", "200"] == 4000
