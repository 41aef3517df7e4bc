"""Requests and rows, counted for Prometheus in memory that all processes of the server share."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import falcon
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from falcon_mnist.api.ledger import ROWS, Ledger, part_bytes

# Upper bounds in seconds: from what a small inference takes to what the slowest client waits for.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0)
_NAMES = [*map(str, BUCKETS), "+Inf"]


# A count for each bucket, and the sum of the seconds.
_WIDTH = len(_NAMES) + 1
_OTHERS = ("other", "none", "none")

Labels = tuple[str, ...]  # method, route and code


class Metrics(Collector):
    """What is counted while requests are answered; all else is read when somebody asks.

    The library's own counters take a lock for each number: twice the time of this, and 2 % of a small inference.
    """

    def __init__(self, memory: Any = None, number: int = 0) -> None:
        """`memory` is `memory_bytes` of all processes of the server, of which this is the one at `number`."""
        parts = memoryview(bytearray(self.memory_bytes(1)) if memory is None else memory).cast("B")
        size = part_bytes(_WIDTH)
        self.ledgers = [Ledger(parts[at : at + size], _WIDTH) for at in range(0, len(parts), size)]
        self._own = self.ledgers[number]
        self._own.take(os.getpid())
        self._lock = threading.Lock()
        self._series: dict[Labels, Any] = {_labels(name): series for name, series in self._own.series().items()}
        # The same series, by what a request has at hand.
        self._found: dict[tuple[str, str | None, int], Any] = {}
        self._others = self._series.get(_OTHERS) or self._add(_OTHERS)

    @staticmethod
    def memory_bytes(processes: int) -> int:
        """What so many processes need."""
        return processes * part_bytes(_WIDTH)

    def answered(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request."""
        with self._lock:
            series = self._found.get((method, route, status)) or self._find(method, route, status)
            series[bisect_left(BUCKETS, seconds)] += 1
            series[-1] += seconds

    def inferred(self, rows: int) -> None:
        """Count rows whose answers are computed."""
        with self._lock:
            self._own.fixed[ROWS] += rows

    def collect(self) -> Iterator[Metric]:
        """Both families, summed over all processes."""
        rows = sum(ledger.fixed[ROWS] for ledger in self.ledgers)
        yield CounterMetricFamily("falcon_mnist_rows_inferred", "Rows that forward passes have answered.", rows)
        meaning = "Requests by route template and status code, and the seconds until their answers were ready."
        family = HistogramMetricFamily("falcon_mnist_request_seconds", meaning, labels=["method", "route", "code"])
        for labels, (*counts, total) in self._sums().items():
            if any(counts):
                family.add_metric(labels, list(zip(_NAMES, accumulate(counts), strict=True)), total)
        yield family

    def _sums(self) -> dict[Labels, list[float]]:
        sums: dict[Labels, list[float]] = {}
        for ledger in self.ledgers:
            for name, series in ledger.series().items():
                before = sums.get(_labels(name), [0.0] * _WIDTH)
                sums[_labels(name)] = [one + other for one, other in zip(before, series, strict=True)]
        return sums

    def _find(self, method: str, route: str | None, status: int) -> Any:
        """Paths and methods that do not exist share a series: clients could invent any number of them."""
        known = method in falcon.HTTP_METHODS
        labels = (method if known else "other", route or "none", str(status))
        series = self._series.get(labels) or self._add(labels)
        if known:
            self._found[method, route, status] = series
        return series

    def _add(self, labels: Labels) -> Any:
        series = self._own.add("\n".join(labels)) or self._others
        self._series[labels] = series
        return series


def _labels(name: str) -> Labels:
    return tuple(name.split("\n"))
