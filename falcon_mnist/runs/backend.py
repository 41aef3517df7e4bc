"""What the queue asks of whoever executes runs: to start a worker for one, and to tell how it ended."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple, Protocol


class Outcome(Enum):
    """How a worker's attempt at a run ended. What came of the run stands in its row."""

    FINISHED = auto()  # it returned: the run has ended, or is another's, or was saved and requeued
    LOST = auto()  # its process is gone
    FAILED = auto()  # it failed outside the run: it could not open the database, say
    DISPLACED = auto()  # it ended through no fault of the run: its node or the whole cluster is gone


class Ended(NamedTuple):
    """An attempt that is over."""

    owner: str
    outcome: Outcome


class Backend(Protocol):
    """Starts workers, somewhere. Called by one thread."""

    # How long a worker may take to claim its run, at first. Doubled after each that has not, up to the second number,
    # until one has.
    claim_seconds: tuple[float, float]

    @property
    def capacity(self) -> int:
        """How many workers there may be at the same time."""

    def start(self, run_id: str, owner: str) -> None:
        """Have a worker claim the run as `owner` and run it to completion."""

    def ended(self) -> list[Ended]:
        """The attempts that are over and were not told of before."""

    def kill(self, owner: str) -> None:
        """End the worker of an attempt, whatever it does; the attempt is not told of any more."""

    def kill_silent(self, seconds: float) -> list[str]:
        """Kill the workers that have shown no sign of life for so long, and say whose they were.

        Asked before the database: a process that is stopped in a transaction may keep everybody from writing to it.
        """

    def problem(self) -> str | None:
        """Why no worker can be started at the moment; None if one can. Any thread may ask."""

    def alive(self) -> int:
        """How many workers live, busy or idle. Any thread may ask."""

    def close(self) -> None:
        """End all workers, within seconds."""
