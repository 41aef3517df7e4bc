"""Load on `/infer` and `/infer_adhoc`: `falcon-mnist serve` beside FastAPI with PyTorch under uvicorn.

    python bench/load.py --peers path/to/venv/bin/python      # needs fastapi, uvicorn[standard], torch, safetensors
    python bench/load.py                                      # this service alone

Every server is started here, on loopback, and gets the same bodies in turn, round after round; the table has the
median of the rounds. Answers are compared before anything is timed, and a request that fails ends the program.
`--write` puts the table into docs/performance.md; `--json FILE` keeps the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import orjson
from readme import PERFORMANCE, machine, markdown, put_into

from falcon_mnist.data import dataset

HERE = Path(__file__).parent
JSON, BINARY = "application/json", "application/octet-stream"
TOKEN = secrets.token_urlsafe(16)
ARCHITECTURE = {
    "input_size": 784,
    "layers": [{"type": "linear", "in": 784, "out": 128}, {"type": "relu"}, {"type": "linear", "in": 128, "out": 10}],
}


@dataclass(frozen=True)
class Case:
    """One kind of request. `peer` says whether the contender can be sent it too."""

    name: str
    path: str
    media_type: str
    rows: int
    connections: int
    peer: bool = True
    dtype: str | None = None


CASES = (
    Case("infer, 1 row, JSON", "/api/infer", JSON, 1, 8),
    Case("infer, 512 rows, JSON", "/api/infer", JSON, 512, 2),
    Case("infer, 512 rows, float32 bytes", "/api/infer", BINARY, 512, 2, peer=False, dtype="float32"),
    Case("infer, 512 rows, uint8 bytes", "/api/infer", BINARY, 512, 2, peer=False, dtype="uint8"),
    Case("infer_adhoc, 1 row, JSON", "/api/infer_adhoc", JSON, 1, 2),
    Case("infer, 1 row, JSON, 1 connection", "/api/infer", JSON, 1, 1),
    Case("infer, 1 row, JSON, 64 connections", "/api/infer", JSON, 1, 64),
)


@dataclass(frozen=True)
class Figures:
    """Requests a second, and percentiles of the time of a request in milliseconds."""

    rate: float
    p50: float
    p95: float
    p99: float


# Of one case: the rounds of each server.
Runs = dict[str, list[Figures]]
OURS, THEIRS = "falcon-mnist", "FastAPI + PyTorch"


@dataclass(frozen=True)
class Trained:
    """What the bodies need: a parameter set, its JSON form, and digits."""

    param_id: str
    parameters: dict[str, object]
    images: np.ndarray


def body(case: Case, trained: Trained) -> bytes:
    """The body of a case."""
    images = trained.images[: case.rows]
    rows = images / np.float32(255)
    if case.media_type == BINARY:
        return images.tobytes() if case.dtype == "uint8" else rows.astype("<f4").tobytes()
    document: dict[str, object] = {"inputs": rows}
    if case.path == "/api/infer":
        document["param_id"] = trained.param_id
    else:
        document |= {"architecture": ARCHITECTURE, "parameters": trained.parameters}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def url(case: Case, base: str, trained: Trained) -> str:
    """Where a case is sent."""
    query = f"?param_id={trained.param_id}&dtype={case.dtype}" if case.dtype else ""
    return f"{base}{case.path}{query}"


def free_port() -> int:
    """A port of loopback that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(command: list[str], port: int, ready: str, **environment: str) -> Iterator[tuple[str, int]]:
    """A server process that answers at `ready`; gives its URL and process id, and ends it."""
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=log, stderr=log, cwd=HERE / "contenders"
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(base + ready, trust_env=False)
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(f"{command[0]} did not start:\n{log.read().decode()[-2000:]}")
                time.sleep(0.05)
            yield base, process.pid
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def serve(home: Path, port: int) -> contextlib.AbstractContextManager[tuple[str, int]]:
    """This service, with its log."""
    command = [str(Path(sys.executable).parent / "falcon-mnist"), "serve", "--port", str(port)]
    return started(command, port, "/readyz", FALCON_MNIST_HOME=str(home), FALCON_MNIST_TOKENS=TOKEN)


def contender(python: str, parameters: Path, port: int) -> contextlib.AbstractContextManager[tuple[str, int]]:
    """FastAPI with PyTorch under uvicorn, one process."""
    command = [
        python,
        "-m",
        "uvicorn",
        "fastapi_torch:app",
        "--port",
        str(port),
        "--log-level",
        "warning",
        "--no-access-log",
    ]
    return started(command, port, "/openapi.json", CONTENDER_PARAMETERS=str(parameters))


def client(base: str) -> httpx.Client:
    """A client with the token."""
    return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=300, trust_env=False)


def start_run(http_client: httpx.Client, architecture: dict[str, object], **hyperparams: object) -> str:
    """Create a model and queue a run of it."""
    created = http_client.post("/api/models", json={"architecture": architecture, "hyperparams": hyperparams})
    model_id = created.raise_for_status().json()["model_id"]
    return str(http_client.post(f"/api/models/{model_id}/train").raise_for_status().json()["run_id"])


