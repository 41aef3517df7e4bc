"""The requests and rows of this process, counted for Prometheus."""

from __future__ import annotations

import falcon
from prometheus_client import Counter, Histogram
from prometheus_client.registry import Collector

# From what a small inference takes to what the slowest training client waits for.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0)


class Metrics:
    """What is counted while requests are answered; all else is read when somebody asks."""

    def __init__(self) -> None:
        self._rows = Counter("falcon_mnist_rows_inferred", "Rows that forward passes have answered.", registry=None)
        self._seconds = Histogram(
            "falcon_mnist_request_seconds",
            "Requests by route template and status code, and the seconds until their answers were ready.",
            ["method", "route", "code"],
            buckets=BUCKETS,
            registry=None,
        )
        # A histogram finds the child of its labels under a lock: this takes a tenth of that time.
        self._children: dict[tuple[str, str | None, object], Histogram] = {}

    def answered(self, req: falcon.Request, resp: falcon.Response, seconds: float) -> None:
        """Count a request. Paths and methods that do not exist share one series: clients could invent any number."""
        child = self._children.get((req.method, req.uri_template, resp.status))
        if child is None:
            child = self._child(req, resp)
        child.observe(seconds)

    def inferred(self, rows: int) -> None:
        """Count rows whose answers are computed."""
        self._rows.inc(rows)

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """For a registry."""
        return self._seconds, self._rows

    def _child(self, req: falcon.Request, resp: falcon.Response) -> Histogram:
        known = req.method in falcon.HTTP_METHODS
        child = self._seconds.labels(
            method=req.method if known else "other", route=req.uri_template or "none", code=resp.status_code
        )
        if known:
            self._children[req.method, req.uri_template, resp.status] = child
        return child
