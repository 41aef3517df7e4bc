"""Bodies decoded: JSON to plain objects, in which every clean array of numbers is already float32.

simdjson parses the whole body and flattens arrays of numbers straight into a buffer. Where the body holds
anything that this could hide (see `_Decoder`), it is decoded again into plain lists, and `matrix` and
`vector` then find the first fault in them.
"""

from __future__ import annotations

import json
import math
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import simdjson

from falcon_mnist.errors import Problem, kind_of

Array = npt.NDArray[np.float32]

LARGEST = 3.4028235e38
"""float32's largest number, in its shortest form."""

# From halfway to the next power of two on, a number rounds to infinity (IEEE 754, section 4.3.1).
_TOO_LARGE = 2.0**128 - 2.0**103

# A body within its size limit may still hold tens of millions of tiny values, each of them a Python object of
# fifty bytes and more. A valid body has no more numbers than parameters; one with very many arrays is decoded if
# they are clean, but not taken apart to find out what is wrong.
_MAX_CONTAINERS = 200_000
_SMALL_BODY = 8 * 2**20

# simdjson looks a member up from the first on, so that many take quadratic time. A valid body has some hundred in all.
_MAX_MEMBERS = 1000
_MAX_MEMBERS_IN_ALL = 20_000

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

    Raises a 400 `Problem` if the body is not UTF-8, not JSON, not an object, or holds more than
    `max_numbers` values.
    """
    brackets = _count(body, b"[")
    containers = brackets + (_count(body, b"{") if len(body) > _MAX_CONTAINERS else 0)
    if containers > max_numbers:
        raise Problem("invalid-json", f"The body holds more than {max_numbers} arrays and objects.")
    if len(body) > _SMALL_BODY and _count(body, b",") > max_numbers:
        raise Problem("invalid-json", f"The body holds more than {max_numbers} values.")
    try:
        document = _Decoder(body, brackets).document
    except _MiddleError:
        document = _decode_plainly(body, exactly=True)
    except (ValueError, TypeError, RuntimeError):
        if containers > _MAX_CONTAINERS:
            detail = f"it holds more than {_MAX_CONTAINERS} arrays and objects, too many to look for the fault in them"
            raise Problem("invalid-json", f"The body is not clean JSON, and {detail}.") from None
        if len(body) > _MAX_MEMBERS_IN_ALL and _count(body, b":") > _MAX_MEMBERS_IN_ALL:
            raise Problem("invalid-json", f"The body holds more than {_MAX_MEMBERS_IN_ALL} members.") from None
        document = _decode_plainly(body)
    if not isinstance(document, dict):
        raise Problem("invalid-json", f"The body must be a JSON object, but is {kind_of(document)}.")
    return document


def _count(body: bytes, byte: bytes) -> int:
    """How often a byte stands in the body; NumPy looks at a vector of bytes at a time, `bytes.count` at one."""
    if len(body) < 1000:
        return body.count(byte)
    return int(np.count_nonzero(np.frombuffer(body, dtype=np.uint8) == byte[0]))


class _Decoder:
    """One body through simdjson.

    Flattening hides two things: a number that is itself an array (`[1, [2]]` flattens to two numbers), and
    rows of unequal length. The lengths are compared; and every `[` of the body must be accounted for by the
    arrays that were seen. Any doubt is a `ValueError`, and the body goes to the plain decoder.
    """

    _kept = threading.local()

    def __init__(self, body: bytes, brackets: int) -> None:
        self._arrays = 0
        root = self._parser(len(body)).parse(body)
        self.document = self._plain(root)
        if self._arrays != brackets:
            raise ValueError("a bracket is not accounted for")

    @classmethod
    def _parser(cls, size: int) -> simdjson.Parser:
        """A parser whose buffers are kept for the thread's next body, unless they would be large."""
        if size > _SMALL_BODY:
            return simdjson.Parser()
        parser = getattr(cls._kept, "parser", None)
        if parser is None:
            parser = cls._kept.parser = simdjson.Parser()
        return parser

    def _plain(self, value: Any) -> Any:
        if isinstance(value, simdjson.Object):
            if len(value) > _MAX_MEMBERS:
                raise Problem("invalid-json", f"An object in the body has more than {_MAX_MEMBERS} members.")
            keys = list(value)  # items() would turn every array into a list
            if len(set(keys)) != len(keys) or "\0" in "".join(keys):
                raise ValueError("a member stands there twice, or has a name that value[key] would cut off")
            return {key: self._member(key, value[key]) for key in keys}
        if isinstance(value, simdjson.Array):
            self._arrays += 1
            if self._arrays > _MAX_CONTAINERS:
                raise ValueError("more arrays than any body has outside of its numbers")
            return [self._plain(entry) for entry in value]
        return value

    def _member(self, key: str, value: Any) -> Any:
        if key in _NUMERIC and isinstance(value, simdjson.Array):
            return self._numbers(value)
        return self._plain(value)

    def _numbers(self, values: simdjson.Array) -> Array:
        shape = [len(values)]
        self._arrays += 1
        if len(values) and isinstance(values[0], simdjson.Array):
            shape.append(len(values[0]))
            self._arrays += len(values)
            if any(not isinstance(row, simdjson.Array) or len(row) != shape[1] for row in values):
                raise ValueError("ragged rows")
        numbers = np.frombuffer(values.as_buffer(of_type="d"), dtype=np.float64)
        if not numbers.size or not -_TOO_LARGE < np.minimum.reduce(numbers) <= np.maximum.reduce(numbers) < _TOO_LARGE:
            raise ValueError("empty, or beyond the range of float32")
        if ((numbers.view(np.uint64) & _REST) == _HALF).any():
            raise _MiddleError
        return numbers.astype(np.float32).reshape(shape)


