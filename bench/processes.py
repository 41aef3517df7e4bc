"""What a request costs with several server processes on one port, beside one: CPU seconds, and requests a second.

    python bench/processes.py --rounds 15

Both servers work on one home and are asked in turn, pair after pair, each process over as many connections as
bench/load.py has: with fewer, a process finds less to do each time it wakes, and a small request costs more.
`--same` gives both servers the same number. Ratios are medians over the pairs, with quartiles. CPU time is that of
the server processes, without their parent and their workers. Requests a second say something only where CPUs are
left for the driver: the load of the machine is printed with them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import paired
from load import BINARY, CASES, TOKEN, Case, Trained, drive, free_port, started, train
from readme import machine

from falcon_mnist.data import dataset

ASKED = [case for case in CASES if case.path == "/api/infer" and (case.media_type, case.dtype) != (BINARY, "float32")]


def serve(home: Path, port: int, processes: int) -> AbstractContextManager[tuple[str, int]]:
    """`falcon-mnist serve`; gives its URL and the id of its first process."""
    program = str(Path(sys.executable).parent / "falcon-mnist")
    command = [program, "serve", "--port", str(port), "--processes", str(processes)]
    settings = {"FALCON_MNIST_HOME": str(home), "FALCON_MNIST_TOKENS": TOKEN, "FALCON_MNIST_DATASET": "synthetic"}
    return started(command, port, "/readyz", **settings)


def servers(pid: int, processes: int) -> list[int]:
    """The processes that answer requests: the first one, or its children."""
    if processes == 1:
        return [pid]
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def cpu_seconds(pid: int) -> float:
    """What the threads of a process have computed so far."""
    spent = (int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(spent) / 1e9


def asked(case: Case, base: str, pids: list[int], trained: Trained, seconds: int) -> tuple[float, float]:
    """CPU seconds of a request, and requests a second, of a while of requests."""
    before = sum(map(cpu_seconds, pids))
    rate = drive(case, base, trained, seconds).rate
    return (sum(map(cpu_seconds, pids)) - before) / (rate * seconds), rate


def compare(
    cases: tuple[Case, Case], one: tuple[str, list[int]], more: tuple[str, list[int]], trained: Trained, rounds: int
) -> None:
    """Print a line for a case, as each server is asked it."""
    costs: tuple[list[float], list[float]] = ([], [])
    rates: tuple[list[float], list[float]] = ([], [])
    for round_number in range(rounds):
        for which in (0, 1) if round_number % 2 else (1, 0):  # whoever is second meets what the first has warmed
            cost, rate = asked(cases[which], *(one, more)[which], trained, 2)
            costs[which].append(cost)
            rates[which].append(rate)
    cost, rate = paired.of(*costs), paired.of(*rates)
    print(
        f"{cases[0].name}: {cost.ours * 1e6:.0f} and {cost.theirs * 1e6:.0f} microseconds of CPU a request, "
        f"{cost} times as many; "
        f"{rate.ours:.0f} and {rate.theirs:.0f} requests a second, {rate} times as many",
        flush=True,
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--same", action="store_true", help="As many connections to one process as to all.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        images = dataset.load("synthetic", home).test_images
        with (
            serve(home, free_port(), 1) as (first, single),
            serve(home, free_port(), options.processes) as (second, parent),
        ):
            trained = train(first, images, home / "parameters.safetensors")
            print(f"1 and {options.processes} processes; {machine()}; load {os.getloadavg()[0]:.1f}")
            pair = (first, servers(single, 1)), (second, servers(parent, options.processes))
            for case in ASKED:
                wide = replace(case, connections=case.connections * options.processes)
                compare((wide if options.same else case, wide), *pair, trained, options.rounds)
            print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
