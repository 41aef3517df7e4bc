"""SIGINT and SIGTERM, noted for the main thread."""

from __future__ import annotations

import os
import signal

END = (signal.SIGINT, signal.SIGTERM)


def note_signals(*, supervised: bool = False) -> list[int]:
    """Put each into the list that is returned, also one that was blocked until now; a second ends the process at once.

    A `supervised` process hears its supervisor's SIGTERM alone, and knows no second: Ctrl-C in a terminal, and some
    who end services, send to the supervisor and to it.
    """
    noted: list[int] = []  # an Event takes a lock, which a handler must not wait for

    def note(number: int, frame: object) -> None:
        if noted and not supervised:
            os._exit(1)
        noted.append(number)

    for number in END:
        signal.signal(number, note)
    if supervised:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END)
    return noted