# What a double has beyond a float32's 24 bits, and the one value there that lies between two of them.
_REST, _HALF = np.uint64(2**29 - 1), np.uint64(2**28)


class _MiddleError(Exception):
    """A double in the middle of two float32: which of them its number is nearer to, only its digits say.

    It comes up for one shortest form of a float32, 7.038531e-26, and hardly ever else.
    """


def _nearest(digits: str) -> float:
    """The double of a number, moved from the middle of two float32 to the side that its digits are on."""
    number = float(digits)
    if np.float64(number).view(np.uint64) & _REST == _HALF:
        exact, middle = Decimal(digits), Decimal(number)
        if exact != middle:
            return math.nextafter(number, math.inf if exact > middle else -math.inf)
    return number


def _decode_plainly(body: bytes, *, exactly: bool = False) -> Any:
    """Strictly, but with numbers beyond a double's range as infinity, so that they are refused in place."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = Problem("invalid-json", f"The body is not valid JSON: {error}.")
    else:
        return json.loads(body, parse_float=_nearest, parse_int=_integer) if exactly else document
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
    `FaultAt` at the first row or number that is not.
    """
    if not isinstance(value, list | np.ndarray):
        raise FaultAt(f"must be an array of rows, but is {kind_of(value)}")
    low, high = rows or (1, len(value))
    if not low <= len(value) <= max(low, high):
        limits = f"from {low} to {high} rows" if rows else f"at least {low} row"
        raise FaultAt(f"must have {limits}, but has {len(value)}")
    if isinstance(value, np.ndarray) and value.ndim == 2:
        if columns is not None and value.shape[1] != columns:
            raise FaultAt(f"must have {columns} numbers, but has {value.shape[1]}", 0)
        return value
    width = columns
    for index, row in enumerate(value):
        if not isinstance(row, list | np.ndarray):
            raise FaultAt(f"must be an array of numbers, but is {_kind(row)}", index)
        if width is None:
            width = len(row)
        if len(row) != width or not width:
            raise FaultAt(f"must have {width or 'some'} numbers, but has {len(row)}", index)
    return np.stack([row if isinstance(row, np.ndarray) else _row(row, index) for index, row in enumerate(value)])


def vector(value: Any) -> Array:
    """`value` as a float32 array (entries,); raises `FaultAt` at the first entry that is no finite float32."""
    if not isinstance(value, list | np.ndarray):
        raise FaultAt(f"must be an array of numbers, but is {kind_of(value)}")
    if not len(value):
        raise FaultAt("must have some numbers, but has 0")
    if isinstance(value, np.ndarray):
        if value.ndim == 2:
            raise FaultAt("must be a number, but is an array", 0)
        return value
    return _row(value)


def _row(row: list[Any], *place: int) -> Array:
    for index, number in enumerate(row):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise FaultAt(f"must be a number, but is {_kind(number)}", *place, index)
        if not -_TOO_LARGE < number < _TOO_LARGE:
            raise FaultAt("is beyond the range of float32", *place, index)
    return np.array(row, dtype=np.float64).astype(np.float32)


def _kind(value: object) -> str:
    """As `kind_of`, but an entry of a float32 array is a number."""
    return "a number" if isinstance(value, np.floating) else kind_of(value)
