"""Bodies decoded: JSON to plain objects, with arrays of numbers as float32.

`kernels.read_json` reads a body in one pass, its arrays of numbers straight into float32. It takes clean
bodies only: valid JSON in which such an array holds numbers, or equally long rows of them, and nothing else. Any other
body is decoded again into plain lists, to find and name its fault, or refused if it is too large for that.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from falcon_mnist import kernels
from falcon_mnist.api.errors import Problem, kind_of
from falcon_mnist.constants import MAX_ROWS, PIXELS, Array

LARGEST = 3.4028235e38
"""float32's largest number, in its shortest form."""

# From halfway to the next power of two on, a number rounds to infinity (IEEE 754, section 4.3.1).
_TOO_LARGE = 2.0**128 - 2.0**103

# Values that become Python objects, of fifty bytes and more each, and not elements of a float32 array. A body within
# its size limit may hold tens of millions of them; a valid one has few.
_MAX_PLAIN = 200_000
_SMALL_BODY = 8 * 2**20
# Larger bodies are not decoded into plain lists. 512 rows with all digits of a double have room.
_MAX_EXAMINED = 12 * 2**20
# Bodies of more values are not read by Python's decoder, which takes 0.2 us for each. 512 rows have fewer.
_ROWS_OF_VALUES = 500_000
_CONSTANT = re.compile("NaN|Infinity")
# "Hard" are numbers of more significant digits than a word of 64 bits holds (`kernels/json/numbers.pxi`): to read one
# takes 0.1 us, or up to 1.4 us where it lies next to the middle of two doubles, any other 0.01 us. 512 rows may have no
# other numbers, and take up to 0.6 s.
_MAX_HARD, _HARD_DIGITS = MAX_ROWS * PIXELS, 19
# Each may have a fault of its own in the answer. A valid body has some hundred in all.
_MAX_MEMBERS = 1000
_MAX_MEMBERS_IN_ALL = 20_000

_PIECE = 2**18  # bytes

# The members of bodies that hold large arrays of numbers.
_NUMERIC = frozenset({"inputs", "data", "W", "b"})


class FaultAt(ValueError):
    """An array that cannot be used: what is wrong, and the steps that lead to the first bad value in it."""

    def __init__(self, detail: str, *place: int) -> None:
        super().__init__(detail)
        self.detail = detail
        self.place = place


def decode(body: bytes, *, max_numbers: int) -> dict[str, Any]:
    """The JSON object in `body`, arrays of numbers as float32 arrays wherever they are clean.

    In a large body, an array that is not clean stands as the `FaultAt` of its first fault.

    Raises a 400 `Problem` if the body is not UTF-8, not JSON, not an object, or holds more than `max_numbers`
    numbers or `_MAX_PLAIN` other values.
    """
    large = len(body) > _SMALL_BODY
    try:
        document = kernels.read_json(
            body,
            numeric=_NUMERIC,
            scalar=orjson.loads,
            fault=_fault if len(body) > _MAX_EXAMINED else None,
            most_numbers=max_numbers if large else len(body),
            most_hard=_MAX_HARD if large else len(body),
            most_values=_MAX_PLAIN,
            most_members=_MAX_MEMBERS,
        )
    except kernels.TooManyError as error:
        raise _too_many(str(error), max_numbers) from None
    except ValueError:
        _refuse_too_many(body)
        document = _decode_plainly(body)
    if not isinstance(document, dict):
        raise Problem("invalid-json", f"The body must be a JSON object, but is {kind_of(document)}.")
    return document


def _too_many(what: str, max_numbers: int) -> Problem:
    details = {
        "numbers": f"The body holds more than {max_numbers} values.",
        "hard": f"The body holds more than {_MAX_HARD} numbers of more than {_HARD_DIGITS} significant digits.",
        "values": f"The body holds more than {_MAX_PLAIN} values that are no numbers in {', '.join(sorted(_NUMERIC))}.",
        "members": f"An object in the body has more than {_MAX_MEMBERS} members.",
    }
    return Problem("invalid-json", details[what])


def _fault(place: tuple[int, ...], width: int | None, found: Any) -> FaultAt:
    """The fault of `found`, where there should be a number (`width` is None) or a row of `width` numbers."""
    if width is None:
        return FaultAt(f"must be a number, but is {kind_of(found)}", *place)
    if type(found) is int:
        return FaultAt(f"must have {width or 'some'} numbers, but has {found}", *place)
    return FaultAt(f"must be an array of numbers, but is {kind_of(found)}", *place)


def _refuse_too_many(body: bytes) -> None:
    """Raise a 400 `Problem` for what is not clean and too large to look for the fault in it."""
    if _count(body, b"[") > _MAX_PLAIN:
        detail = f"it holds more than {_MAX_PLAIN} arrays, too many to look for the fault in them"
        raise Problem("invalid-json", f"The body is not clean JSON, and {detail}.")
    if len(body) > _MAX_EXAMINED:
        detail = f"it is larger than {_MAX_EXAMINED} bytes, too large to look for the fault in it"
        raise Problem("invalid-json", f"The body is not clean JSON, and {detail}.")
    if len(body) > _MAX_MEMBERS_IN_ALL and max(_count(body, b":"), _count(body, b"{")) > _MAX_MEMBERS_IN_ALL:
        raise Problem("invalid-json", f"The body holds more than {_MAX_MEMBERS_IN_ALL} members.")


def _count(body: bytes, byte: bytes) -> int:
    """How often a byte stands in the body.

    NumPy looks at a vector of bytes at a time, but gives up the GIL, which costs more than a small body's count.
    """
    if len(body) < 2**15:
        return body.count(byte)
    found = 0
    for start in range(0, len(body), _PIECE):  # a piece and what it is compared to stay in a cache
        piece = np.frombuffer(body, np.uint8, count=min(_PIECE, len(body) - start), offset=start)
        found += int(np.count_nonzero(piece == byte[0]))
    return found


def _rounded(doubles: npt.NDArray[np.float64]) -> Array | None:
    """The nearest float32 of each (ties to even); None if one rounds to infinity."""
    numbers = np.empty(doubles.size, dtype=np.float32)
    return numbers if kernels.narrow(doubles, numbers) else None


def _decode_plainly(body: bytes) -> Any:
    """Decode strictly, but numbers beyond a double's range become infinity, so that their fault has a place."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = _invalid(error)
    if _count(body, b",") > _ROWS_OF_VALUES:
        raise problem
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_int=_integer)
        orjson.dumps(document)  # refuses strings that are no Unicode text
    except (ValueError, RecursionError, TypeError):
        raise problem from None
    return document


def _invalid(error: orjson.JSONDecodeError) -> Problem:
    near = _CONSTANT.search(error.doc, max(0, error.pos - 1), error.pos + 8)
    lacks = ", which has no NaN or Infinity" if near else ""  # many libraries write these all the same
    return Problem("invalid-json", f"The body is not valid JSON{lacks}: {error}.")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits) if len(digits) < 400 else math.inf


def matrix(value: Any, *, columns: int | None = None, rows: tuple[int, int] | None = None) -> Array:
    """`value` as a float32 array (rows, columns).

    Takes such an array, or a list of equally long, non-empty lists of finite float32 numbers. Raises
    `FaultAt` at the first row or number that is not, and the one that `decode` has found.
    """
    if isinstance(value, FaultAt):
        raise value
    if not isinstance(value, list | np.ndarray):
        raise FaultAt(f"must be an array of rows, but is {kind_of(value)}")
    if columns is not None and shape_of(value) == (columns,):
        raise FaultAt(f"must be a list of rows, but is one row of {columns} numbers: put it in a list, [[…]]")
    low, high = rows or (1, len(value))
    if not low <= len(value) <= max(low, high):
        limits = f"from {low} to {high} rows" if rows else f"at least {low} row"
        raise FaultAt(f"must have {limits}, but has {len(value)}")
    if isinstance(value, np.ndarray) and value.ndim == 2:
        if columns is not None and value.shape[1] != columns:
            hint = ": a picture is one row, line after line" if value.size == columns else ""
            raise FaultAt(f"must have {columns} numbers, but has {value.shape[1]}{hint}", 0)
        return _in_range(value)
    width = columns
    for index, row in enumerate(value):
        if not isinstance(row, list | np.ndarray):
            raise FaultAt(f"must be an array of numbers, but is {_kind(row)}", index)
        if width is None:
            width = len(row)
        if len(row) != width or not width:
            raise FaultAt(f"must have {width or 'some'} numbers, but has {len(row)}", index)
    return np.stack([row if isinstance(row, np.ndarray) else _row(row, index) for index, row in enumerate(value)])


def shape_of(value: Any) -> tuple[int, ...] | None:
    """The shape of a decoded array, whatever its numbers are; None if it is empty, ragged, or no array."""
    if isinstance(value, np.ndarray):
        return tuple(value.shape)
    if not isinstance(value, list) or not value:
        return None
    if not isinstance(value[0], list | np.ndarray):
        return (len(value),)
    lengths = {len(row) if isinstance(row, list | np.ndarray) else 0 for row in value}
    return None if len(lengths) > 1 or 0 in lengths else (len(value), lengths.pop())


def vector(value: Any) -> Array:
    """`value` as a float32 array (entries,); raises `FaultAt` at the first entry that is no finite float32."""
    if isinstance(value, FaultAt):
        raise value
    if not isinstance(value, list | np.ndarray):
        raise FaultAt(f"must be an array of numbers, but is {kind_of(value)}")
    if not len(value):
        raise FaultAt("must have some numbers, but has 0")
    if isinstance(value, np.ndarray):
        if value.ndim == 2:
            raise FaultAt("must be a number, but is an array", 0)
        return _in_range(value)
    return _row(value)


def _in_range(numbers: npt.NDArray[Any]) -> Array:
    """`numbers`, unless they are float64: then some are beyond float32, and `FaultAt` names the first."""
    if numbers.dtype == np.float64:
        first = int(np.argmax(np.abs(numbers) >= _TOO_LARGE))
        raise FaultAt(_BEYOND, *map(int, np.unravel_index(first, numbers.shape)))
    return numbers


_BEYOND = "is beyond the range of float32"


def _row(row: list[Any], *place: int) -> Array:
    kinds = list(map(type, row))
    count = min((kinds.index(kind) for kind in set(kinds) - _NUMBERS), default=len(row))
    doubles = np.array(row[:count], dtype=np.float64)
    numbers = _rounded(doubles)
    if numbers is None:
        raise FaultAt(_BEYOND, *place, int(np.argmax(np.abs(doubles) >= _TOO_LARGE)))
    if count < len(row):
        raise FaultAt(f"must be a number, but is {_kind(row[count])}", *place, count)
    return numbers


_NUMBERS = {int, float}  # not their subclass bool


def _kind(value: object) -> str:
    """As `kind_of`, but an entry of a float32 array is a number."""
    return "a number" if isinstance(value, np.floating) else kind_of(value)
