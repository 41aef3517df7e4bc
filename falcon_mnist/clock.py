"""Time and ids as collaborators: the system's by default, a simulation's where one is handed in."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Clock:
    """What time it is. Durations are differences of `monotonic` alone: the wall clock may be set back or forward."""

    wall: Callable[[], float] = time.time  # seconds since 1970
    monotonic: Callable[[], float] = time.monotonic  # seconds since some moment

    def timestamp(self, *, ago: float = 0.0) -> str:
        """The wall time, or so many seconds before it: ISO 8601 in UTC with microseconds."""
        return datetime.fromtimestamp(self.wall() - ago, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


SYSTEM_CLOCK = Clock()

NewId = Callable[[str], str]


def new_id(prefix: str) -> str:
    """`prefix` and a random UUID, as in `m_1b4e28ba2fa14c3e8d5b0c6f3a9d7e21`."""
    return f"{prefix}_{uuid.uuid4().hex}"
