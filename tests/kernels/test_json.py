"""JSON texts to objects, against orjson, and their numbers, against Python's `float` and the grammar of RFC 8259."""

from __future__ import annotations

import json
import re
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import orjson
import pytest
from cases import for_each
from hypothesis import example, given, settings
from hypothesis import strategies as st

from falcon_mnist.kernels import TooManyError, read_json

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
UNHURRIED = settings(deadline=None)  # also under an emulator, without the profiles of tests/conftest.py
LIMITS = {"most_numbers": 10**6, "most_hard": 10**6, "most_values": 10**5, "most_members": 1000}


def read(text: str | bytes, **limits: Any) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return read_json(data, **{"numeric": {"b"}, "scalar": orjson.loads} | LIMITS | limits)


def numbers(*tokens: str, separator: str = ",") -> np.ndarray:
    return read(f'{{"b":[{separator.join(tokens)}]}}')["b"]


def nearest(token: str) -> np.float32:
    """As an integer, -0 is 0."""
    with np.errstate(over="ignore"):
        return np.float32(0.0 if token == "-0" else float(token))


def same(found: np.ndarray, tokens: list[str]) -> bool:
    expected = np.array([nearest(token) for token in tokens])
    return np.array_equal(found.astype(np.float32).view(np.uint32), expected.view(np.uint32))


def middle(a: float, b: float) -> str:
    with localcontext(prec=1200):
        return format((Decimal(a) + Decimal(b)) / 2, "f")


DIGITS = st.text("0123456789", min_size=1, max_size=30)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
TOKENS = (
    DOUBLES.map(repr)
    | FLOATS.map(repr)
    | FLOATS.map(lambda x: str(np.float32(x)))
    | st.tuples(DOUBLES, st.integers(0, 40)).map(lambda pair: f"{pair[0]:.{pair[1]}e}")
    | st.integers(-(2**70), 2**70).map(str)
    | st.integers(0, 255).map(lambda byte: repr(byte / 255))
    | st.tuples(st.sampled_from(["", "-"]), st.integers(0, 10**25), DIGITS).map(lambda t: f"{t[0]}{t[1]}.{t[2]}")
    | st.tuples(st.integers(-(10**22), 10**22), st.integers(-400, 400)).map(lambda t: f"{t[0]}e{t[1]}")
)


@UNHURRIED
@given(st.lists(TOKENS, min_size=1, max_size=20), st.sampled_from([",", ", ", " ,", ",\n\t\t", " \r, "]))
@example(["-0", "-0.0", "0", "0e0", "-0e-0", "-18446744073709551616", "-36893488147419103232"], ",")
@example(["9007199254740993", "9007199254740992.5", "9007199254740993.00000000000000000000001"], ",")
@example(["1e22", "1e23", "123456789012345678e-22", "8.5e-23", "1e308", "1e-323", "2e-324", "1e309", "1e-400"], ",")
@example(["1e99999999999999999999", "0e99999999999999999999", "1e-99999999999999999999"], ",")
@example(["0." + "0" * 400 + "1e400", "1" + "0" * 400 + "e-400", "1" + "0" * 5000, "0." + "3" * 5000], ",")
@example(["0", "0", "0", "0", "0", "1", "0", "0", "0.0", "0.0", "0.0", "-0.0", "-0.0", "-0.0", "-0.0"], ",")
def test_a_number_is_the_nearest_double_rounded_to_float32(tokens: list[str], separator: str) -> None:
    assert same(numbers(*tokens, separator=separator), tokens)


@UNHURRIED
@given(FLOATS | DOUBLES, st.booleans(), st.sampled_from(["", "0", "1", "0" * 30 + "1", "e0"]))
@example(5e-324, False, "1")
@example(2.2250738585072014e-308, False, "")
@example(1.0, False, "0" * 800 + "1")
def test_numbers_in_the_middle_of_two_are_rounded_to_the_even_one(x: float, single: bool, more: str) -> None:
    kind = np.float32 if single else np.float64
    with np.errstate(over="ignore"):
        first = kind(x)
        second = np.nextafter(first, kind(np.inf))
    if np.isfinite(first) and np.isfinite(second):
        token = middle(float(first), float(second))
        token += more if "." in token else ""
        assert same(numbers(token), [token])
        # A zero behind 767 digits is more than nothing to orjson, which reads numbers outside of arrays.
        if more != "0" or len(token.lstrip("-0.")) < 768:
            assert read(f"[{token if '.' in token else token + '.0'}]") == [float(token)]


