"""What Prometheus scrapes: what the processes of this server count, and what the database knows of all servers."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import ClassVar

import falcon
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from falcon_mnist import kernels
from falcon_mnist.api.auth import PUBLIC, READ
from falcon_mnist.api.process_metrics import ProcessMetrics
from falcon_mnist.api.request import read_query
from falcon_mnist.api.resources.base import Resource
from falcon_mnist.api.service import Service
from falcon_mnist.constants import QUEUED

# The older of Prometheus' text formats, which every version reads.
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsText(Resource):
    """`/metrics`."""

    access: ClassVar = {"GET": READ}
    is_probe: ClassVar = True

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        if service.settings.metrics_public:
            self.access = {"GET": PUBLIC}  # type: ignore[misc]  # the one operation whose access is a setting
        self._registry = CollectorRegistry()
        self._registry.register(service.metrics)
        self._registry.register(Facts(service))
        self._registry.register(ProcessMetrics(service.metrics.ledgers))

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer all metrics."""
        read_query(req)
        resp.content_type = MEDIA_TYPE
        resp.data = generate_latest(self._registry)


class Facts(Collector):
    """What is read when it is asked for.

    Worker processes train, so what they did is in the database, for all servers on it; an answer of one server is
    the answer of all, and is not to be added up.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """All families. Raises `DatabaseUnavailableError`."""
        yield from self._of_the_database()
        yield from self._of_this_server()

    def _of_the_database(self) -> Iterator[Metric]:
        runs, trained = self._service.store.count_runs(), self._service.store.trained()
        by_state = GaugeMetricFamily("falcon_mnist_runs", "Runs by state.", labels=["state"])
        for state, count in runs.items():
            by_state.add_metric([state], count)
        yield by_state
        yield _gauge("queue_depth", "Runs that wait for a worker.", runs[QUEUED])
        yield _counter("epochs_trained", "Epochs finished, also of runs removed since.", trained.epochs)
        yield _counter("samples_trained", "Training rows in those epochs.", trained.samples)

    def _of_this_server(self) -> Iterator[Metric]:
        settings, executor = self._service.settings, self._service.executor
        yield InfoMetricFamily(
            "falcon_mnist", "What runs here.", {"version": version("falcon-mnist"), "isa": kernels.isa()}
        )
        yield _gauge("queue_limit", "Queued runs from which on more are refused.", settings.max_queued_runs)
        yield _gauge("workers", "Runs that train at the same time.", self._service.workers)
        yield _gauge("workers_alive", "Workers of this server that live, busy or idle.", executor.workers_alive())
        cache = self._service.predictors.figures()  # of all its processes
        yield _counter("cache_hits", "Parameter sets found in the cache.", cache.hits)
        yield _counter("cache_loads", "Parameter sets read from their files into the cache.", cache.loads)
        yield _gauge("cache_sets", "Parameter sets in the cache.", cache.sets)
        yield _gauge("cache_bytes", "Bytes of the parameter sets in the cache.", cache.size_bytes)
        yield _gauge("cache_limit_bytes", "Bytes beyond which the cache drops parameter sets.", cache.limit_bytes)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"falcon_mnist_{name}", meaning, value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(f"falcon_mnist_{name}", meaning, value)
