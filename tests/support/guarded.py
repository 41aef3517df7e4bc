"""Arrays that end where memory ends: a page follows, or comes before, that may be neither read nor written."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np

_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)


def guarded(array: np.ndarray[Any, Any], *, before: bool = False) -> np.ndarray[Any, Any]:
    """A copy between two forbidden pages, whose last byte stands right before the second one.

    With `before`, its first byte stands right behind the first one. A kernel that touches a byte too many
    ends the process.
    """
    room = max(1, -(-array.nbytes // mmap.PAGESIZE)) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + 2 * mmap.PAGESIZE, mmap.MAP_PRIVATE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + mmap.PAGESIZE + room):
        if _libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), _PROT_NONE) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = mmap.PAGESIZE + (0 if before else room - array.nbytes)
    copy = np.frombuffer(memory, array.dtype, count=array.size, offset=offset).reshape(array.shape)
    copy[...] = array
    return copy
