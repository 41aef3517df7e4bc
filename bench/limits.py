"""What one thread of this machine can do at most, by instruction set; the lines that the kernels cannot cross."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

from falcon_mnist import kernels

SAMPLES = 75


class Limits(NamedTuple):
    """Floating-point operations a second, and bytes a second from and to the first-level cache."""

    flop: float
    bandwidth: float


@functools.cache
def limits(isa: str) -> Limits:
    """The most of many samples of some milliseconds: other programs only ever take from it."""
    variant = kernels.variant(isa)
    return Limits(_rate(variant.fma_peak, 200_000), _rate(variant.cache_bandwidth, 10_000))


def _rate(probe: Callable[[int], tuple[int, float]], iterations: int) -> float:
    return max(_once(probe, iterations) for _ in range(SAMPLES))


def _once(probe: Callable[[int], tuple[int, float]], iterations: int) -> float:
    start = time.perf_counter()
    done, _ = probe(iterations)
    return done / (time.perf_counter() - start)


if __name__ == "__main__":
    for name in kernels.supported():
        found = limits(name)
        print(f"{name}: {found.flop / 1e9:.1f} GFLOP/s, {found.bandwidth / 1e9:.1f} GB/s of the first-level cache")
