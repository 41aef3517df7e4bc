"""Clean arrays of numbers must come out of `decode` as float32 arrays: lists mean that the slow path was taken."""

import numpy as np
import orjson
import pytest

from falcon_mnist.arrays import Array, decode
from falcon_mnist.errors import Problem


def numbers(*shape: int) -> Array:
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


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


@pytest.mark.parametrize(
    "inputs",
    ["[[1, [2]], [3, 4]]", "[[1, 2], [3]]", "[[1, true], [2, 3]]", "[[1, 1e39]]", "[]", "[[]]", "[1, [2]]"],
)
def test_arrays_in_which_flattening_could_hide_something_stay_lists(inputs: str) -> None:
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
    members = b",".join(b'"k%d":1' % number for number in range(count))
    body = inside % (b"{" + first + members + b"}")
    if refused:
        with pytest.raises(Problem, match="more than"):
            decode(body, max_numbers=1_000_000)
    else:
        assert decode(body, max_numbers=1_000_000)


def test_of_a_member_that_stands_there_twice_the_last_one_counts() -> None:
    assert decode(b'{"inputs": [[1]], "inputs": [[2]]}', max_numbers=100) == {"inputs": [[2]]}
