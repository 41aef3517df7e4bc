"""What counting for `/metrics` costs a request: CPU seconds of `/infer` with one row, with and without it, in turn.

    python bench/counting.py

Asks the application in this process, without HTTP, so that a request is as short as it can be and the share as large.
Prints the median of the differences between neighbours; ends with status 1 if it is more than 2 % of a request.
"""

from __future__ import annotations

import gc
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from falcon import testing

from falcon_mnist.api.app import build_app
from falcon_mnist.api.metrics import Metrics
from falcon_mnist.api.service import Service
from falcon_mnist.app import open_service
from falcon_mnist.clock import new_id
from falcon_mnist.settings import Settings
from falcon_mnist.training import network

TOKEN = "a-token-for-benchmarks"
PAIRS, LIMIT = 20_000, 0.02
ARCHITECTURE = {
    "input_size": 784,
    "layers": [{"type": "linear", "in": 784, "out": 128}, {"type": "relu"}, {"type": "linear", "in": 128, "out": 10}],
}
KINDS = {"JSON": "application/json", "uint8": "application/octet-stream"}


class Uncounted(Metrics):
    """Takes what is to be counted, and counts nothing."""

    def answered(self, *request: object) -> None: ...

    def inferred(self, rows: int) -> None: ...


class NoExecutor:
    """Starts nothing."""

    def start(self) -> None: ...


def stored(service: Service) -> str:
    """A parameter set as it is before training."""
    net, param_id = network.build(ARCHITECTURE), new_id("p")
    run = service.store.create_run(service.store.create_model(ARCHITECTURE, {}), {}, max_queued=1)
    service.store.claim(run.id, "bench")
    written = service.files.write(param_id, ARCHITECTURE, network.initial_parameters(net, seed=1))
    service.store.succeed(run.id, "bench", param_id, size_bytes=written.size_bytes, sha256=written.sha256)
    return param_id


def asker(service: Service, param_id: str, kind: str) -> Callable[[], float]:
    """Asks once, and gives the CPU seconds that it took."""
    app: Any = build_app(replace(service, executor=NoExecutor()))  # type: ignore[arg-type]
    body = bytes(784) if kind == "uint8" else orjson.dumps({"param_id": param_id, "inputs": [[0.0] * 784]})
    query = f"param_id={param_id}&dtype=uint8" if kind == "uint8" else ""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": KINDS[kind]}
    environ = testing.create_environ("/api/infer", query_string=query, method="POST", headers=headers, body=body)
    started = testing.StartResponseMock()

    def ask() -> float:
        request = environ | {"wsgi.input": io.BytesIO(body)}
        begin = time.thread_time()
        app(request, started)
        return time.thread_time() - begin

    ask()
    assert started.status == "200 OK", started.status
    return ask


def measure(kind: str, counted: Callable[[], float], uncounted: Callable[[], float]) -> float:
    """The share of a request."""
    pairs = [(counted(), uncounted()) if at % 2 else (uncounted(), counted())[::-1] for at in range(PAIRS)]
    request = statistics.median(without for _, without in pairs)
    cost = statistics.median(with_it - without for with_it, without in pairs)
    print(f"{kind}: {cost * 1e6:.2f} µs of {request * 1e6:.1f} µs, {cost / request:.2%}; {PAIRS} pairs", flush=True)
    return cost / request


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        service = open_service(Settings(home=Path(folder), tokens=(TOKEN,)))
        param_id = stored(service)
        without = replace(service, metrics=Uncounted())
        gc.disable()
        shares = [measure(kind, *(asker(each, param_id, kind) for each in (service, without))) for kind in KINDS]
        service.close()
    sys.exit(max(shares) > LIMIT)
