"""Forward passes beside NumPy and PyTorch at their best number of threads, for any network and number of rows.

    python bench/forward.py
    python bench/forward.py --networks 128 --rows 1,512 --libraries NumPy --rounds 101

All take turns: a sample is as many calls as take 3 ms, and each round has one of every contender. Before each there is
a rest, in which the threads of the one before stop waiting for more work. The other's figure is
that of its best number of threads, by medians; the last column is the median over the rounds of how many times as long
the faster of the others took, with quartiles. `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import contenders
import numpy as np
import paired
from configurations import Configuration, digits
from contenders.ours import Array, initial
from readme import PERFORMANCE, machine, markdown, put_into

from falcon_mnist import kernels
from falcon_mnist.inference.predictors import Predictor

SECONDS = 0.003  # of a sample
REST_SECONDS = 0.03  # before each: OpenBLAS's threads poll for 2^26 cycles after a call, some 20 ms


class Ours:
    """What `/infer` calls, which takes the kernels' parked thread for much work if that is free."""

    name = "falcon-mnist"

    def use(self) -> None:
        """Nothing has to be set."""

    def forward(self, network: Configuration, parameters: Array, rows: Array) -> Callable[[], Array]:
        predictor = Predictor(kernels.Network(network.layers), parameters)
        return lambda: predictor(rows).logits


def rows_of(count: int, *, zeros: bool) -> np.ndarray:
    """Float32, as JSON bodies give them; the background of 0, or of 1 of 255."""
    pixels = digits().test_images[:count]
    return (pixels if zeros else np.maximum(pixels, 1)) / np.float32(255)


def measure(taking_part: list[Any], network: Configuration, rows: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Seconds of a call by each contender's name, round by round."""
    parameters = initial(network)
    calls: dict[str, tuple[Callable[[], None], Callable[[], Any], int]] = {}
    for each in taking_part:
        each.use()
        call = each.forward(network, parameters, rows)
        call()
        calls[each.name] = each.use, call, paired.calls_of(call, SECONDS)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in calls if number % 2 else reversed(calls):
            use, call, repetitions = calls[name]
            use()
            time.sleep(REST_SECONDS)
            times[name].append(paired.sample(call, repetitions))
    return times


def line(times: dict[str, list[float]], libraries: list[str]) -> list[str]:
    """Microseconds of ours and of each library's best, and how many times as long the fastest of them takes."""
    ours, *others = times
    median = {name: float(np.median(seconds)) for name, seconds in times.items()}
    best = [min((each for each in others if each.startswith(name)), key=median.__getitem__) for name in libraries]
    fastest = min(best, key=median.__getitem__)
    figures = [f"{median[name] * 1e6:,.1f}" for name in (ours, *best)]
    return [*figures, fastest, str(paired.of(times[ours], times[fastest]))]


def main() -> None:
    """Measure, print a line after the other, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="128,1024-1024", help="widths of hidden layers")
    parser.add_argument("--rows", default="1,8,64,512")
    parser.add_argument("--libraries", default="NumPy,PyTorch")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    libraries = [name for name in options.libraries.split(",") if name in contenders.installed()]
    taking_part = [Ours(), *(each for name in libraries for each in contenders.variants(name))]
    cells = []
    for hidden in options.networks.split(","):
        network = Configuration("", hidden=tuple(map(int, hidden.split("-"))))
        for count in map(int, options.rows.split(",")):
            for zeros in (True, False):
                times = measure(taking_part, network, rows_of(count, zeros=zeros), options.rounds)
                asked = f"{count}{'' if zeros else ' without zeros'}"
                cells.append([f"784-{hidden}-10", asked, *line(times, libraries)])
                print(*cells[-1], sep=", ", flush=True)
    figures = ["falcon-mnist µs", *(f"{name} µs" for name in libraries)]
    lines = markdown(["network", "rows", *figures, "fastest other", "times as long"], cells, words=2)
    load = f"load {os.getloadavg()[0]:.0f}"
    lines += ["", f"`python bench/forward.py`; medians of {options.rounds} rounds; {machine()}, {load}."]
    print("\n".join(lines))
    if options.write:
        put_into(PERFORMANCE, "forward", lines)


if __name__ == "__main__":
    main()
