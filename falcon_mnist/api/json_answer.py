"""Answers encoded as JSON, in one piece or in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import orjson

from falcon_mnist.constants import Array

# A chunk takes 1 ms to make, for which it holds the GIL.
_CHUNK_NUMBERS = 2**15
_CHUNK_BYTES = 2**18

# The one float32 (and its negative) whose shortest form is read, as a double that is rounded, as its neighbour.
_MISREAD, _LONGER = b"7.038531e-26", b"7.0385307e-26"


def dumps(document: Any) -> bytes:
    """JSON; float32 arrays in the shortest form that reads back to the same numbers."""
    data = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return data.replace(_MISREAD, _LONGER) if _MISREAD in data else data


def chunks(document: Any) -> Iterator[bytes]:
    """What `dumps` makes, in chunks that together take little memory beside the document's arrays."""
    buffer = bytearray()
    for piece in _pieces(document):
        buffer += piece
        if len(buffer) >= _CHUNK_BYTES:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Mapping):
        yield from _enclosed(b"{", (_member(name, entry) for name, entry in value.items()), b"}")
    elif isinstance(value, list):
        yield from _enclosed(b"[", map(_pieces, value), b"]")
    elif isinstance(value, np.ndarray) and value.size > _CHUNK_NUMBERS:
        yield from _enclosed(b"[", _slices(value), b"]")
    else:
        yield dumps(value)


def _member(name: str, value: Any) -> Iterator[bytes]:
    yield dumps(name) + b":"
    yield from _pieces(value)


def _slices(array: Array) -> Iterator[Iterable[bytes]]:
    """The entries of a large array: those of several rows at a time, or a long row on its own."""
    row_size = array[0].size
    if row_size > _CHUNK_NUMBERS:
        yield from map(_pieces, array)
        return
    count = _CHUNK_NUMBERS // row_size
    for start in range(0, len(array), count):
        yield [dumps(array[start : start + count])[1:-1]]


def _enclosed(opening: bytes, entries: Iterable[Iterable[bytes]], closing: bytes) -> Iterator[bytes]:
    separator = opening
    for entry in entries:
        yield separator
        yield from entry
        separator = b","
    yield closing if separator == b"," else opening + closing
