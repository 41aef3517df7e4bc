"""How the caches of parameter sets do: that of each process of the server, in memory that they share."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple


class CacheFigures(NamedTuple):
    """Of one cache, or the sums of several."""

    hits: float
    loads: float  # sets read from their files, because they were not in the cache
    sets: float
    size_bytes: float
    limit_bytes: float


_SIZE = len(CacheFigures._fields)
_HITS, _LOADS, _SETS, _BYTES, _LIMIT = range(_SIZE)


class SharedFigures:
    """Those of one process, which replaces one that died: what was counted stays, what it held is gone."""

    def __init__(self, numbers: Any = None, number: int = 0) -> None:
        """`numbers` is an array of doubles in shared memory, of which this process changes its own part."""
        self._all = (ctypes.c_double * _SIZE)() if numbers is None else numbers
        self._at = _SIZE * number
        self.holds(0, 0, 0)

    @staticmethod
    def doubles(processes: int) -> int:
        """How many numbers so many processes have."""
        return _SIZE * processes

    def hit(self) -> None:
        """A set was found; the caller holds the cache's lock, as for all of these."""
        self._all[self._at + _HITS] += 1

    def loaded(self) -> None:
        """A set was read from its file."""
        self._all[self._at + _LOADS] += 1

    def holds(self, sets: int, size_bytes: float, limit_bytes: float) -> None:
        """What is in the cache now."""
        self._all[self._at + _SETS], self._all[self._at + _BYTES] = sets, size_bytes
        self._all[self._at + _LIMIT] = limit_bytes

    def totals(self) -> CacheFigures:
        """The sums over all processes."""
        return CacheFigures(*(sum(self._all[which::_SIZE]) for which in range(_SIZE)))
