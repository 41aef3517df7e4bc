"""Doubles to float32: which of them are out of range, and which the digits of the document must decide."""

import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

EXACT = [0.0, -0.0, 1.0, -255.0, 2.0**-149, 3.4028234663852886e38]
# Halves between neighbours: of ordinary numbers, at a power of two from both sides, among subnormals, at zero.
MIDDLES = [1 + 2.0**-24, -1 - 3 * 2.0**-24, 2 - 2.0**-24, 2 + 2.0**-23, 2.0**-140 + 2.0**-150, -(2.0**-150), 16777217.0]
NEAR_MIDDLES = [np.nextafter(x, toward) for x in MIDDLES for toward in (-np.inf, np.inf)]
BEYOND = [2.0**128 - 2.0**103, -(2.0**128), 1e300, np.inf, -np.inf, np.nan]


def narrowed(kernels, numbers):
    doubles = np.array(numbers, dtype=np.float64)
    out = np.full(len(doubles), np.nan, dtype=np.float32)
    return out, *kernels.narrow(doubles, out)


@pytest.mark.parametrize("count", [1, 3, 784, 100_001])
def test_numbers_are_rounded_as_numpy_rounds_them(kernels, random, count):
    doubles = random.standard_normal(count) * 10.0 ** random.integers(-50, 38, count)
    out, in_range, settled = narrowed(kernels, doubles)
    assert out.tobytes() == doubles.astype(np.float32).tobytes()
    assert (in_range, settled) == (True, True)


@pytest.mark.parametrize("filler", [0, 5, 100_000])
@pytest.mark.parametrize("number", EXACT + MIDDLES + NEAR_MIDDLES + BEYOND)
def test_one_number_among_others_decides(kernels, number, filler):
    out, in_range, settled = narrowed(kernels, [0.5] * filler + [number] + [0.25] * filler)
    assert in_range == (number not in BEYOND and not np.isnan(number))
    if in_range:
        assert settled == (number not in MIDDLES)
        assert out[filler].tobytes() == np.float32(number).tobytes()


def nearest(digits):
    """The float32 nearest to a decimal number, the even one of two, by exact arithmetic."""
    exact, guess = Fraction(digits), np.float32(float(digits))
    around = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    return min(around, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(np.uint32)) & 1))


def spelled(middle):
    """Its digits, and those of a number a little further from zero and a little nearer to it."""
    exact = format(Decimal(middle), "f")
    point = "" if "." in exact else "."
    return exact, exact + point + "0" * 30 + "1", exact[:-1] + str(int(exact[-1]) - 1) + point + "9" * 40


@pytest.mark.parametrize("middle", MIDDLES)
def test_the_digits_decide_which_float32_a_middle_becomes(kernels, middle):
    for text in spelled(middle):
        document = f'{{"a 1 \\" 2": [3, true, "4\\\\"], "b": [-5e0, {text}, 6.5]}}'
        doubles = np.array(json.loads(document)["b"])
        assert doubles[1] == middle
        out = doubles.astype(np.float32)
        assert kernels.settle(document.encode(), 1, doubles, out) is out
        assert out.tolist() == [-5.0, float(nearest(text)), 6.5]


def test_a_middle_whose_digits_are_not_where_they_should_be_stays_as_it_is(kernels):
    doubles = np.array([MIDDLES[0]])
    for document in (b"[1.5]", b"[]", b'"', b'"\\'):
        assert kernels.settle(document, 0, doubles, np.float32(doubles)).tolist() == [1.0]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("12345678901234567890e-300", 1),
        ("-1.2345678901234567890E+5", 1),
        ("1234567890123456789e-300", 0),
        ("123456789012345678901234567890", 0),
        ("0.12345678901234567890", 0),
        ('"12345678901234567890e-300"', 0),
        ("[1e5, 12345678901234567890e-300, 12345678901234567890e-300]", 2),
        ('"', 0),
        ('"\\', 0),
        ("", 0),
    ],
)
def test_numbers_that_are_hard_to_read_are_counted(kernels, text, count):
    assert kernels.hard_numbers(text.encode()) == count


@pytest.mark.parametrize("rows", [1, 5, 2000])
def test_argmax_is_the_first_of_the_largest(kernels, random, rows):
    x = random.integers(-3, 3, (rows, 10)).astype(np.float32)
    assert kernels.argmax(x).tolist() == x.argmax(axis=1).tolist()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("narrow", (np.zeros(3, dtype=np.float32), np.zeros(3, dtype=np.float32))),
        ("narrow", (np.zeros(3), np.zeros(2, dtype=np.float32))),
        ("narrow", (np.zeros(6)[::2], np.zeros(3, dtype=np.float32))),
        ("settle", (b"[]", 0, np.zeros(3), np.zeros(2, dtype=np.float32))),
        ("settle", (b"[]", 0, np.zeros(3), np.zeros(3))),
        ("argmax", (np.zeros(3, dtype=np.float32),)),
        ("argmax", (np.zeros((3, 0), dtype=np.float32),)),
    ],
)
def test_arguments_that_do_not_fit_are_refused(kernels, name, arguments):
    with pytest.raises((TypeError, ValueError), match=r"doubles|out|x must"):
        getattr(kernels, name)(*arguments)
