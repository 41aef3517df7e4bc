"""The promises that are figures, measured here: how long others wait, how long an end takes, what saving costs.

    python bench/promises.py

Starts servers of its own on loopback, with homes of their own, and prints a line for each promise: what was measured,
and what is promised. Ends with status 1 if one is not kept. Takes three minutes.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from falcon_mnist.data import dataset
from falcon_mnist.runs import checkpoints
from falcon_mnist.runs.checkpoints import Checkpoints, CheckpointWriter
from falcon_mnist.storage.files import LocalFolder
from falcon_mnist.training import network, trainer
from falcon_mnist.training.hyperparams import Hyperparams

TOKEN = "promises-8c1f"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
LINEAR = {"type": "linear", "in": 784, "out": 10}
QUICK = {"architecture": {"input_size": 784, "layers": [LINEAR]}, "hyperparams": {"epochs": 1, "batch_size": 512}}
HIDDEN = [{"type": "linear", "in": 784, "out": 32}, {"type": "relu"}, {"type": "linear", "in": 32, "out": 10}]
SHORT = {"architecture": {"input_size": 784, "layers": HIDDEN}, "hyperparams": {"epochs": 1}}
# Batches of half a second and more, in the middle of which a worker hears nothing.
WIDE = {
    "input_size": 784,
    "layers": [
        {"type": "linear", "in": 784, "out": 2048}, {"type": "relu"}, {"type": "linear", "in": 2048, "out": 2048},
        {"type": "relu"}, {"type": "linear", "in": 2048, "out": 10},
    ],
}  # fmt: skip
ENDLESS = {"architecture": WIDE, "hyperparams": {"epochs": 1000, "batch_size": 4096}}
DATASET = os.environ.get("FALCON_MNIST_DATASET", "synthetic")


class Server:
    """`falcon-mnist serve` on a home of its own."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_MNIST_")}
        given = {"home": home, "tokens": TOKEN, "dataset": DATASET} | settings
        ours = {f"FALCON_MNIST_{name.upper()}": str(value) for name, value in given.items()}
        with (home / "output").open("wb") as out, (home / "log").open("wb") as log:
            command = [sys.executable, "-c", "from falcon_mnist.cli.entry import main; main()", "serve", "--port", "0"]
            self.process = subprocess.Popen(command, env=kept | ours, stdout=out, stderr=log)
        found = wait_for(lambda: re.search(r"http://([\d.]+):(\d+)", (home / "output").read_text()), "it starts")
        self.address = (found[1], int(found[2]))
        self.client = httpx.Client(base_url=found[0], headers=HEADERS, timeout=60)

    def post(self, path: str, body: Any) -> Any:
        response = self.client.post(path, content=json.dumps(body))
        response.raise_for_status()
        return response.json()

    def train(self, body: Any) -> str:
        model_id = self.post("/api/models", body)["model_id"]
        return str(self.post(f"/api/models/{model_id}/train", {})["run_id"])

    def wait(self, run_id: str, state: str) -> Any:
        def arrived() -> Any:
            run = self.client.get(f"/api/runs/{run_id}").json()
            return run if run["state"] == state else None

        return wait_for(arrived, f"the run is {state}")

    def children(self) -> list[int]:
        files = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for file in files for pid in file.read_text().split()]


@contextmanager
def serving(home: Path | None = None, **settings: object) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="promises-") as folder:
        server = Server(home or Path(folder), **settings)
        try:
            yield server
        finally:
            left = server.children()
            server.process.kill()
            server.process.wait()
            server.client.close()
            wait_for(lambda: not any(map(alive, left)), "its workers end")


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain until {what}")
        time.sleep(0.01)
    return value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def full_queue() -> float:
    """The longest of 50 refusals, in seconds."""
    with serving(workers=1, max_queued_runs=3) as server:
        run_id = server.train(ENDLESS)
        server.wait(run_id, "running")
        for _ in range(3):
            server.train(ENDLESS)
        model_id = server.post("/api/models", QUICK)["model_id"]
        times = []
        for _ in range(50):
            begin = time.perf_counter()
            response = server.client.post(f"/api/models/{model_id}/train", content=b"{}")
            times.append(time.perf_counter() - begin)
            assert response.status_code == 503, response.text
            assert int(response.headers["Retry-After"]) > 0
        return max(times)


