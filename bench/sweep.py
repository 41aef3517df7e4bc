"""A sweep: many short trainings of 784-64-10, through this service on its pool and on Ray, and with PyTorch.

    python bench/sweep.py                   # 200 runs of 3 epochs each, on as many workers as there are CPUs
    python bench/sweep.py --runs 40 --write # puts the table into docs/scaling.md

All training gives way to other work (nice) as this service's does. PyTorch trains with one thread in each process of a
warm pool, the data in memory, and as trials of Ray Tune. All train on 54,000 rows and validate on 6,000 after each
epoch; this service also records every epoch, evaluates each result on the test images and stores it. Needs torch and
ray[tune].
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from configurations import Configuration, digits, write_folder
from contenders import sweep_torch
from load import started
from readme import machine, markdown, put_into

from falcon_mnist.client.client import Client
from falcon_mnist.settings import cpus

SCALING = Path(__file__).parents[1] / "docs" / "scaling.md"
NETWORK = Configuration("784-64-10", hidden=(64,))
EPOCHS = 3
RAY = (sys.executable, "-c", "from ray.scripts.scripts import main; main()")
TOKEN = secrets.token_urlsafe(16)

Sweep = Callable[[int], tuple[float, float | None]]  # seconds of so many runs, and those besides training of one


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def ray_cluster(workers: int) -> Iterator[str]:
    """A Ray node of this machine; gives its address."""
    address = f"{socket.gethostbyname(socket.gethostname())}:{free_port()}"
    host, port = address.split(":")
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        options = (
            *("--head", "--block", "--disable-usage-stats", "--include-dashboard=false", f"--port={port}"),
            *(f"--node-ip-address={host}", f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}"),
            *("--min-worker-port=0", "--max-worker-port=0", f"--num-cpus={workers}", "--object-store-memory=400000000"),
        )
        process = subprocess.Popen([*RAY, "start", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield address
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def service(folder: Path, workers: int, executor: str, address: str) -> Iterator[Sweep]:
    """This service; gives how to sweep with it."""
    port = free_port()
    settings = {
        "home": folder / executor, "dataset": folder / "digits", "workers": workers, "executor": executor,
        "tokens": TOKEN, "max_queued_runs": 1_000_000,
    }  # fmt: skip
    variables = {f"FALCON_MNIST_{name.upper()}": str(value) for name, value in settings.items()}
    command = [str(Path(sys.executable).with_name("falcon-mnist")), "serve", "--port", str(port)]
    with (
        started(command, port, "/readyz", RAY_ADDRESS=address, **variables) as (url, _),
        Client(url, TOKEN) as client,
    ):

        def sweep(runs: int) -> tuple[float, float | None]:
            start = time.perf_counter()
            hyperparams = NETWORK.hyperparams(EPOCHS)
            models = [client.create_model(NETWORK.architecture, hyperparams | {"seed": seed}) for seed in range(runs)]
            ids = [client.train(model["model_id"])["run_id"] for model in models]
            ended = [wait(client, run_id) for run_id in ids]
            seconds = time.perf_counter() - start
            training = sum(epoch["seconds"] for run in ended for epoch in run["history"])
            return seconds, (seconds * workers - training) / runs

        yield sweep


def wait(client: Client, run_id: str) -> dict[str, object]:
    while (run := client.run(run_id))["state"] in ("queued", "running"):
        time.sleep(0.01)
    assert run["state"] == "succeeded", run
    return run


@contextlib.contextmanager
def torch_pool(folder: Path, workers: int) -> Iterator[Sweep]:
    """PyTorch in processes that have imported it and hold the data."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, sweep_torch.prepare, [folder / "digits"]) as pool:

        def sweep(runs: int) -> tuple[float, float | None]:
            start = time.perf_counter()
            check(pool.starmap(sweep_torch.train, [(NETWORK, EPOCHS, seed) for seed in range(runs)], chunksize=1))
            return time.perf_counter() - start, None

        yield sweep


@contextlib.contextmanager
def ray_tune(folder: Path, address: str) -> Iterator[Sweep]:
    """PyTorch as trials of Ray Tune, one CPU each, the data in Ray's object store."""

    def sweep(runs: int) -> tuple[float, float | None]:
        seconds, accuracies = sweep_torch.tune(address, folder, NETWORK, EPOCHS, runs)
        check(accuracies)
        return seconds, None

    yield sweep


def check(accuracies: list[float]) -> None:
    assert min(accuracies) > 0.8, accuracies  # of ten digits, also of the synthetic ones


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1, help="each contender in turn, so often; the median counts")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and with it all that it has started
    workers = cpus()
    with tempfile.TemporaryDirectory(prefix="sweep-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        write_folder(digits(), folder / "digits", zeros=True)
        address = stack.enter_context(ray_cluster(workers))
        contenders: dict[str, Sweep] = {
            "this service, pool": stack.enter_context(service(folder, workers, "pool", address)),
            "this service, Ray": stack.enter_context(service(folder, workers, "ray", address)),
            "PyTorch, warm pool": stack.enter_context(torch_pool(folder, workers)),
            "PyTorch, Ray Tune": stack.enter_context(ray_tune(folder, address)),
        }
        figures: dict[str, list[tuple[float, float | None]]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, sweep in contenders.items():
                sweep(2 * workers)  # the workers may have been ended, or swapped out, since their last turn
                figures[name].append(sweep(options.runs))
                print(f"{name}: {figures[name][-1][0]:.1f} s", file=sys.stderr, flush=True)
    lines = table(figures, options.runs, options.rounds, workers)
    print("\n".join(lines))
    if options.write:
        put_into(SCALING, "sweep", lines)


def table(figures: dict[str, list[tuple[float, float | None]]], runs: int, rounds: int, workers: int) -> list[str]:
    seconds = {name: statistics.median(total for total, _ in each) for name, each in figures.items()}
    ours = {name: time_ for name, time_ in seconds.items() if name.startswith("this")}
    rows = []
    for name, each in figures.items():
        besides = [more * 1000 for _, more in each if more is not None]
        times = [f"{seconds[name] / time_:.1f}" if name not in ours else "" for time_ in ours.values()]
        cost = f"{statistics.median(besides):.0f} ms" if besides else ""
        rows.append([name, f"{seconds[name]:.1f} s", f"{runs / seconds[name] * 3600:,.0f}", cost, *times])
    header = ["", "sweep", "runs an hour", "a run besides training", "times the pool's", "times Ray's"]
    load = f"{os.getloadavg()[0]:.1f}" if np.isfinite(os.getloadavg()[0]) else "unknown"
    command = f"python bench/sweep.py --runs {runs} --rounds {rounds}"
    return [
        *markdown(header, rows), "",
        f"{runs} runs of 784-64-10 for {EPOCHS} epochs on {workers} workers, the contenders in turn; {machine()}; load "
        f"{load} at the end; `{command}`.",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
