"""The requests and rows of this process, counted for Prometheus."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

import falcon
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

# Upper bounds in seconds: from what a small inference takes to what the slowest client waits for.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0)
_NAMES = [*map(str, BUCKETS), "+Inf"]


class Metrics(Collector):
    """What is counted while requests are answered; all else is read when somebody asks.

    The library's own counters take a lock for each number: twice the time of this, and 2 % of a small inference.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = 0
        # Method, route and code to a count for each bucket, and the sum of the seconds.
        self._series: dict[tuple[str, str, str], list[float]] = {}
        # The same lists, by what a request has at hand: the status may be a number or a text.
        self._found: dict[tuple[str, str | None, object], list[float]] = {}

    def answered(self, req: falcon.Request, resp: falcon.Response, seconds: float) -> None:
        """Count a request."""
        with self._lock:
            series = self._found.get((req.method, req.uri_template, resp.status)) or self._find(req, resp)
            series[bisect_left(BUCKETS, seconds)] += 1
            series[-1] += seconds

    def inferred(self, rows: int) -> None:
        """Count rows whose answers are computed."""
        with self._lock:
            self._rows += rows

    def collect(self) -> Iterator[Metric]:
        """Both families, of one moment."""
        with self._lock:
            rows, copied = self._rows, {labels: tuple(series) for labels, series in self._series.items()}
        yield CounterMetricFamily("falcon_mnist_rows_inferred", "Rows that forward passes have answered.", rows)
        meaning = "Requests by route template and status code, and the seconds until their answers were ready."
        family = HistogramMetricFamily("falcon_mnist_request_seconds", meaning, labels=["method", "route", "code"])
        for labels, (*counts, total) in copied.items():
            family.add_metric(labels, list(zip(_NAMES, accumulate(counts), strict=True)), total)
        yield family

    def _find(self, req: falcon.Request, resp: falcon.Response) -> list[float]:
        """Paths and methods that do not exist share a series: clients could invent any number of them."""
        known = req.method in falcon.HTTP_METHODS
        labels = (req.method if known else "other", req.uri_template or "none", str(resp.status_code))
        series = self._series.setdefault(labels, [0.0] * (len(_NAMES) + 1))
        if known:
            self._found[req.method, req.uri_template, resp.status] = series
        return series
