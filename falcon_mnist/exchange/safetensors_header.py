"""What a safetensors file says that it holds, read before any of it is taken into memory.

The format: eight bytes that give the header's length, the header in JSON, the tensors' bytes
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import orjson

# A network of five layers has a header of less than 2 kB; names and metadata may add to it.
MOST_HEADER_BYTES = 100_000
# A weight has two. More than a few make sizes whose digits Python does not write out.
_MOST_DIMENSIONS = 32


class ExchangeError(Exception):
    """What cannot be imported: the `tensor` that is at fault, or "" where it is the file, and one clause."""

    def __init__(self, tensor: str, fault: str) -> None:
        super().__init__(f"{tensor or 'the file'}: {fault}")
        self.tensor = tensor
        self.fault = fault


class Header(NamedTuple):
    """Tensor name to shape, and the file's own metadata."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read(data: bytes) -> Header:
    """The header of a file of float32 tensors that fill it. Raises `ExchangeError`."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ExchangeError("", "is not a safetensors file: it is shorter than it says")
    if length > MOST_HEADER_BYTES:
        raise ExchangeError("", f"has a header of {length} bytes, and at most {MOST_HEADER_BYTES} are read")
    try:
        header = orjson.loads(data[8 : 8 + length])
    except orjson.JSONDecodeError:
        header = None
    if not isinstance(header, dict):
        raise ExchangeError("", "is not a safetensors file: its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ExchangeError("", "has metadata that are not strings")
    shapes = {name: _shape(name, entry) for name, entry in header.items()}
    taken = 4 * sum(math.prod(shape) for shape in shapes.values())
    if taken != len(data) - 8 - length:
        raise ExchangeError("", f"holds {len(data) - 8 - length} bytes of tensors, and its header says {taken}")
    return Header(shapes, metadata)


def _shape(name: str, entry: Any) -> tuple[int, ...]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise ExchangeError(name, "has no shape")
    if len(shape) > _MOST_DIMENSIONS:
        raise ExchangeError(name, f"has {len(shape)} dimensions")
    if (dtype := entry.get("dtype")) != "F32":
        said = dtype if isinstance(dtype, str) and len(dtype) < 10 else "another type"
        raise ExchangeError(name, f"must be F32, but is {said}: convert it before it is saved, as tensor.float() does")
    return tuple(shape)