@UNHURRIED
@given(st.integers(1, 0x7F7FFFFE), st.sampled_from([np.inf, -np.inf]), st.integers(13, 40))
def test_the_last_bit_of_the_double_decides_beside_the_middle_of_two_float32(
    bits: int, toward: float, digits: int
) -> None:
    x, following = np.array([bits, bits + 1], np.uint32).view(np.float32)
    exact = (float(x) + float(following)) / 2
    with localcontext(prec=1200):
        between = (Decimal(exact) + Decimal(float(np.nextafter(exact, toward)))) / 2
        tokens = [f"{between:.{digits}e}", f"{between:e}", f"{between:e}".replace("e", "1e"), f"{between:f}"]
    assert same(numbers(*tokens), tokens)


@for_each("power", range(-360, 330))
def test_every_power_of_ten(power: int) -> None:
    tokens = [f"{digits}e{power}" for digits in (1, 9007199254740993, 12345678901234567, 2**64 - 1, 10**19 - 1)]
    assert same(numbers(*tokens), tokens)
    finite = [token for token in tokens if np.isfinite(float(token))]
    assert read(f"[{','.join(finite)}]") == [float(token) for token in finite]


@UNHURRIED
@given(st.text("0123456789.-+eE", min_size=1, max_size=12) | st.text(min_size=1, max_size=2), st.integers(0, 9))
@example("01", 0)
@example("-", 0)
@example("1.", 0)
@example(".5", 0)
@example("+1", 0)
@example("1e", 0)
@example("1e+", 8)
@example("NaN", 0)
@example("-Infinity", 0)
@example("0x1", 0)
@example("1_0", 0)
@example("1\0", 0)
def test_what_is_no_number_is_refused(token: str, behind: int) -> None:
    text = f'{{"b":[1,{token}]{" " * behind}}}'
    number = token.strip(" \t\r\n")
    if NUMBER.fullmatch(number):
        assert same(read(text)["b"], ["1", number])
    else:
        with pytest.raises(ValueError, match=r"not clean|comma|value"):
            read(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | DOUBLES | st.text(max_size=4),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text('ab"\\é\0', max_size=2), values, max_size=4),
    max_leaves=12,
)
LITTLE = st.sampled_from(
    [
        *[b"", b" ", b",", b":", b"[", b"]", b"{", b"}", b'"', b"1", b"tru", b"\\", b"\\u"],
        *[b"\0", b"\x0c", b"\xff", b"\xc3", b"\xef\xbb\xbf"],
    ]
)


