"""What counting for `/metrics` costs an `/infer` of one row, in the server's CPU seconds, with all that HTTP takes.

    python bench/counting.py

A server in a process of its own counts or does not, as it is told between blocks of requests. Both halves of a pair
pass the same threads of one process: two servers differ by more than what is measured, with how the system places
their threads. Prints the median over the pairs; ends with status 1 if that is more than 2 %. Takes a minute.
"""

from __future__ import annotations

import http.client
import itertools
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import paired

from falcon_mnist.api.metrics import Metrics
from falcon_mnist.api.service import Service
from falcon_mnist.app import open_service
from falcon_mnist.clock import new_id
from falcon_mnist.server.serve import running
from falcon_mnist.settings import Settings
from falcon_mnist.training import network

TOKEN = "a-token-for-benchmarks"
SERVERS, PAIRS, REQUESTS, LIMIT = 3, 500, 10, 0.02
ARCHITECTURE = {
    "input_size": 784,
    "layers": [{"type": "linear", "in": 784, "out": 128}, {"type": "relu"}, {"type": "linear", "in": 128, "out": 10}],
}
JSON, BYTES = "application/json", "application/octet-stream"


class Switched(Metrics):
    """Counts while it is told to."""

    counts = True

    def answered(self, *request: Any) -> None:
        if self.counts:
            super().answered(*request)

    def inferred(self, rows: int) -> None:
        if self.counts:
            super().inferred(rows)


def stored(service: Service) -> str:
    """A parameter set as it is before training."""
    net, param_id = network.build(ARCHITECTURE), new_id("p")
    run = service.store.create_run(service.store.create_model(ARCHITECTURE, {}), {}, max_queued=1)
    service.store.claim(run.id, "bench")
    written = service.files.write(param_id, ARCHITECTURE, network.initial_parameters(net, seed=1))
    service.store.succeed(run.id, "bench", param_id, size_bytes=written.size_bytes, sha256=written.sha256)
    return param_id


def serve() -> None:
    """Says its URL and a parameter set, then obeys each line: 1 to count, 0 not to."""
    metrics = Switched()
    with tempfile.TemporaryDirectory() as folder:
        service = replace(open_service(Settings(home=Path(folder), tokens=(TOKEN,))), metrics=metrics)
        param_id = stored(service)
        with running(service) as url:
            print(url.removeprefix("http://"), param_id, flush=True)
            for line in sys.stdin:
                metrics.counts = line == "1\n"
                print("obeyed", flush=True)


class Server:
    """That process, and a connection to it."""

    def __init__(self, media_type: str) -> None:
        command = [sys.executable, __file__, "serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin
        assert self.process.stdout
        self._tell, self._hear = self.process.stdin, self.process.stdout
        address, param_id = self._hear.readline().split()
        self._connection = http.client.HTTPConnection(address)
        self._headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": media_type}
        self._path = "/api/infer" + (f"?param_id={param_id}&dtype=uint8" if media_type == BYTES else "")
        document = {"param_id": param_id, "inputs": [[0.0] * 784]}
        self._body = bytes(784) if media_type == BYTES else orjson.dumps(document)
        self._clock = ~self.process.pid << 3 | 2  # of Linux: the CPU seconds of another process

    def seconds(self, *, counted: bool) -> float:
        """CPU seconds of a request."""
        self._tell.write(f"{int(counted)}\n")
        self._tell.flush()
        self._hear.readline()
        begin = time.clock_gettime(self._clock)
        for _ in range(REQUESTS):
            self._connection.request("POST", self._path, self._body, self._headers)
            response = self._connection.getresponse()
            assert response.status == 200, response.read()
            response.read()
        return (time.clock_gettime(self._clock) - begin) / REQUESTS

    def pairs(self) -> list[tuple[float, float]]:
        """With and without, each first as often as the other."""
        found = []
        for counted in itertools.islice(itertools.cycle((True, False)), PAIRS + 20):
            times = {first: self.seconds(counted=first) for first in (counted, not counted)}
            found.append((times[True], times[False]))
        self._tell.close()
        self.process.wait()
        return found[20:]


def share(name: str, media_type: str) -> float:
    """What counting adds, as a share of a request."""
    pairs = [pair for _ in range(SERVERS) for pair in Server(media_type).pairs()]
    measured = paired.of([without for _, without in pairs], [counted for counted, _ in pairs])
    print(
        f"{name}: {measured.ours * 1e6:.0f} µs; counted, times {measured.ratio:.4f} in {len(pairs)} pairs", flush=True
    )
    return measured.ratio - 1


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        sys.exit(max(share("one row of JSON", JSON), share("one row of bytes", BYTES)) > LIMIT)
