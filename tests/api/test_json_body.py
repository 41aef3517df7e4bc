"""Clean arrays of numbers must come out of `decode` as float32 arrays: lists mean that the slow path was taken."""

import contextlib
import gc
import itertools
import math
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import orjson
import pytest
from cases import for_each

from falcon_mnist.api.errors import Problem
from falcon_mnist.api.json_body import Array, FaultAt, decode, matrix, vector


def numbers(*shape: int) -> Array:
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def repeated(item: bytes, times: int) -> bytes:
    """The items of an array, all alike."""
    return (item + b",") * (times - 1) + item


@cache
def members(count: int) -> bytes:
    return b",".join(b'"k%d":1' % number for number in range(count))


def encoded(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def test_clean_arrays_are_decoded_into_float32_bit_for_bit() -> None:
    inputs, weight, bias = numbers(3, 784), numbers(784, 10), numbers(10)
    layers = [{"type": "linear", "W": weight, "b": bias}, {"type": "relu"}]
    body = encoded({"parameters": {"layers": layers}, "inputs": inputs, "return": {"labels": True}})

    document = decode(body, max_numbers=1_000_000)

    linear = document["parameters"]["layers"][0]
    for found, sent in ((document["inputs"], inputs), (linear["W"], weight), (linear["b"], bias)):
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, sent)
    assert document["return"] == {"labels": True}


@for_each("inputs", ["[[1, [2]], [3, 4]]", "[[1, 2], [3]]", "[[1, true], [2, 3]]", "[]", "[[]]", "[1, [2]]"])
def test_arrays_with_a_fault_stay_lists(inputs: str) -> None:
    assert isinstance(decode(b'{"inputs": %s}' % inputs.encode(), max_numbers=100)["inputs"], list)


@pytest.mark.parametrize(
    ("count", "first", "refused"),
    [(999, b"", False), (200_000, b"", True), (200_000, b'"k1":1,', True), (200_000, b'"z":1e999,', True)],
)
@pytest.mark.parametrize("inside", [b"%s", b'{"inputs": [%s]}', b'{"W": {"b": %s}}'])
def test_no_object_has_so_many_members_that_they_take_long(
    count: int, first: bytes, refused: bool, inside: bytes
) -> None:
    """Before, 200,000 of them took three quarters of a minute, in 2 MB."""
    body = inside % (b"{" + first + members(count) + b"}")
    if refused:
        with pytest.raises(Problem, match="more than"):
            decode(body, max_numbers=1_000_000)
    else:
        assert decode(body, max_numbers=1_000_000)


@for_each(
    "text, place",
    [
        ("[1, 1e39, true]", None),
        ("[1, 2, -1e39]", (2,)),
        ("[[1, 2], [3.5e38, 1e300]]", (1, 0)),
        ("[[1e39]]", (0, 0)),
        ("[[1, -1e400]]", (0, 1)),
        ("[" + "9" * 400 + "]", (0,)),
        ("[-1, 3.4028235677973366e38]", (1,)),
    ],
)
def test_a_number_beyond_float32_is_found_without_taking_the_array_apart(text: str, place: tuple[int] | None) -> None:
    value = decode(b'{"b": %s}' % text.encode(), max_numbers=100)["b"]
    assert isinstance(value, np.ndarray) == (place is not None)
    with pytest.raises(FaultAt) as caught:
        (matrix if text.startswith("[[") else vector)(value)
    assert caught.value.place == (place or (1,))


def test_of_a_member_that_stands_there_twice_the_last_one_counts() -> None:
    assert decode(b'{"inputs": [[1]], "inputs": [[2]]}', max_numbers=100) == {"inputs": [[2]]}


def test_numbers_are_doubles_that_are_rounded_to_float32() -> None:
    """1 + 2^-24 lies in the middle of 1 and the next float32: what a double does not hold decides nothing."""
    middle = b"1.000000059604644775390625"
    texts = [middle, middle + b"1", b"1.0000001", b"7.038531e-26", b"16777217", b"-0.0", b"1e-60"]
    numbers = np.array([float(text) for text in texts]).astype(np.float32)
    body = b'{"a": [1, {"b c": "2", "d": 3}], "inputs": [[%s]], "b": [%s]}' % ((b",".join(texts),) * 2)
    document = decode(body, max_numbers=1000)
    assert document["b"].tobytes() == document["inputs"].tobytes() == numbers.tobytes()
    assert vector(plainly(document["b"], body)).tobytes() == numbers.tobytes()