def of_orjson(text: bytes) -> Any:
    """The document, or that there is none. orjson refuses a byte order mark; RFC 8259 allows to ignore it."""
    try:
        return orjson.loads(text.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return ValueError


def of_ours(text: bytes, **limits: Any) -> Any:
    try:
        return read(text, **limits)
    except ValueError:
        return ValueError


@UNHURRIED
@given(VALUES, st.booleans(), st.integers(0, 60), st.integers(0, 3), LITTLE)
@example([], True, 0, 0, b"")
@example("\ud800".encode("utf-8", "replace").decode(), True, 1, 0, b"\\ud800")
@example("a", True, 1, 0, b"\xed\xa0\x80")
@example([1], True, 3, 0, b"")
def test_any_text_is_read_or_refused_as_orjson_does(
    value: Any, plain: bool, at: int, removed: int, added: bytes
) -> None:
    clean = json.dumps(value, ensure_ascii=plain, indent=1 if removed == 2 else None).encode()
    assert repr(of_ours(clean, numeric=())) == repr(of_orjson(clean))
    broken = clean[:at] + added + clean[at + removed :]
    assert repr(of_ours(broken, numeric=())) == repr(of_orjson(broken))


@UNHURRIED
@given(st.binary(max_size=12))
def test_any_bytes_are_read_or_refused_as_orjson_does(text: bytes) -> None:
    assert repr(of_ours(text, numeric=())) == repr(of_orjson(text))


def test_arrays_of_named_members_have_the_shape_of_their_rows() -> None:
    document = read('{"b": [ [1 , 2], [3,4] ,[5,6] ], "c": [1, 2], "d": {"b": [7.5]}, "e": [{"b": []}, {"b": [{}]}]}')
    assert document["b"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert document["b"].dtype == document["d"]["b"].dtype == np.float32
    assert document["d"]["b"].tolist() == [7.5]
    assert (document["c"], document["e"]) == ([1, 2], [{"b": []}, {"b": [{}]}])


@for_each("count", [1, 2, 15, 16, 17, 100, 5000])
@for_each("behind", [0, 3, 100_000])
@for_each("token", ["0", "0.0", "12", "1.25", "0.123456789"])
def test_arrays_of_any_length_keep_what_they_hold(count: int, behind: int, token: str) -> None:
    """Some are cut from the memory that a longer one would need, and others copied out of it."""
    text = f'{{"b":[{",".join([token] * count)}],{" " * behind}"c":[{{"b":[[{token}]]}},{{"b":[7]}}]}}'
    document = read(text)
    assert document["b"].tolist() == [np.float32(token)] * count
    assert document["c"][0]["b"].tolist() == [[np.float32(token)]]
    assert document["c"][1]["b"].tolist() == [7]


@pytest.mark.parametrize("number", ["3.4028235677973366e38", "-1e39", "1e400"])
def test_an_array_with_a_number_beyond_float32_is_of_float64(number: str) -> None:
    found = read(f'{{"b":[[0,1],[{number},3.4028235e38]]}}')["b"]
    assert found.dtype == np.float64
    assert np.isinf(found).tolist() == [[False, False], [True, False]]


UNCLEAN = [
    *["[1,]", "[,1]", "[1 2]", "[[1],]", "[[1]2]", "[[1][2]]", "[1,[2]]", "[[1],2]", "[[1],[]]", "[[],[1]]"],
    *["[[1,2],[3]]", "[[1],[2,3]]", "[[[1]]]", "[[1],{}]", '["1"]', "[true]", "[null]"],
    *["[1", "[[1]", "[[1", "[1}", "[1,\x0c2]", "[1\0]"],
]


@for_each("array", UNCLEAN)
def test_arrays_that_are_not_clean_are_refused(array: str) -> None:
    with pytest.raises(ValueError, match="not clean"):
        read(f'{{"b":{array}}}')


def faults(array: str) -> Any:
    return of_ours(b'{"b":%s,"c":[1]}' % array.encode(), fault=lambda *found: found)


@for_each(
    "array, fault",
    [
        ("[1,true,null]", ((1,), None, True)),
        ('["1"]', ((0,), None, "1")),
        ("[1,[2,{}]]", ((1,), None, [])),
        ("[1,{}]", ((1,), None, {})),
        ("[[1],2]", ((1,), 1, 0.0)),
        ("[[1,2],[3],[null]]", ((1,), 2, 1)),
        ("[[1],[]]", ((1,), 1, 0)),
        ("[[],[1]]", ((0,), 0, 0)),
        ("[[1,2],[3,null]]", ((1, 1), None, None)),
        ("[[1,2],[null,3,4]]", ((1,), 2, 3)),
        ("[[[1]]]", ((0, 0), None, [])),
        ('[[1],[{"a":[1,"b\\n",-1.5e3]}]]', ((1, 0), None, {})),
    ],
)
def test_the_first_fault_of_an_array_is_told_if_what_follows_is_json(array: str, fault: Any) -> None:
    assert faults(array) == {"b": fault, "c": [1]}
    for broken in (array[:-1] + ",]", array[:-1] + " 01]", array[:-1] + ',"\x01"]', array[:-1] + ",{1:2}]", array[:-1]):
        assert faults(broken) is ValueError


def too_many(text: str, **limits: int) -> str:
    with pytest.raises(TooManyError) as caught:
        read(text, **limits)
    return str(caught.value)


def test_limits_hold_to_the_last_value() -> None:
    assert read('{"b":[1,2],"c":{"b":[[3],[4]]}}', most_numbers=4)
    for array in ("[1,2,3,4,5]", "[[1,2],[3,4],[5,6]]", '[1,2],"c":{"b":[3,4,5]}', "[" + "1," * 50 + "1]"):
        text = f'{{"b":{array}}}'
        assert too_many(text, most_numbers=4) == "numbers"
    assert read('{"a":[1,{"c":2}],"b":[1,2,3]}', most_values=5)
    assert too_many('{"a":[1,{"c":2,"d":1}],"b":[1,2,3]}', most_values=5) == "values"
    assert read('{"a":1,"c":{"a":1,"b":2}}', most_members=2)
    assert too_many('{"a":1,"c":{"a":1,"b":2,"c":3}}', most_members=2) == "members"
    hard = "1.2345678901234567890"
    for text in ('{"b":[%s,%s,1]}', '{"b":[%s],"c":[%s]}', '{"b":[[%s],[%s]]}'):
        assert read(text % (hard, hard), most_hard=2)
        assert too_many(text % (hard, hard), most_hard=1) == "hard"
        assert read(text % (hard[:-1], "0.000" + hard[2:-1]), most_hard=0)
    zeros, exponent = "0." + "0" * 300 + hard[2:] + "1", "2.4703282292062327208e-324"
    for number in ("0." + "3" * 47, "1.00000005960464477539062500000000000000000000000001", zeros, exponent):
        assert too_many(f'{{"b":[{number}]}}', most_hard=0) == "hard"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('{"b":[{"b":', "}]}")])
def test_nesting_is_bounded(opening: str, closing: str) -> None:
    for count in (500, 1024, 1025, 100_000):
        text = opening * count + "1" + closing * count
        if opening.count("[") * count + opening.count("{") * count <= 1024:
            assert read(text)
        else:
            assert of_ours(text.encode()) is ValueError
