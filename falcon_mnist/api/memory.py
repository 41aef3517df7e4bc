"""Freed memory: small work's is kept for the next request, large work's is given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

# Work on less leaves little behind; giving back takes up to 0.1 s, without the GIL.
_LARGE = 32 * 2**20

# Of glibc's malloc.h: how much freed memory a heap keeps at its end, and how large a block is to be apart from heaps.
_M_TRIM_THRESHOLD, _KEPT = -1, 32 * 2**20
_M_MMAP_THRESHOLD, _APART = -3, 16 * 2**20


def _function(name: str) -> Callable[..., int] | None:
    """One of glibc's own; other C libraries have none and keep less."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
    return found


_malloc_trim, _mallopt = _function("malloc_trim"), _function("mallopt")


def keep_freed() -> None:
    """Let the heaps of this process keep what a body of 512 rows takes, some 10 MB, when it is answered.

    Else the pages go back and are asked for again, a thousand for such a body, which takes a third of its request.
    """
    if _mallopt is not None:
        _mallopt(_M_TRIM_THRESHOLD, _KEPT)
        _mallopt(_M_MMAP_THRESHOLD, _APART)


def give_back(freed: int) -> None:
    """Called after work that took `freed` bytes.

    glibc has a heap for each of several threads, and keeps in each what was freed below its end: after large bodies
    on all threads, several times as much as one of them takes.
    """
    if freed >= _LARGE and _malloc_trim is not None:
        _malloc_trim(0)
