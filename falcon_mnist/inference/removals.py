"""What the processes of one server know of each other's removals, at the cost of a glance at memory they share."""

from __future__ import annotations

import ctypes
import threading
from typing import Any


class Removals:
    """How often each process of the server has removed parameter sets."""

    def __init__(self, counts: Any = None, number: int = 0) -> None:
        """`counts` is an array of integers in shared memory, of which this process changes that at `number`."""
        self._counts = (ctypes.c_uint64 * 1)() if counts is None else counts
        self._number = number
        self._lock = threading.Lock()

    def note(self) -> None:
        """One was removed, by this process."""
        with self._lock:
            self._counts[self._number] += 1

    def state(self) -> bytes:
        """Changes with each removal."""
        return bytes(self._counts)
