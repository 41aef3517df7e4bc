"""Memory that large work leaves behind, given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

# Work on less leaves little behind; giving back takes up to 0.1 s, without the GIL.
_LARGE = 32 * 2**20


def _trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`; other C libraries have none and keep less."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return trim


_malloc_trim = _trim()


def give_back(freed: int) -> None:
    """Called after work that took `freed` bytes.

    glibc has a heap for each of several threads, and keeps in each what was freed below its end: after large bodies
    on all threads, several times as much as one of them takes.
    """
    if freed >= _LARGE and _malloc_trim is not None:
        _malloc_trim(0)
