"""How many requests this process has answered lately, and how fast."""

from __future__ import annotations

import math
from collections import deque

from falcon_mnist.clock import SYSTEM_CLOCK, Clock

WINDOW_SECONDS = 60.0
_MOST = 10_000  # of a busier minute, the latest


class Traffic:
    """The requests of the last minute."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._start = clock.monotonic()
        self._recent: deque[tuple[float, float]] = deque(maxlen=_MOST)  # (when it was answered, milliseconds)

    def add(self, milliseconds: float) -> None:
        """Count a request that is answered."""
        self._recent.append((self._clock.monotonic(), milliseconds))

    def figures(self) -> dict[str, float | None]:
        """Requests a second, and the median and 95th percentile of their milliseconds (None without requests)."""
        recent = list(self._recent)
        now = self._clock.monotonic()
        since = max(self._start, now - WINDOW_SECONDS, recent[0][0] if len(recent) == _MOST else -math.inf)
        times = sorted(milliseconds for when, milliseconds in recent if when >= since)
        return {
            "requests_per_second": len(times) / max(now - since, 1e-3),
            "p50_ms": _percentile(times, 50),
            "p95_ms": _percentile(times, 95),
        }


def _percentile(times: list[float], percent: int) -> float | None:
    """By the nearest rank."""
    return times[math.ceil(percent / 100 * len(times)) - 1] if times else None