def wait_for(http_client: httpx.Client, run_id: str, *states: str) -> dict[str, object]:
    """Poll until the run is in one of `states`."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        run: dict[str, object] = http_client.get(f"/api/runs/{run_id}").raise_for_status().json()
        if run["state"] in states:
            return run
        time.sleep(0.25)
    sys.exit(f"run {run_id} did not become {' or '.join(states)} within 10 minutes")


def train(base: str, images: np.ndarray, file: Path) -> Trained:
    """A parameter set of the specification's example; its safetensors go to `file`."""
    with client(base) as http_client:
        run = wait_for(http_client, start_run(http_client, ARCHITECTURE, epochs=1), "succeeded")
        parameters = http_client.get(f"/api/params/{run['param_id']}").json()["parameters"]
        file.write_bytes(http_client.get(f"/api/params/{run['param_id']}?format=safetensors").content)
    return Trained(str(run["param_id"]), parameters, images)


def answer(case: Case, base: str, trained: Trained) -> dict[str, object]:
    """The outputs that a server answers."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": case.media_type}
    response = httpx.post(
        url(case, base, trained), content=body(case, trained), headers=headers, timeout=60, trust_env=False
    )
    outputs: dict[str, object] = response.raise_for_status().json()["outputs"]
    return outputs


def check_equal(ours: dict[str, object], theirs: dict[str, object], *, exactly: bool) -> None:
    """The same labels, and the same probabilities up to the order of float32 sums."""
    assert ours["labels"] == theirs["labels"]
    tolerance = 0 if exactly else 1e-5
    np.testing.assert_allclose(ours["probabilities"], theirs["probabilities"], rtol=tolerance, atol=tolerance)


def drive(case: Case, base: str, trained: Trained, seconds: int) -> Figures:
    """Send the case over its connections for `seconds`, with wrk if it is there."""
    if shutil.which("wrk"):
        return drive_with_wrk(case, base, trained, seconds)
    return drive_with_threads(case, base, trained, seconds)


def drive_with_wrk(case: Case, base: str, trained: Trained, seconds: int) -> Figures:
    """One thread of wrk; its latencies are in microseconds."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body(case, trained))
        file.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{case.connections}",
            f"-d{seconds}s",
            "--timeout",
            "30s",
            "-s",
            str(HERE / "post.lua"),
        ]
        environment = os.environ | {"BODY": file.name, "TYPE": case.media_type, "TOKEN": TOKEN}
        finished = subprocess.run(
            [*command, url(case, base, trained)], env=environment, capture_output=True, text=True, check=True,
            timeout=seconds + 60,
        )  # fmt: skip
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", finished.stdout)
    if not found or found[6] != "0":
        sys.exit(f"{case.name}: requests failed:\n{finished.stdout}")
    requests, duration, p50, p95, p99 = (int(number) for number in found.groups()[:5])
    return Figures(requests / duration * 1e6, p50 / 1e3, p95 / 1e3, p99 / 1e3)


def drive_with_threads(case: Case, base: str, trained: Trained, seconds: int) -> Figures:
    """A thread for each connection; slower than wrk, for every contender alike."""
    target, sent = url(case, base, trained), body(case, trained)
    host, path = target.removeprefix("http://").split("/", 1)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": case.media_type}
    times: list[float] = []
    failures: list[int] = []
    end = time.monotonic() + seconds

    def send() -> None:
        connection = http.client.HTTPConnection(host, timeout=30)
        while time.monotonic() < end and not failures:
            start = time.perf_counter()
            connection.request("POST", f"/{path}", sent, headers)
            response = connection.getresponse()
            response.read()
            times.append(time.perf_counter() - start)
            if response.status != 200:
                failures.append(response.status)

    threads = [threading.Thread(target=send) for _ in range(case.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures or not times:
        sys.exit(f"{case.name}: a request was answered {failures[:1]}")
    percentiles = np.percentile(np.array(times) * 1e3, [50, 95, 99])
    return Figures(len(times) / seconds, *(float(value) for value in percentiles))


def median(figures: list[Figures]) -> Figures:
    """Each figure's median."""
    return Figures(*(statistics.median(getattr(each, name) for each in figures) for name in Figures.__annotations__))


def resident(pid: int, name: str = "VmRSS") -> float:
    """Resident memory of a process now, or (`VmHWM`) at most so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def measure(servers: dict[str, str], trained: Trained, rounds: int, seconds: int) -> dict[str, Runs]:
    """Case to server to figures, round by round; servers take turns within each round."""
    found: dict[str, Runs] = {}
    for case in CASES:
        runs = found.setdefault(case.name, {})
        for _ in range(rounds):
            for name, base in servers.items():
                if case.peer or name == OURS:
                    runs.setdefault(name, []).append(drive(case, base, trained, seconds))
        print(
            case.name, {name: [f"{each.rate:.1f}/s" for each in figures] for name, figures in runs.items()}, flush=True
        )
    return found


def measure_beside_training(base: str, trained: Trained, rounds: int, seconds: int) -> tuple[Figures, Figures]:
    """One-row requests while no worker is busy, and while two are."""
    layers = [{"type": "linear", "in": 784, "out": 512}, {"type": "relu"}, {"type": "linear", "in": 512, "out": 10}]
    wide = {"input_size": 784, "layers": layers}
    idle, busy = [], []
    with client(base) as http_client:
        for _ in range(rounds):
            idle.append(drive(CASES[0], base, trained, seconds))
            runs = [start_run(http_client, wide, epochs=1000, seed=seed) for seed in (1, 2)]
            for run_id in runs:
                wait_for(http_client, run_id, "running")
            busy.append(drive(CASES[0], base, trained, seconds))
            for run_id in runs:
                http_client.post(f"/api/runs/{run_id}/cancel").raise_for_status()
            time.sleep(1)  # until the workers have seen it
    return median(idle), median(busy)


def times_as_many(case: str, name: str, found: dict[str, Runs]) -> str:
    """How many requests of one of the contender's are answered, or of our own JSON where bytes are sent."""
    if name != OURS:
        return ""
    others = found[case].get(THEIRS, []) if "bytes" not in case else found[CASES[1].name][OURS]
    ratios = [ours.rate / other.rate for ours, other in zip(found[case][OURS], others, strict=False)]
    return f"{statistics.median(ratios):.1f}{' (our JSON)' if 'bytes' in case else ''}" if ratios else ""


def table(found: dict[str, Runs]) -> list[str]:
    """The medians as a Markdown table."""
    rows = []
    for case, runs in found.items():
        for name, figures in runs.items():
            each = median(figures)
            numbers = [f"{each.rate:,.1f}", f"{each.p50:.2f}", f"{each.p95:.2f}", f"{each.p99:.2f}"]
            rows.append([case, name, *numbers, times_as_many(case, name, found)])
    return markdown(["request", "server", "requests/s", "p50 ms", "p95 ms", "p99 ms", "times as many"], rows, words=2)


def main() -> None:
    """Start the servers, compare their answers, drive them, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="Python of an environment with what is named above")
    parser.add_argument("--dataset", default="auto", help="as FALCON_MNIST_DATASET")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    options = parser.parse_args()
    os.environ["FALCON_MNIST_DATASET"] = options.dataset
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        images = dataset.load(options.dataset, home).test_images
        base, pid = stack.enter_context(serve(home, free_port()))
        memory = {"started": resident(pid)}
        trained = train(base, images, home / "parameters.safetensors")
        servers = {OURS: base}
        if options.peers:
            peer, _ = stack.enter_context(contender(options.peers, home / "parameters.safetensors", free_port()))
            servers[THEIRS] = peer
        for case in CASES:
            ours = answer(case, base, trained)
            check_equal(ours, answer(CASES[0 if case.rows == 1 else 1], base, trained), exactly=True)
            if case.peer and options.peers:
                check_equal(ours, answer(case, servers[THEIRS], trained), exactly=False)
        found = measure(servers, trained, options.rounds, options.seconds)
        memory["at most, with 512-row bodies on 8 connections"] = eight_at_once(base, pid, trained, options.seconds)
        idle, busy = measure_beside_training(base, trained, options.rounds, options.seconds)
    lines = table(found)
    command = "python bench/load.py --peers …" if options.peers else "python bench/load.py"
    held = ", ".join(f"{value:.0f} MB {when}" for when, value in memory.items())
    lines += [
        "",
        f"{OURS} runs as `falcon-mnist serve`, {THEIRS} under `uvicorn`, one process each;",
        f"medians of {options.rounds} rounds of {options.seconds} s, in which they took turns.",
        "",
        f"While two runs train, the 95th percentile of a 1-row request is {busy.p95:.2f} ms ({idle.p95:.2f} ms idle).",
        f"Memory of the server: {held}.",
        "",
        f"`{command}`; {machine()}.",
    ]
    print("\n".join(lines))
    if options.json:
        figures = {case: {name: list(map(vars, runs[name])) for name in runs} for case, runs in found.items()}
        beside = {"idle": vars(idle), "busy": vars(busy)}
        report = {"machine": machine(), "cases": figures, "beside training": beside, "memory_mb": memory}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.write:
        put_into(PERFORMANCE, "load", lines)


def eight_at_once(base: str, pid: int, trained: Trained, seconds: int) -> float:
    """The most memory, in MB, that the server ever held, with 512-row JSON bodies on as many connections as threads."""
    largest = CASES[1]
    everywhere = Case(largest.name, largest.path, largest.media_type, largest.rows, connections=8)
    drive(everywhere, base, trained, seconds)
    return resident(pid, "VmHWM")


if __name__ == "__main__":
    main()