def crowd() -> float:
    """The longest that a client waits beside 200 connections, 60 half requests, 30 trickles and a training run."""
    with serving(workers=1) as server, ExitStack() as stack:
        param_id = server.wait(server.train(QUICK), "succeeded")["param_id"]
        server.wait(server.train(ENDLESS), "running")
        body = json.dumps({"param_id": param_id, "inputs": np.zeros((1, 784)).tolist()}).encode()
        head = "\r\n".join(["POST /api/infer HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in HEADERS.items())])
        head = f"{head}\r\nContent-Length: {len(body)}\r\n\r\n"
        idle, halves, trickles = (
            [stack.enter_context(socket.create_connection(server.address)) for _ in range(n)] for n in (200, 60, 30)
        )
        for connection in halves:
            connection.sendall(head.encode() + body[:500])
        for connection in trickles:
            connection.sendall(head.encode())
        over = threading.Event()

        def trickle() -> None:
            for at in range(len(body) - 1):
                if over.wait(0.05):
                    return
                for connection in trickles:
                    connection.sendall(body[at : at + 1])

        thread = threading.Thread(target=trickle)
        thread.start()
        times = []
        for _ in range(100):
            for method, path, content in (("POST", "/api/infer", body), ("GET", "/healthz", None)):
                begin = time.perf_counter()
                server.client.request(method, path, content=content).raise_for_status()
                times.append(time.perf_counter() - begin)
        over.set()
        thread.join()
        assert len(idle) == 200
        return max(times)


def orphans() -> float:
    """How long two workers, in the middle of batches, outlive a server that is killed."""
    with serving(workers=2) as server:
        for run_id in [server.train(ENDLESS) for _ in range(2)]:
            server.wait(run_id, "running")
        time.sleep(2)
        left = server.children()
        server.process.kill()
        begin = time.perf_counter()
        wait_for(lambda: not any(map(alive, left)), "the workers end")
        return time.perf_counter() - begin


def drain() -> float:
    """How long SIGTERM takes beside two runs in long batches, half a request, and answers that nobody reads."""
    with serving(workers=2) as server, ExitStack() as stack:
        for run_id in [server.train(ENDLESS) for _ in range(2)]:
            server.wait(run_id, "running")
        time.sleep(2)
        half, deaf = (stack.enter_context(socket.create_connection(server.address)) for _ in range(2))
        half.sendall(b"POST /api/models HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        ask = f"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADERS['Authorization']}\r\n\r\n"
        deaf.sendall(ask.encode() * 500)
        time.sleep(0.5)
        left = server.children()
        server.process.send_signal(signal.SIGTERM)
        begin = time.perf_counter()
        wait_for(lambda: server.process.poll() is not None and not any(map(alive, left)), "all of it ends")
        return time.perf_counter() - begin


def saving() -> float:
    """What checkpoints cost a run, as a share of its time: the median of pairs of trainings with and without them."""
    layers = [{"type": "linear", "in": 784, "out": 512}, {"type": "relu"}, {"type": "linear", "in": 512, "out": 10}]
    net = network.build({"input_size": 784, "layers": layers})
    hyperparams = Hyperparams.model_validate({"epochs": 8, "optimizer": {"momentum": 0.9}})

    def train(data: dataset.Dataset, folder: Path, *, saved: bool) -> float:
        recorded: list[object] = []
        begin = time.perf_counter()
        writer = CheckpointWriter(Checkpoints(LocalFolder(folder)), recorded.append, None, at_once=False)
        state = trainer.initial_state(net, hyperparams)
        for _ in trainer.train(net, state, data.train_images, data.train_labels, hyperparams):
            if saved:
                list(writer.maybe_save(state))
        seconds = time.perf_counter() - begin
        assert not saved or seconds < checkpoints.MIN_INTERVAL_SECONDS or recorded, "nothing was saved"
        return seconds

    with tempfile.TemporaryDirectory(prefix="promises-") as folder:
        data = dataset.load(DATASET, Path(folder))
        shares = [train(data, Path(folder), saved=True) / train(data, Path(folder), saved=False) - 1 for _ in range(5)]
    return statistics.median(shares)


def seconds_of(run: Any) -> float:
    """From the request of a run to its end."""
    return (datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["created_at"])).total_seconds()


def told(what: str, seconds: list[float]) -> float:
    """The median, after it was printed with the least and the quartiles."""
    first, middle, third = statistics.quantiles(seconds, n=4)
    figures = " / ".join(f"{1e3 * each:.0f}" for each in (min(seconds), first, middle, third))
    print(f"  {what}: {figures} ms (least / quartiles), load {os.getloadavg()[0]:.1f}")
    return middle


def short_run() -> float:
    """The median of 30 runs, each queued when the one before has ended."""
    with serving() as server:
        server.wait(server.train(SHORT), "succeeded")
        return told("short runs", [seconds_of(server.wait(server.train(SHORT), "succeeded")) for _ in range(30)])


def besides_training() -> float:
    """Of 200 runs in a row on one worker: the median of what lies between their ends and is no training."""
    with serving(workers=1, max_queued_runs=200) as server:
        runs = [server.train(SHORT) for _ in range(200)]
        done = [server.wait(run_id, "succeeded") for run_id in runs]
        ends = [datetime.fromisoformat(run["finished_at"]) for run in done]
        between = [(end - before).total_seconds() for before, end in itertools.pairwise(ends)]
        own = [run["history"][0]["seconds"] for run in done[1:]]
        return told("besides training", [all_ - training for all_, training in zip(between, own, strict=True)])


def first_run() -> float:
    """The median of the first runs of seven servers on one home, asked for as soon as those answer."""

    def first(home: Path) -> float:
        with serving(home) as server:
            return seconds_of(server.wait(server.train(SHORT), "succeeded"))

    with tempfile.TemporaryDirectory(prefix="promises-") as folder:
        first(Path(folder))  # makes the data set, where it is made
        return told("first runs", [first(Path(folder)) for _ in range(7)])


PROMISES: tuple[tuple[str, Callable[[], float], float, str], ...] = (
    ("a full queue answers 503 with Retry-After", full_queue, 0.1, "s"),
    ("others are answered beside 290 connections that wait, half-send or trickle", crowd, 2.0, "s"),
    ("workers end when their server is killed", orphans, 10.0, "s"),
    ("SIGTERM ends a busy server and its workers", drain, 15.0, "s"),
    ("checkpoints cost a run", saving, 5.0, "%"),
    ("a run of 784-32-10 ends, after it was queued", short_run, 0.12, "s"),
    ("a run costs besides its training", besides_training, 0.06, "s"),
    ("the first run after a start ends", first_run, 0.6, "s"),
)

if __name__ == "__main__":
    kept = True
    for promise, measure, limit, unit in PROMISES:
        value = measure() * (100 if unit == "%" else 1)
        kept &= math.isfinite(value) and value <= limit
        print(f"{promise}: {value:.3g} {unit}, promised {limit:g} {unit}", flush=True)
    sys.exit(not kept)
