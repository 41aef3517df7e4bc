"""What the service says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking import READ, Document
from checking_client import Client
from small_networks import write_digits

from falcon_mnist.api.traffic import Traffic
from falcon_mnist.clock import Clock
from falcon_mnist.data.dataset import DataError
from falcon_mnist.data.ready import KEEP_SECONDS, ReadyDataset


def test_the_status(client: Client, trained: Document) -> None:
    before = client.get("/api/status").json()
    assert before["dataset"] == trained["dataset"]
    assert before["token"] == "write"
    assert before["workers"] == 2
    assert before["requests_per_second"] > 0
    client.trained()
    after = client.get("/api/status", token=READ).json()
    assert after["token"] == "read"
    assert after["runs"]["succeeded"] > before["runs"]["succeeded"]


class Time:
    now = 100.0

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now)


def test_traffic_is_that_of_the_last_minute() -> None:
    time = Time()
    traffic = Traffic(time.clock())
    assert traffic.figures() == {"requests_per_second": 0, "p50_ms": None, "p95_ms": None}
    for milliseconds in range(1, 101):
        traffic.add(milliseconds)
    time.now += 20
    assert traffic.figures() == {"requests_per_second": 5, "p50_ms": 50, "p95_ms": 95}
    time.now += 100
    assert traffic.figures() == {"requests_per_second": 0, "p50_ms": None, "p95_ms": None}


def test_of_a_busy_minute_the_latest_requests_count() -> None:
    time = Time()
    traffic = Traffic(time.clock())
    for _ in range(20_000):
        time.now += 1 / 1024
        traffic.add(1)
    assert traffic.figures()["requests_per_second"] == pytest.approx(1024, rel=0.01)


def test_the_data_set_is_there_once_it_is_made_and_looked_at_anew_after_a_while(tmp_path: Path) -> None:
    time = Time()
    folder = tmp_path / "digits"
    ready = ReadyDataset(str(folder), tmp_path, clock=time.clock())
    with pytest.raises(DataError):
        ready.load()
    write_digits(folder)
    assert ready.load() is ready.load()
    for file in folder.iterdir():
        file.unlink()
    assert len(ready.load().test_labels) == 100
    time.now += KEEP_SECONDS + 1
    with pytest.raises(DataError):
        ready.load()
