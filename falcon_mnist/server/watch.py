"""What the I/O thread waits for: each socket of a server, for what it is to be read or written next.

Before each wait, waitress asks every connection what it waits for, and registers all of them with the system. Here a
connection is asked again only when something has happened to it; all are asked where more may have changed.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.wasyncore import readwrite


class Watch:
    """Waits for the sockets in waitress's map of descriptors.

    Whatever other threads change, they pull the trigger, which is one of the sockets; then all are asked.
    """

    def __init__(self, watched: dict[int, Any], wait_seconds: Callable[[], float]) -> None:
        """`wait_seconds` tells, whenever all have been asked, after how long they are to be asked again."""
        self._watched = watched
        self._wait_seconds = wait_seconds
        self._poll = select.poll()
        self._flags: dict[int, int] = {}  # of each socket that waits for something
        self._ask_all_at = 0.0  # by the monotonic clock

    def turn(self) -> None:
        """Wait until something happens, and handle it."""
        now = time.monotonic()
        if now >= self._ask_all_at:
            for fd in list(self._watched):  # listeners first: each may close some of its connections
                self._ask(fd)
            self._ask_all_at = now + self._wait_seconds()
        for fd, events in self._poll.poll(1000 * (self._ask_all_at - now)):
            watched = self._watched.get(fd)
            if watched is not None:
                readwrite(watched, events)
            if not isinstance(watched, HTTPChannel) or fd not in self._watched:
                self._ask_all_at = 0.0
            self._ask(fd)

    def _ask(self, fd: int) -> None:
        """What it waits for now; one that waits for nothing is not told either that its client has gone."""
        flags, watched = 0, self._watched.get(fd)
        if watched is not None:
            # Not for urgent data too (POLLPRI): nobody takes it, so each wait would end at once.
            flags = select.POLLIN if watched.readable() else 0
            if watched.writable() and not watched.accepting:
                flags |= select.POLLOUT
        if flags == self._flags.get(fd, 0):
            return
        if flags:
            self._flags[fd] = flags
            self._poll.register(fd, flags)
        else:
            del self._flags[fd]
            self._poll.unregister(fd)