def plainly(decoded: Array, body: bytes) -> list[float]:
    """The member `b` as it comes out of the other decoder: a member with a fault leads to it."""
    value = decode(body[:-1] + b',"W":[true]}', max_numbers=1000)["b"]
    assert isinstance(value, list)
    return value


def refused(body: bytes, *, max_numbers: int = 10**7) -> str:
    with pytest.raises(Problem) as caught:
        decode(body, max_numbers=max_numbers)
    assert caught.value.kind == "invalid-json"
    return caught.value.detail


def test_numbers_of_more_digits_than_a_double_has_are_read_all_the_same() -> None:
    hard = b"2.4703282292062327208e-324"
    document = decode(b'{"b": [%s]}' % repeated(hard, 30_001), max_numbers=10**6)
    assert document["b"].tolist() == [0.0] * 30_001
    with pytest.raises(FaultAt) as caught:
        vector(decode(b'{"b": [%s, 1e39]}' % repeated(hard, 30_001), max_numbers=10**6)["b"])
    assert caught.value.place == (30_001,)


@pytest.mark.parametrize("unit", [b'"a":1', b"{}", b'"a":{}'])
def test_more_objects_or_members_than_any_body_has_are_refused(unit: bytes) -> None:
    opening, closing = (b"{", b"}") if unit.startswith(b'"') else (b'{"a":[', b"]}")
    assert "more than" in refused(opening + repeated(unit, 200_001) + closing)


@pytest.mark.parametrize("unit", [b"1", b"null", b'"a"', b"[1]"])
def test_more_values_outside_of_numbers_than_any_body_has_are_refused(unit: bytes) -> None:
    assert "more than 200000" in refused(b'{"a":[%s]}' % repeated(unit, 200_001))


@pytest.mark.parametrize("times", [1, 2])
def test_a_number_beyond_a_double_is_found_in_a_body_of_any_size(times: int) -> None:
    rows = repeated(ROW, 511 * times)
    last = b"[%s1e400]" % (b"0," * 783)
    with pytest.raises(FaultAt) as caught:
        matrix(decode(b'{"inputs": [%s, %s]}' % (rows, last), max_numbers=10**6)["inputs"])
    assert caught.value.place == (511 * times, 783)


def test_a_document_that_is_still_held_does_not_slow_down_the_next() -> None:
    with pytest.raises(Problem) as held:  # with its frames, and all that they hold
        decode(b'{"a":[%s]}' % repeated(b"1", 200_001), max_numbers=10**6)
    assert isinstance(decode(b'{"b": [1]}', max_numbers=10)["b"], np.ndarray)
    assert held.tb is not None


# Large bodies: read in one go or refused, and never taken apart into Python's objects.

ROW = b"[%s]" % repeated(b"0.12345678901234568", 784)
LARGE = 13 * 2**20


