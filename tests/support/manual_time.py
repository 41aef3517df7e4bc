"""Time that passes when a test says so."""

from __future__ import annotations

from dataclasses import dataclass

from falcon_mnist.clock import Clock


@dataclass
class ManualTime:
    """A wall clock and a monotonic one that move when a test says so."""

    wall: float = 1_700_000_000.0
    monotonic: float = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(wall=lambda: self.wall, monotonic=lambda: self.monotonic)

    def pass_seconds(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds
