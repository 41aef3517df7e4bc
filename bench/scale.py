"""How far one machine goes: the figures, and what they make of many machines (`estimate`).

    python bench/scale.py                   # runs an hour, requests a second, and what a run writes
    python bench/scale.py --runs 60 --write # puts both tables into docs/scaling.md

Runs are of 784-64-10 for 3 epochs, on 1, 2 and 4 workers. Requests are `/infer` of one row over 8 connections to each
server process, from one driver on the same machine: with as many servers as CPUs, they share these with it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from configurations import digits, write_folder
from estimate import estimate
from load import CASES, TOKEN, Trained, drive, free_port, started, train
from readme import machine, markdown, put_into
from sweep import EPOCHS, NETWORK, SCALING, service

from falcon_mnist.data import dataset
from falcon_mnist.runs import worker
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.storage.store import Store
from falcon_mnist.training.hyperparams import Hyperparams


class Counting(SQLite):
    """Counts transactions that write; of reads there are none to be waited for."""

    commits = 0

    def begin(self, lock_type: str | None = None) -> None:
        self.commits += lock_type == "IMMEDIATE"
        super().begin(lock_type)


def run_rates(folder: Path, runs: int) -> Iterator[tuple[str, float]]:
    for workers in (1, 2, 4):
        with service(folder / f"with-{workers}", workers, "pool", "") as sweep:
            sweep(workers)
            seconds, _ = sweep(runs)
        yield f"runs an hour, {workers} worker{'s' * (workers > 1)}", runs / seconds * 3600


def costs(folder: Path, runs: int) -> Iterator[tuple[str, float]]:
    """What one run writes, from its request to its end."""
    settings = Settings(home=folder / "costs", dataset=str(folder / "digits"), workers=1)
    settings.home.mkdir()
    with closing(open_database(settings.database, wait=60, dialect=Counting)) as database:
        assert isinstance(database, Counting)
        store = Store(database)
        worker_parts = replace(worker.parts(settings), store=store)
        hyperparams = Hyperparams.model_validate(NETWORK.hyperparams(EPOCHS)).model_dump()
        commits = []
        for number in range(runs):
            before = database.commits
            run = store.create_run(store.create_model(NETWORK.architecture, hyperparams), hyperparams, max_queued=1)
            worker.execute_with(worker_parts, run.id, f"worker {number}")
            commits.append(database.commits - before)
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        stored = sum(file.stat().st_size for file in settings.storage.rglob("*") if file.is_file())
        trained = statistics.median(
            sum(e.seconds or 0 for e in store.history(run.id)) for run in store.runs(limit=runs)
        )
        yield "write transactions a run", statistics.median(commits)
        yield "bytes of rows a run", settings.database.stat().st_size / runs
        yield "bytes of files a run", stored / runs
        yield "seconds of training a run, on one worker", trained


@contextmanager
def servers(home: Path, nodes: int, processes: int) -> Iterator[list[str]]:
    """The URLs of servers on one home."""
    program = str(Path(sys.executable).parent / "falcon-mnist")
    settings = {"FALCON_MNIST_HOME": str(home), "FALCON_MNIST_TOKENS": TOKEN, "FALCON_MNIST_DATASET": "synthetic"}
    with ExitStack() as stack:
        urls = []
        for _ in range(nodes):
            port = free_port()
            command = [program, "serve", "--port", str(port), "--processes", str(processes)]
            urls.append(stack.enter_context(started(command, port, "/readyz", **settings))[0])
        yield urls


def request_rates(home: Path, seconds: int) -> Iterator[tuple[str, float]]:
    images = dataset.load("synthetic", home).test_images
    trained: Trained | None = None
    for nodes, processes in ((1, 1), (1, 2), (2, 1)):
        with servers(home, nodes, processes) as urls:
            trained = trained or train(urls[0], images, home / "parameters.safetensors")
            name = (
                f"requests a second, {nodes} API node{'s' * (nodes > 1)} of {processes} process{'es' * (processes > 1)}"
            )
            yield name, rate(urls, trained, processes, seconds)


def rate(urls: list[str], trained: Trained, processes: int, seconds: int) -> float:
    case = replace(CASES[0], connections=CASES[0].connections * processes)
    rates: list[float] = []
    threads = [
        threading.Thread(target=lambda url: rates.append(drive(case, url, trained, seconds).rate), args=[url])
        for url in urls
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seconds", type=int, default=10, help="of requests")
    parser.add_argument("--write", action="store_true", help="put the table into docs/scaling.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        folder = Path(temporary)
        write_folder(digits(), folder / "digits", zeros=True)
        for workers in (1, 2, 4):
            (folder / f"with-{workers}").mkdir()
            (folder / f"with-{workers}" / "digits").symlink_to(folder / "digits")
        (folder / "requests").mkdir(mode=0o700)
        measured: dict[str, float] = {}
        for figures in (costs(folder, options.runs), run_rates(folder, options.runs),
                        request_rates(folder / "requests", options.seconds)):  # fmt: skip
            for name, figure in figures:
                measured[name] = figure
                print(f"{name}: {shown(figure)}; load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    command = f"python bench/scale.py --runs {options.runs} --seconds {options.seconds}"
    lines = [
        *markdown(["", "measured"], [[name, shown(figure)] for name, figure in measured.items()]), "",
        f"{machine()}; load {os.getloadavg()[0]:.1f} at the end; `{command}`.",
    ]  # fmt: skip
    print("\n".join([*lines, "", *estimate(measured)]))
    if options.write:
        put_into(SCALING, "scale", lines)
        put_into(SCALING, "estimate", estimate(measured))


def shown(figure: float) -> str:
    """Seconds have decimals, everything else is large or whole."""
    return f"{figure:,.0f}" if figure >= 1.5 else f"{figure:.2f}"


if __name__ == "__main__":
    main()
