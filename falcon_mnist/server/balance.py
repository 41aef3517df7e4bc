"""How connections spread over the processes that listen at one socket."""

from __future__ import annotations

from typing import Any

# After it has accepted a connection, a process that has more than another accepts none for this long. Otherwise one
# that is awake would take a whole burst before the other has been woken.
GIVE_WAY_SECONDS = 0.005


class Balance:
    """The number of connections of each process, in memory that they share."""

    def __init__(self, counts: Any, number: int) -> None:
        """`counts` is an array of integers, of which this process sets that at `number`."""
        self._counts = counts
        self._number = number

    def has(self, connections: int) -> None:
        """So many this process has now."""
        self._counts[self._number] = connections

    def ahead(self) -> bool:
        """Whether another has fewer."""
        return bool(min(self._counts) < self._counts[self._number])
