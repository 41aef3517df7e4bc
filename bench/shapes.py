"""What training costs at every width, batch and number of threads: the kernels alone, one hidden layer.

    python bench/shapes.py                                             # 30 widths, 6 batches: some minutes
    python bench/shapes.py --widths 64,96 --batches 64 --rounds 15
    python bench/shapes.py --widths 64,96 --before other/bin/python    # in pairs with another build
    python bench/shapes.py --widths 512-256 --library PyTorch          # needs PyTorch
    python bench/shapes.py --picture docs/shapes.png                   # needs matplotlib

Each round takes the numbers of threads, and the builds or libraries, right after one another. On a machine that
others use, many rounds of few rows find moments without them, and processor time leaves out what others take: add
`--threads 1 --processor-time`. Useful arithmetic is that of the pixels that are not 0, and of all that follows them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import configurations
import contenders
import numpy as np
import paired
from configurations import Configuration
from contenders import THREADS
from contenders.ours import Ours, initial
from limits import limits
from readme import machine

from falcon_mnist import kernels

WIDTHS = [*range(10, 17, 6), *range(24, 129, 8), *range(144, 321, 16), 200, 300]
BATCHES = [16, 32, 64, 128, 256, 512]
EPOCH = 54_000
Epoch = Callable[[tuple[int, ...], int, int], float]  # seconds, by widths of the hidden layers, batch and threads


def timer(rows: int, library: str, clock: Callable[[], float]) -> Epoch:
    """Times the training of so many rows by a library, or by this build; the figure is that of an epoch."""
    data = configurations.digits()
    images, labels = np.asarray(data.train_images), np.asarray(data.train_labels)
    order = np.random.default_rng(1).permutation(len(labels))[:rows]
    made: dict[Any, Any] = {}

    def epoch(hidden: tuple[int, ...], batch: int, threads: int) -> float:
        shape = Configuration("", hidden=hidden, batch_size=batch)
        contender = contenders.variants(library)[THREADS.index(threads)] if library else Ours(kernels.isa(), threads)
        contender.use()
        if (hidden, batch, threads) not in made:
            made[hidden, batch, threads] = contender.training(shape, images, labels, initial(shape))
            made[hidden, batch, threads].epoch(order[: 4 * batch])
        start = clock()
        made[hidden, batch, threads].epoch(order)
        return (clock() - start) / len(order) * EPOCH

    return epoch


def useful_share(width: int, seconds: float) -> float:
    """Of one thread's FMA peak, what the useful arithmetic of an epoch takes."""
    shape, images = Configuration("", hidden=(width,)), configurations.digits().train_images[:1000]
    zeros = 2 * 2 * width * (np.asarray(images) == 0).sum() / len(images)
    return float(EPOCH * (shape.training_flop - zeros) / seconds / limits(kernels.isa()).flop)


class Timer:
    """The timer of one build or library, in a process of its own."""

    def __init__(self, python: str, library: str, options: argparse.Namespace) -> None:
        command = [python, __file__, "--rows", str(options.rows), "--library", library, "--serve"]
        command += ["--processor-time"] if options.processor_time else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def epoch(self, *shape: Any) -> float:
        print(json.dumps(shape), file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())  # type: ignore[union-attr]

    def close(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(timeout=60)


def serve(epoch: Epoch) -> None:
    """Time the shapes that are read, until there are no more."""
    for line in sys.stdin:
        hidden, batch, count = json.loads(line)
        print(epoch(tuple(hidden), batch, count), flush=True)


def compare(
    epochs: Sequence[Epoch], threads: list[int], hidden: tuple[int, ...], batch: int, rounds: int
) -> list[list[list[float]]]:
    """Seconds by build, by number of threads and by round."""
    times: list[list[list[float]]] = [[[] for _ in threads] for _ in epochs]
    for turn in range(rounds):
        for i, count in enumerate(threads):
            for epoch, found in list(zip(epochs, times, strict=True))[:: 1 if turn % 2 else -1]:
                found[i].append(epoch(hidden, batch, count))
    return times


def show(threads: list[int], hidden: tuple[int, ...], batch: int, times: list[list[list[float]]]) -> list[float]:
    """Print a shape's line; returns its least seconds, by number of threads: other programs only ever add to them."""
    least = [[min(found) for found in build] for build in times]
    name = "-".join(map(str, (784, *hidden, 10)))
    cells = [f"{name:16} batch {batch:3}:", *(f"{1000 * each:6.1f} ms" for each in least[0])]
    if len(threads) > 1:
        cells.append(f"  {threads[-1]} threads {least[0][0] / least[0][-1]:.2f} times as fast")
    for other, other_least in zip(times[1:], least[1:], strict=True):
        for i, count in enumerate(threads):
            pairs = paired.of(times[0][i], other[i])
            cells.append(f"  other/this on {count}: least {other_least[i] / least[0][i]:.2f}, pairs {pairs}")
        cells.append(f"  at their best: {min(other_least) / min(least[0]):.2f}")
    print(*cells, flush=True)
    return least[0]


def draw(threads: list[int], found: dict[tuple[int, int], list[float]], to: Path) -> None:
    """Milliseconds by width, one panel for each number of threads; then the share of FMA peak of one thread."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(threads) + 1, figsize=(5 * (len(threads) + 1), 4), layout="constrained")
    for batch in sorted({batch for _, batch in found}):
        widths = sorted(width for width, each in found if each == batch)
        for i in range(len(threads)):
            axes[i].plot(widths, [1000 * found[width, batch][i] for width in widths], label=f"batch {batch}")
        axes[-1].plot(widths, [100 * useful_share(width, found[width, batch][0]) for width in widths])
    for axis, count in zip(axes, threads, strict=False):
        axis.set(title=f"{count} thread{'s' * (count > 1)}: ms an epoch", xlabel="width", ylim=(0, None))
    axes[0].legend()
    axes[-1].set(title="useful arithmetic, % of FMA peak, 1 thread", xlabel="width", ylim=(0, None))
    figure.suptitle(f"784-width-10, {EPOCH:,} rows; {machine()}", fontsize=9)
    figure.savefig(to, dpi=80)


def numbers(text: str) -> list[tuple[int, ...]]:
    return [tuple(map(int, each.split("-"))) for each in text.split(",")]


def main() -> None:
    """Measure the shapes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=numbers, default=[(each,) for each in sorted(WIDTHS)], help="10,64,512-256")
    parser.add_argument("--batches", type=lambda text: [*map(int, text.split(","))], default=BATCHES)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--before", help="the Python of another build")
    parser.add_argument("--library", default="", choices=["", "NumPy", "PyTorch"])
    parser.add_argument("--processor-time", action="store_true", help="that of all threads, waiting included")
    parser.add_argument("--threads", type=lambda text: [*map(int, text.split(","))], default=THREADS)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        clock = time.process_time if options.processor_time else time.perf_counter
        return serve(timer(options.rows, options.library, clock))
    with contextlib.ExitStack() as stack:
        timers = [Timer(sys.executable, "", options)]
        if options.before or options.library:
            timers.append(Timer(options.before or sys.executable, options.library, options))
        epochs = [stack.enter_context(contextlib.closing(each)).epoch for each in timers]
        print(machine())
        found = {}
        for hidden in options.widths:
            for batch in options.batches:
                times = compare(epochs, options.threads, hidden, batch, options.rounds)
                found[hidden[0], batch] = show(options.threads, hidden, batch, times)
    if options.picture:
        draw(options.threads, found, options.picture)
    return None


if __name__ == "__main__":
    main()
