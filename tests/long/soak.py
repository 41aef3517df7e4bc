"""Mixed traffic for minutes on end, and whether the server grows by it.

    python -m tests.long soak                 # 10 minutes
    python -m tests.long soak --minutes 60

Starts a server on a home of its own, on synthetic digits or what FALCON_MNIST_DATASET says, and trains, infers
(JSON and bytes), reads lists and parameters and sends what must be refused, from several threads. Prints memory (of
the server, and of its workers together), descriptors and threads every 30 seconds. Ends with status 1 if they have
grown since the first fifth of the time, if any answer was a 5xx other than a full queue's 503, or if a run failed.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

TOKEN = "soak-8c1f"
CLIENTS = 4
EVERY = 30.0

# Growth that is no leak: an allocator's slack, and what connections and requests in flight hold.
MEMORY = 50 * 2**20
DESCRIPTORS = 30
THREADS = 5

LINEAR = {"type": "linear", "in": 784, "out": 10}
MODEL = {"architecture": {"input_size": 784, "layers": [LINEAR]}, "hyperparams": {"epochs": 1, "batch_size": 512}}


class Size(NamedTuple):
    """What a server holds."""

    memory: int
    workers: int  # the memory of its children
    descriptors: int
    threads: int


def size(pid: int) -> Size:
    children = [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    memory, *others = (counted(process, "VmRSS") * 1024 for process in (pid, *children))
    return Size(memory, sum(others), len(os.listdir(f"/proc/{pid}/fd")), counted(pid, "Threads"))


def counted(pid: int | str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


class Traffic:
    """Clients of one server, each a thread."""

    def __init__(self, url: str) -> None:
        self.answers: collections.Counter[int] = collections.Counter()
        self.faults: list[str] = []
        self.over = threading.Event()
        self._url = url
        self._lock = threading.Lock()
        self._params: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _run(self, seed: int) -> None:
        choose = random.Random(seed)
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 784), dtype=np.uint8)
        rows = (pixels / 255).round(4).tolist()
        kinds = (self._train, self._infer, self._infer_bytes, self._read, self._refused)
        with httpx.Client(base_url=self._url, timeout=60, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            while not self.over.is_set():
                try:
                    kind = choose.choices(kinds, (1, 10, 10, 5, 5))[0]
                    kind(client, choose, rows, pixels.tobytes())
                except Exception as error:
                    self.faults.append(f"{type(error).__name__}: {error}")

    def _ask(self, client: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
        response = client.request(method, path, **options)
        with self._lock:
            self.answers[response.status_code] += 1
        full = response.status_code == 503 and response.json()["type"].endswith(":queue-full")
        if response.status_code >= 500 and not full:
            self.faults.append(f"{method} {path}: {response.status_code} {response.text[:200]}")
        return response

    def _param(self, choose: random.Random) -> str:
        with self._lock:
            return choose.choice(self._params) if self._params else "p_none"

    def _train(self, client: httpx.Client, choose: random.Random, *_: object) -> None:
        model_id = self._ask(client, "POST", "/api/models", json=MODEL).json()["model_id"]
        response = self._ask(client, "POST", f"/api/models/{model_id}/train", json={"hyperparams": {}})
        if response.status_code != 202:
            return
        run_id = response.json()["run_id"]
        if choose.random() < 0.2:
            self._ask(client, "POST", f"/api/runs/{run_id}/cancel")
        end = time.monotonic() + 60
        while time.monotonic() < end and not self.over.is_set():
            run = self._ask(client, "GET", f"/api/runs/{run_id}").json()
            if run["state"] == "failed":
                self.faults.append(f"a run failed: {run['error']}")
            if run["state"] not in ("queued", "running"):
                break
            self.over.wait(0.2)
        else:
            return
        if "param_id" in run:
            with self._lock:
                self._params = [*self._params[-20:], run["param_id"]]
        self._ask(client, "GET", f"/api/models/{model_id}/runs?limit=3")

    def _infer(self, client: httpx.Client, choose: random.Random, rows: list[Any], _: bytes) -> None:
        body = {"param_id": self._param(choose), "inputs": rows[: choose.choice((1, 8, 64))]}
        self._ask(client, "POST", "/api/infer", json=body)

    def _infer_bytes(self, client: httpx.Client, choose: random.Random, _: object, pixels: bytes) -> None:
        path = f"/api/infer?param_id={self._param(choose)}&dtype=uint8"
        headers = {"Content-Type": "application/octet-stream"}
        self._ask(client, "POST", path, content=pixels[: 784 * choose.choice((1, 8, 64))], headers=headers)

    def _read(self, client: httpx.Client, choose: random.Random, *_: object) -> None:
        path = f"/api/params/{self._param(choose)}{choose.choice(('', '?format=safetensors'))}"
        self._ask(client, "GET", choose.choice((path, "/api/openapi.json", "/readyz", "/api/runs/none")))

    def _refused(self, client: httpx.Client, choose: random.Random, *_: object) -> None:
        headers = {"Content-Type": "application/json"}
        content = choose.choice((b"{", b'{"inputs": [[1], [1, 2]]}', b"[" * 10_000, b" " * 2_000_000))
        self._ask(client, "POST", choose.choice(("/api/infer", "/api/models")), content=content, headers=headers)
        self._ask(client, "GET", "/api/runs/none", headers={"Authorization": "Bearer wrong"})


def started(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server process, and its address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_MNIST_")}
    dataset = os.environ.get("FALCON_MNIST_DATASET", "synthetic")
    ours = {"HOME": str(home), "TOKENS": TOKEN, "DATASET": dataset, "MAX_BODY_BYTES": "1000000"}
    output = home / "output"
    with output.open("wb") as out, (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from falcon_mnist.cli.entry import main; main()", "serve", "--port", "0"],
            env=kept | {f"FALCON_MNIST_{name}": value for name, value in ours.items()}, stdout=out, stderr=log,
        )  # fmt: skip
    end = time.monotonic() + 60
    while not (found := re.search(r"(http://\S+)/api", output.read_text())):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise SystemExit(f"the server did not start: {(home / 'log').read_text()}")
        time.sleep(0.1)
    return process, found[1]


def soak(minutes: float) -> list[str]:
    """Everything that was not as it should be."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        home = Path(folder)
        process, url = started(home)
        traffic = Traffic(url)
        sizes: list[Size] = []
        try:
            begin = time.monotonic()
            traffic.start()
            print("seconds  memory MB  workers MB  descriptors  threads  answers")
            while (now := time.monotonic() - begin) < minutes * 60 and process.poll() is None:
                time.sleep(min(EVERY, minutes * 60 / 10, minutes * 60 - now))
                sizes.append(size(process.pid))
                memory, workers, descriptors, threads = sizes[-1]
                answers, seconds = sum(traffic.answers.values()), time.monotonic() - begin
                held = f"{memory / 2**20:9.1f}  {workers / 2**20:10.1f}  {descriptors:11}  {threads:7}"
                print(f"{seconds:7.0f}  {held}  {answers:7}", flush=True)
        finally:
            traffic.stop()
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        print(f"answers by status: {json.dumps(dict(sorted(traffic.answers.items())))}")
        faults = sorted(set(traffic.faults))
        early = sizes[: max(1, len(sizes) // 5)]
        limits = {"memory": MEMORY, "workers": MEMORY, "descriptors": DESCRIPTORS, "threads": THREADS}
        for name, allowed in limits.items():
            grown = getattr(sizes[-1], name) - max(getattr(entry, name) for entry in early)
            if grown > allowed:
                faults.append(f"{name} has grown by {grown}")
        if code != 0:
            faults.append(f"the server ended with status {code}")
        return faults


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--minutes", type=float, default=10)
    faults = soak(parser.parse_args().minutes)
    print(*faults, sep="\n", end="\n" if faults else "")
    sys.exit(1 if faults else 0)
