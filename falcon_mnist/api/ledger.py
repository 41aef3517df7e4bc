"""What each process of the server counts, in memory that all of them share: any of them can tell the sums.

A process has its part of that memory: some numbers with fixed places, then series, each with its name, in the order
in which they were first counted. A process that replaces one that died continues with its numbers, so no count
ever falls. Only its process writes to a part, all but `CPU_SEEN`.
"""

from __future__ import annotations

from typing import Any

_DOUBLE = 8
_NAME_BYTES = 88
_FIXED = 8
# The routes, methods and codes that a server really answers make a few hundred at most.
MOST_SERIES = 1000

# The fixed places. CPU seconds: of the processes before this one, and of all until this one was last looked at.
_SERIES, ROWS, PID, CPU_BEFORE, CPU_SEEN = range(5)


def part_bytes(width: int) -> int:
    """The size of a part whose series have `width` numbers."""
    return _DOUBLE * _FIXED + MOST_SERIES * (_NAME_BYTES + _DOUBLE * width)


class Ledger:
    """The part of one process."""

    def __init__(self, memory: Any, width: int) -> None:
        """`memory` is `part_bytes(width)` bytes, all 0 at first."""
        self.fixed = memory[: _DOUBLE * _FIXED].cast("d")
        self._memory = memory
        self._width = width

    def take(self, pid: int) -> None:
        """Be the process that writes to it."""
        if self.fixed[PID] != pid:
            self.fixed[CPU_BEFORE] = self.fixed[CPU_SEEN]
            self.fixed[PID] = pid

    def series(self) -> dict[str, Any]:
        """Name to numbers, which others may be changing."""
        return dict(map(self._at, range(int(self.fixed[_SERIES]))))

    def add(self, name: str) -> Any | None:
        """The numbers of a new series; None if there is no room, or the name has more than 88 bytes."""
        index, encoded = int(self.fixed[_SERIES]), name.encode()
        if index == MOST_SERIES or len(encoded) > _NAME_BYTES:
            return None
        start = self._start(index)
        self._memory[start : start + _NAME_BYTES] = encoded.ljust(_NAME_BYTES, b"\0")
        self.fixed[_SERIES] = index + 1  # only now do others read it
        return self._at(index)[1]

    def _start(self, index: int) -> int:
        return _DOUBLE * _FIXED + index * (_NAME_BYTES + _DOUBLE * self._width)

    def _at(self, index: int) -> tuple[str, Any]:
        start = self._start(index)
        name = bytes(self._memory[start : start + _NAME_BYTES]).rstrip(b"\0").decode()
        numbers = start + _NAME_BYTES
        return name, self._memory[numbers : numbers + _DOUBLE * self._width].cast("d")