def large(*last: bytes) -> bytes:
    return b'{"W":[%s]}' % b",".join([repeated(ROW, LARGE // len(ROW)), *last])


@pytest.mark.parametrize(
    ("row", "place"),
    [
        (b"[1,2]", (0,)),
        (b"7", (0,)),
        (b"{}", (0,)),
        (ROW.replace(b"0.12345678901234568", b"true", 1), (0, 0)),
        (ROW.replace(b"0.12345678901234568]", b"[]]"), (0, 783)),
        (ROW.replace(b"0.12345678901234568]", b"null]"), (0, 783)),
    ],
)
def test_the_first_fault_of_a_large_array_is_found_in_place(row: bytes, place: tuple[int, ...]) -> None:
    count = LARGE // len(ROW)
    with pytest.raises(FaultAt) as caught:
        matrix(decode(large(row, b"[]"), max_numbers=10**7)["W"])
    assert caught.value.place == (count + place[0], *place[1:])


def test_the_first_fault_of_a_large_vector_is_found_in_place() -> None:
    body = b'{"b":[%s,true,null]}' % repeated(b"0.12345678901234568", 700_000)
    with pytest.raises(FaultAt) as caught:
        vector(decode(body, max_numbers=10**7)["b"])
    assert caught.value.place == (700_000,)


@pytest.mark.parametrize(
    "make",
    [
        lambda: b'{"a":1,"a":2,"x":[%s]}' % repeated(b'"aa"', 3_000_000),
        lambda: large(b"[1e400]"),
        lambda: large()[:-1],
        lambda: large(ROW.replace(b"]", b",[1]]", 1).replace(b"0.12345678901234568,", b"", 1))[:-1] + b',"b":[1,[2]]}',
    ],
    ids=["strings", "infinity", "cut off", "nested"],
)
def test_a_large_body_that_is_not_clean_is_refused_or_its_fault_is_found(make: Callable[[], bytes]) -> None:
    problem, body = None, make()
    try:
        document = decode(body, max_numbers=10**7)
        matrix(document["W"])
    except (Problem, FaultAt) as error:
        problem = error
    assert problem is not None


def test_a_large_body_with_a_member_twice_or_an_odd_name_is_read_as_a_small_one() -> None:
    document = decode(large()[:-1] + b',"b":[1],"\\u0000":"\\u00e9","b":[2]}', max_numbers=10**7)
    assert (document["b"], document["\0"], matrix(document["W"]).shape[1]) == ([2], "\xe9", 784)


def test_as_many_numbers_with_very_many_digits_as_512_rows_have_are_read_and_no_more() -> None:
    number = b"0." + b"3" * 23
    row = b"[%s]" % repeated(number, 784)
    inputs = matrix(decode(b'{"inputs":[%s]}' % repeated(row, 512), max_numbers=10**7)["inputs"])
    assert (inputs.shape, set(inputs[-1].tolist())) == ((512, 784), {float(np.float32(number))})
    assert "more than 19 significant digits" in refused(b'{"inputs":[%s]}' % repeated(row, 513))


def test_a_large_body_of_numbers_with_as_many_digits_as_a_word_holds_is_read() -> None:
    number = b"0.00" + b"3" * 19
    body = b'{"b":[%s]}' % repeated(number, LARGE // len(number))
    assert set(decode(body, max_numbers=10**7)["b"].tolist()) == {float(np.float32(number))}


# What grows with the body's bytes: twice as many take at most two and a half times the CPU.

GROWING: dict[str, Callable[[int], bytes]] = {
    "numbers that lie in the middle": lambda n: b'{"a":[%s]}' % repeated(b'{"W":[[16777217]]}', n // 40),
    "arrays of one number": lambda n: b'{"W":[%s]}' % repeated(b"[16777217]", n),
    "short numbers": lambda n: b'{"b":[%s]}' % repeated(b"1", 5 * n),
    "strings": lambda n: b'{"a":1,"a":2,"x":[%s]}' % repeated(b'"aa"', 2 * n),
    "many digits": lambda n: b'{"b":[%s]}' % repeated(b"0." + b"3" * 47, n // 5),
    "more digits than fit": lambda n: b'{"b":[%s]}' % repeated(b"2.4703282292062327208e-324", n // 5),
    "cut off": lambda n: b'{"b":[%s' % repeated(b"1.25", 2 * n),
    "ragged": lambda n: b'{"W":[%s,[1]]}' % repeated(b"[1,2,3]", n),
    "members": lambda n: b'{"a":{%s}}' % members(n),
}


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING.keys())
def test_the_time_of_a_body_grows_with_its_bytes(make: Callable[[int], bytes]) -> None:
    """Also where a limit between the two refuses the larger one. A busy machine may disturb one of the measurements."""

    def cost(body: bytes) -> float:
        best = math.inf
        gc.disable()
        for _ in range(3):
            start = time.thread_time()
            with contextlib.suppress(Problem):
                decode(body, max_numbers=10**7)
            best = min(best, time.thread_time() - start)
        gc.enable()
        return best

    costs: list[list[float]] = []

    def grows() -> bool:
        costs.append([cost(make(size)) for size in (50_000, 100_000, 200_000)])
        return all(twice <= 2.5 * once + 0.02 for once, twice in itertools.pairwise(costs[-1]))

    assert any(grows() for _ in range(3)), costs
