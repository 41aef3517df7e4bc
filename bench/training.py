"""Training as seen through the REST API, beside loops in PyTorch and NumPy on the same rows.

    python bench/training.py                                  # every configuration: some minutes
    python bench/training.py 784-128-10 "batch 4096" "784-300-100-10, batch 200" --rounds 3
    python bench/training.py --json training.json             # keeps the figures for bench/table.py

For each configuration a server is started on a home of its own. A round takes a run of several epochs and one
of 1 through the API, from `started_at` to `finished_at`: the difference, over the other epochs, is the time of
an epoch with validation, metrics and checkpoints. Then each contender, checked beforehand and waiting in a
process of its own, trains for an epoch (or a part, where an epoch takes seconds). Before each there is a rest, in
which the threads of the one before stop waiting for more work. Ratios are taken round by round. Memory is the
peak of a worker process; the time outside the kernels is that of a run in this process, less what it spends in
`Network.train`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import configurations
import contenders
import load
import paired
from configurations import CONFIGURATIONS, SHAPES, Configuration, digits, write_folder
from limits import limits
from readme import machine

from falcon_mnist import kernels
from falcon_mnist.runs import worker
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import WORKER_WAIT, open_store
from falcon_mnist.training import network
from falcon_mnist.training.hyperparams import Hyperparams

HERE = Path(__file__).parent
LIBRARIES = ("PyTorch", "NumPy")
# A library chooses its kernels and threads by itself, whatever the environment says to others.
CHOICES = re.compile("(OPENBLAS|OMP|MKL)_.*")


def seconds(run: dict[str, Any]) -> float:
    """From the start of a run to its end."""
    started, finished = (datetime.fromisoformat(run[name]) for name in ("started_at", "finished_at"))
    return (finished - started).total_seconds()


class Server:
    """`falcon-mnist serve`, and the runs that are asked of it, one at a time."""

    def __init__(self, url: str, pid: int) -> None:
        self._pid = pid
        self._client = load.client(url)

    def epoch(self, configuration: Configuration) -> float:
        """Seconds of an epoch."""
        more, one = (self._run(configuration, epochs) for epochs in (configuration.epochs, 1))
        return (more - one) / (configuration.epochs - 1)

    def warm_up(self) -> None:
        """Let the workers start, and each load the data."""
        example = CONFIGURATIONS["784-128-10"]
        for run_id in [self._start(example, 2) for _ in range(Settings.from_env().workers)]:
            load.wait_for(self._client, run_id, "succeeded")

    def _start(self, configuration: Configuration, epochs: int) -> str:
        return load.start_run(self._client, configuration.architecture, **configuration.hyperparams(epochs))

    def _run(self, configuration: Configuration, epochs: int) -> float:
        run_id = self._start(configuration, epochs)
        run = load.wait_for(self._client, run_id, "succeeded", "failed")
        if run["state"] != "succeeded":
            sys.exit(f"{configuration.name}: the run failed: {run['error']}")
        return seconds(run)

    def worker_memory(self) -> float:
        """The most that a worker process had in memory, in MB."""
        tasks = Path(f"/proc/{self._pid}/task").iterdir()
        children = {child for task in tasks for child in (task / "children").read_text().split()}
        statuses = [Path(f"/proc/{child}/status").read_text() for child in children]
        return max(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) for status in statuses) / 1024  # type: ignore[index]


@contextlib.contextmanager
def serving(home: Path, data: Path) -> Iterator[Server]:
    """A server that has trained once."""
    port = load.free_port()
    command = [str(Path(sys.executable).parent / "falcon-mnist"), "serve", "--port", str(port)]
    environment = {"HOME": str(home), "DATASET": str(data), "TOKENS": load.TOKEN}
    variables = {f"FALCON_MNIST_{name}": value for name, value in environment.items()}
    with load.started(command, port, "/readyz", **variables) as (url, pid):
        server = Server(url, pid)
        server.warm_up()
        yield server


class Waiting:
    """A contender in a process of its own."""

    def __init__(self, library: str, threads: int | None, configuration: Configuration, data: Path) -> None:
        self.name = f"{library}, {threads} thread{'s' * (threads != 1)}"
        command = [sys.executable, str(HERE / "training_contender.py")]
        self._process = subprocess.Popen(
            [*command, library, str(threads), configuration.name, str(data)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={name: value for name, value in os.environ.items() if not CHOICES.fullmatch(name)},
        )  # fmt: skip

    def wait(self) -> None:
        """Until it has loaded the data and was found to compute what it should."""
        if self._line() != "ready":
            sys.exit(f"{self.name} failed")

    def epoch(self) -> float:
        """Seconds of an epoch."""
        print(file=self._process.stdin, flush=True)
        return float(self._line())

    def _line(self) -> str:
        return self._process.stdout.readline().strip()  # type: ignore[union-attr]

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(timeout=60)


def measure(configuration: Configuration, data: Path, rounds: int) -> dict[str, Any]:
    """The seconds of an epoch, round by round, and a worker's memory."""
    beside = CONFIGURATIONS[configuration.beside] if configuration.beside else None
    times: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        waiting = [
            stack.enter_context(contextlib.closing(Waiting(library, threads, configuration, data)))
            for library in LIBRARIES
            if library in contenders.installed()
            for threads in contenders.LIBRARIES[library][2]
        ]
        for each in waiting:
            each.wait()
        home = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(serving(Path(home), data))
        takes = {"ours": lambda: server.epoch(configuration)}
        if beside:
            takes[beside.name] = lambda: server.epoch(beside)
        takes |= {each.name: each.epoch for each in waiting}
        for _ in range(rounds):
            for name, epoch in takes.items():
                time.sleep(paired.REST_SECONDS)
                times.setdefault(name, []).append(epoch())
        return {"seconds": times, "memory_mb": server.worker_memory()}


