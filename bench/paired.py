"""How many times as fast: the median over pairs, each contender right after the other.

Two medians that were taken minutes apart on a machine that others use too say little about each other; the
two times of one pair were taken under the same conditions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

# The threads of a library go on for a while after their work, to wait for more, and take a CPU from who comes next: an
# epoch of ours right after PyTorch's took 52 ms, after 0.05 s 47, after 0.3 s 45, as alone. PyTorch's is as long after
# any.
REST_SECONDS = 0.3


class Paired(NamedTuple):
    """Median seconds of both, and the median and quartiles of theirs / ours over the pairs."""

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.2f} ({self.low:.2f} to {self.high:.2f})"


def of(ours: Sequence[float], theirs: Sequence[float]) -> Paired:
    """From the times of pairs."""
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    low, ratio, high = statistics.quantiles(ratios, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Paired(statistics.median(ours), statistics.median(theirs), ratio, low, high)


def paired(
    ours: Callable[[], Any], theirs: Callable[[], Any], *, pairs: int = 51, seconds: float = 0.002, rest: float = 0
) -> Paired:
    """Call both in turn; a sample is as many calls as take `seconds`.

    There is a `rest` of so many seconds before each (`REST_SECONDS` says why).
    """
    mine, other = calls_of(ours, seconds), calls_of(theirs, seconds)
    times = [(_rested(rest, ours, mine), _rested(rest, theirs, other)) for _ in range(pairs)]
    return of([our for our, _ in times], [their for _, their in times])


def _rested(rest: float, call: Callable[[], Any], calls: int) -> float:
    time.sleep(rest)
    return sample(call, calls)


def calls_of(call: Callable[[], Any], seconds: float) -> int:
    calls = 1
    while (taken := sample(call, calls) * calls) < seconds:
        calls = max(calls + 1, min(10 * calls, round(1.2 * calls * seconds / max(taken, 1e-7))))
    return calls


def sample(call: Callable[[], Any], calls: int) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls
