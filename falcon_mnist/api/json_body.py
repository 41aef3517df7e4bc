"""Bodies decoded: JSON to plain objects, in which every clean array of numbers is already float32.

simdjson parses the whole body and flattens arrays of numbers straight into a buffer. Where the body holds
anything that this could hide (see `_Decoder`), a small body is decoded again into plain lists, in which `matrix`
and `vector` find the first fault; a large one is searched in place, or refused.

simdjson and orjson hold the GIL while they parse, 0.1 to 0.3 s for 60 MB: each costly kind of body is told by a
count of its bytes before that.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import simdjson

from falcon_mnist import kernels
from falcon_mnist.api.errors import Problem, kind_of
from falcon_mnist.constants import Array

LARGEST = 3.4028235e38
"""float32's largest number, in its shortest form."""

# From halfway to the next power of two on, a number rounds to infinity (IEEE 754, section 4.3.1).
_TOO_LARGE = 2.0**128 - 2.0**103

# A body within its size limit may still hold tens of millions of tiny values, each of them a Python object of
# fifty bytes and more. A valid body has no more numbers than parameters, and few values of other kinds: one with
# very many arrays is decoded if they are clean, but not taken apart to find out what is wrong.
_MAX_PLAIN = 200_000
_SMALL_BODY = 8 * 2**20
# A larger body than this, room for 512 rows in all digits of a double, is not decoded into plain lists.
_MAX_EXAMINED = 12 * 2**20
# More values than 512 rows have. Python's decoder, which takes 0.2 us for each, reads no more; and where there are
# more, simdjson's buffers, 25 bytes for each, are not kept.
_ROWS_OF_VALUES = 500_000
# simdjson takes up to 10 us for a number of more than 19 digits, others 0.02 us.
_MAX_HARD = 30_000
# The shortest form of a double is at most as long, but for its exponent: 0.00012345678901234567.
_LONGEST = 22

# simdjson looks a member up from the first on, so that many take quadratic time. A valid body has some hundred in all.
_MAX_MEMBERS = 1000
_MAX_MEMBERS_IN_ALL = 20_000

_PIECE = 2**18  # bytes

# The members of bodies that hold large arrays of numbers.
_NUMERIC = frozenset({"inputs", "W", "b"})


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
    brackets = _count(body, b"[")
    if brackets > max_numbers or (len(body) > _SMALL_BODY and _count(body, b",") > max_numbers):
        raise Problem("invalid-json", f"The body holds more than {max_numbers} values.")
    hard = _is_hard(body)
    if hard and len(body) > _SMALL_BODY:
        detail = f"The body holds more than {_MAX_HARD} numbers with more digits than a double has, which is 17."
        raise Problem("invalid-json", detail)
    try:
        if hard:
            raise ValueError("simdjson would take seconds")
        document = _Decoder(body, brackets).document
    except (ValueError, TypeError, RuntimeError):
        _refuse_too_many(body, brackets)
        document = _decode_plainly(body)
    if not isinstance(document, dict):
        raise Problem("invalid-json", f"The body must be a JSON object, but is {kind_of(document)}.")
    return document


def _is_hard(body: bytes) -> bool:
    """Whether simdjson would take seconds for the body's numbers."""
    if len(body) < 20 * _MAX_HARD:
        return False
    if len(body) > _SMALL_BODY and _long_numbers(body) > _MAX_HARD:
        return True
    return _count(body, b"e") + _count(body, b"E") >= _MAX_HARD and kernels.hard_numbers(body) > _MAX_HARD


def _long_numbers(body: bytes) -> int:
    """How many numbers have more digits than a double needs."""
    found = 0
    for start in range(0, len(body), 2**20):
        piece = np.frombuffer(body, np.uint8, count=min(2**20, len(body) - start), offset=start)
        others = np.flatnonzero(piece - ord(".") > ord("9") - ord("."))  # unsigned: what is below "." wraps around
        found += int(np.count_nonzero(np.diff(others) > _LONGEST + 1))
    return found


def _refuse_too_many(body: bytes, brackets: int) -> None:
    """Raise a 400 `Problem` for what is not clean and too large to look for the fault in it."""
    if brackets > _MAX_PLAIN:
        detail = f"it holds more than {_MAX_PLAIN} arrays, too many to look for the fault in them"
        raise Problem("invalid-json", f"The body is not clean JSON, and {detail}.") from None
    if len(body) > _MAX_EXAMINED:
        detail = f"it is larger than {_MAX_EXAMINED} bytes, too large to look for the fault in it"
        raise Problem("invalid-json", f"The body is not clean JSON, or has a member twice, and {detail}.") from None
    if len(body) > _MAX_MEMBERS_IN_ALL and max(_count(body, b":"), _count(body, b"{")) > _MAX_MEMBERS_IN_ALL:
        raise Problem("invalid-json", f"The body holds more than {_MAX_MEMBERS_IN_ALL} members.") from None


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


class _Decoder:
    """One body through simdjson.

    Flattening hides two things: a number that is itself an array (`[1, [2]]` flattens to two numbers), and
    rows of unequal length. The lengths are compared; and every `[` of the body must be accounted for by the
    arrays that were seen. Any doubt is a `ValueError`, and the body goes to the plain decoder.
    """

    _kept = threading.local()

    def __init__(self, body: bytes, brackets: int) -> None:
        self._large = len(body) > _MAX_EXAMINED
        self._arrays = 0
        self._values = 0
        self._faulty = False  # then the body is refused, and the count of its arrays means nothing
        root = self._parse(body)
        self.document = self._plain(root)
        if self._arrays != brackets and not self._faulty:
            raise ValueError("a bracket is not accounted for")

    @classmethod
    def _parse(cls, body: bytes) -> Any:
        """The document, by a parser whose buffers are kept for the thread's next body unless they would be large."""
        if len(body) <= 2**20 or (len(body) <= _SMALL_BODY and _count(body, b",") <= _ROWS_OF_VALUES):
            parser = getattr(cls._kept, "parser", None)
            if parser is not None:
                with contextlib.suppress(RuntimeError):  # the document before is still referenced
                    return parser.parse(body)
            cls._kept.parser = simdjson.Parser()
            return cls._kept.parser.parse(body)
        return simdjson.Parser().parse(body)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, simdjson.Object):
            if len(value) > _MAX_MEMBERS:
                raise Problem("invalid-json", f"An object in the body has more than {_MAX_MEMBERS} members.")
            self._visit(len(value))
            keys = list(value)  # items() would turn every array into a list
            if len(set(keys)) != len(keys) or "\0" in "".join(keys):
                raise ValueError("a member stands there twice, or has a name that value[key] would cut off")
            return {key: self._member(key, value[key]) for key in keys}
        if isinstance(value, simdjson.Array):
            self._arrays += 1
            self._visit(len(value))
            return [self._plain(entry) for entry in value]
        return value

    def _visit(self, values: int) -> None:
        self._values += values
        if self._values > _MAX_PLAIN:
            detail = f"more than {_MAX_PLAIN} values that are no numbers in {', '.join(sorted(_NUMERIC))}"
            raise Problem("invalid-json", f"The body holds {detail}.")

    def _member(self, key: str, value: Any) -> Any:
        if key in _NUMERIC and isinstance(value, simdjson.Array):
            try:
                return self._numbers(value)
            except (ValueError, TypeError):
                if not self._large:
                    raise
                self._faulty = True
                return _fault_in(value)
        return self._plain(value)

    def _numbers(self, values: simdjson.Array) -> npt.NDArray[Any]:
        """A float32 array; float64 where some number is beyond float32, for `matrix` and `vector` to find it."""
        shape = [len(values)]
        self._arrays += 1
        if len(values) and isinstance(values[0], simdjson.Array):
            shape.append(len(values[0]))
            self._arrays += len(values)
            if any(not isinstance(row, simdjson.Array) or len(row) != shape[1] for row in values):
                raise ValueError("ragged rows")
        doubles = np.frombuffer(values.as_buffer(of_type="d"), dtype=np.float64)
        if not doubles.size:
            raise ValueError("empty")
        numbers = _rounded(doubles)
        return (doubles if numbers is None else numbers).reshape(shape)


def _rounded(doubles: npt.NDArray[np.float64]) -> Array | None:
    """The nearest float32 of each (ties to even); None if one rounds to infinity."""
    numbers = np.empty(doubles.size, dtype=np.float32)
    return numbers if kernels.narrow(doubles, numbers) else None


def _fault_in(values: simdjson.Array) -> FaultAt:
    """The first fault of an array that cannot be flattened into a matrix or a vector."""
    first = values[0] if len(values) else None
    if not isinstance(first, simdjson.Array):
        return _fault_in_row(values) or FaultAt("must have some numbers, but has 0")
    for index, row in enumerate(values):
        if not isinstance(row, simdjson.Array):
            return FaultAt(f"must be an array of numbers, but is {kind_of(row)}", index)
        if len(row) != len(first) or not len(row):
            return FaultAt(f"must have {len(first) or 'some'} numbers, but has {len(row)}", index)
        if not _is_flat(row) and (fault := _fault_in_row(row, index)):
            return fault
    raise ValueError("there is no fault to be found")


def _is_flat(row: simdjson.Array) -> bool:
    try:
        return len(np.frombuffer(row.as_buffer(of_type="d"), dtype=np.float64)) == len(row)
    except (ValueError, TypeError):
        return False


def _fault_in_row(row: simdjson.Array, *place: int) -> FaultAt | None:
    for index, entry in enumerate(row):
        if type(entry) not in _NUMBERS:
            return FaultAt(f"must be a number, but is {kind_of(entry)}", *place, index)
    return None


def _decode_plainly(body: bytes) -> Any:
    """Strictly, but with numbers beyond a double's range as infinity, so that they are refused in place."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = Problem("invalid-json", f"The body is not valid JSON: {error}.")
    if _count(body, b",") > _ROWS_OF_VALUES:
        raise problem
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_int=_integer)
        orjson.dumps(document)  # refuses strings that are no Unicode text
    except (ValueError, RecursionError, TypeError):
        raise problem from None
    return document


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
    """`numbers`, if they are what `_Decoder` makes of clean ones."""
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