class Timed(kernels.Network):
    """Adds up the time within the kernels."""

    def __init__(self, layers: Any) -> None:
        super().__init__()  # the layers were taken when it was made
        self.training = self.validating = 0.0

    def train(self, *arguments: Any, **options: Any) -> Any:  # type: ignore[override]
        start = time.perf_counter()
        result = super().train(*arguments, **options)
        self.training += time.perf_counter() - start
        return result

    def evaluate(self, *arguments: Any, **options: Any) -> Any:  # type: ignore[override]
        start = time.perf_counter()
        result = super().evaluate(*arguments, **options)
        self.validating += time.perf_counter() - start
        return result


def with_network(net: kernels.Network, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` with this network in place of the one that it is given."""
    return lambda _, *arguments, **options: call(net, *arguments, **options)


def dense_limit(configuration: Configuration, rows: int) -> float:
    """Seconds of an epoch's arithmetic with its validation at one thread's FMA peak, if no zero is skipped."""
    validating = rows // 10
    flop = (rows - validating) * configuration.training_flop + validating * configuration.forward_flop
    return flop / limits(kernels.isa()).flop


def outside(configuration: Configuration, data: Path) -> dict[str, float]:
    """Shares of a run's time: all but `Network.train`, and what of that is validation."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), dataset=str(data))
        for each, epochs in ((CONFIGURATIONS["784-128-10"], 1), (configuration, configuration.epochs)):
            # The first run loads the data.
            hyperparams = Hyperparams.model_validate(each.hyperparams(epochs)).model_dump()
            with contextlib.closing(open_store(settings, wait=WORKER_WAIT)) as store:
                model = store.create_model(each.architecture, {})
                run_id = store.create_run(model, hyperparams, max_queued=1).id
            net, parts = Timed(network.build(each.architecture).layers), worker.parts(settings)
            parts = replace(parts, train=with_network(net, parts.train), evaluate=with_network(net, parts.evaluate))
            worker.execute_with(parts, run_id, "bench")
        with contextlib.closing(open_store(settings, wait=WORKER_WAIT)) as store:
            took = seconds(store.run(run_id).__data__)
    return {"outside": 1 - net.training / took, "validation": net.validating / took}


def show(name: str, found: dict[str, Any]) -> None:
    """The figures of a configuration."""
    ours = found["seconds"]["ours"]
    print(
        f"{name}: {statistics.median(ours):.4f} s an epoch; {found['memory_mb']:.0f} MB; "
        f"{found['outside']:.1%} outside the kernels, {found['validation']:.1%} validation; "
        f"{found['dense_limit']:.4f} s dense at FMA peak"
    )
    for other, theirs in found["seconds"].items():
        if other != "ours":
            print(f"  {other}: {statistics.median(theirs):.4f} s, times {paired.of(ours, theirs)}", flush=True)


def main() -> None:
    """Measure the configurations that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "configuration",
        nargs="*",
        help=f"of {', '.join(CONFIGURATIONS)}, or any 784-…-10; without one all of these and {', '.join(SHAPES)}",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends too
    try:
        chosen = [configurations.configuration(name) for name in options.configuration or (*CONFIGURATIONS, *SHAPES)]
    except ValueError as error:
        parser.error(str(error))
    print(machine())
    if left_out := [name for name in LIBRARIES if name not in contenders.installed()]:
        print(f"Not installed, so left out: {', '.join(left_out)}")
    named = "NAME " if options.configuration else ""
    command = f"python bench/training.py {named}--rounds {options.rounds}"
    report: dict[str, Any] = {"machine": machine(), "command": command, "training": {}}
    with tempfile.TemporaryDirectory() as folder:
        source = digits()
        for configuration in chosen:
            data = Path(folder, "zeros" if configuration.zeros else "no-zeros")
            if not data.exists():
                write_folder(source, data, zeros=configuration.zeros)
            report["dataset"] = source.name
            found = measure(configuration, data, options.rounds) | outside(configuration, data)
            found["dense_limit"] = dense_limit(configuration, len(source.train_labels))
            report["training"][configuration.name] = found
            show(configuration.name, found)
            if options.json:
                options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
