"""Doubles to float32, rounded as NumPy does, and whether numbers are in range."""

import numpy as np
import pytest
from cases import for_each

EXACT = [0.0, -0.0, 1.0, -255.0, 2.0**-149, 3.4028234663852886e38]
# Halves between neighbours: of ordinary numbers, at a power of two from both sides, among subnormals, at zero.
MIDDLES = [1 + 2.0**-24, -1 - 3 * 2.0**-24, 2 - 2.0**-24, 2 + 2.0**-23, 2.0**-140 + 2.0**-150, -(2.0**-150), 16777217.0]
NEAR_MIDDLES = [np.nextafter(x, toward) for x in MIDDLES for toward in (-np.inf, np.inf)]
BEYOND = [2.0**128 - 2.0**103, -(2.0**128), 1e300, np.inf, -np.inf, np.nan]


def narrowed(kernels, doubles):
    out = np.full(len(doubles), np.nan, dtype=np.float32)
    return out, kernels.narrow(doubles, out)


@for_each("count", [1, 3, 784, 100_001])
def test_numbers_are_rounded_as_numpy_rounds_them(kernels, random, count):
    doubles = random.standard_normal(count) * 10.0 ** random.integers(-50, 38, count)
    out, in_range = narrowed(kernels, doubles)
    assert out.tobytes() == doubles.astype(np.float32).tobytes()
    assert in_range is True


@for_each("filler", [0, 5, 100_000])
@for_each("number", EXACT + MIDDLES + NEAR_MIDDLES + BEYOND)
def test_one_number_among_others_decides(kernels, number, filler):
    out, in_range = narrowed(kernels, np.concatenate([np.full(filler, 0.5), [number], np.full(filler, 0.25)]))
    assert in_range == (number not in BEYOND and not np.isnan(number))
    if in_range:
        assert out[filler].tobytes() == np.float32(number).tobytes()


WITHIN = [0.0, 2.0**-149, 1.0, 1.5]
NOT_WITHIN = [1.5 + 2.0**-23, 255.0, -0.0, -(2.0**-149), -1.0, np.inf, -np.inf, np.nan]


@for_each("filler", [0, 5, 784, 100_001])
@for_each("number, expected", [(number, True) for number in WITHIN] + [(number, False) for number in NOT_WITHIN])
def test_one_number_decides_whether_all_are_within(kernels, number, expected, filler):
    x = np.concatenate([np.full(filler, 0.5), [number], np.ones(filler)]).astype(np.float32)[np.newaxis]
    assert kernels.within(x, 1.5) is expected


def test_no_numbers_are_within(kernels):
    assert kernels.within(np.empty((0, 784), dtype=np.float32), 1.0) is True


@for_each("rows", [1, 5, 2000])
def test_argmax_is_the_first_of_the_largest(kernels, random, rows):
    x = random.integers(-3, 3, (rows, 10)).astype(np.float32)
    assert kernels.argmax(x).tolist() == x.argmax(axis=1).tolist()


@for_each(
    "name, arguments",
    [
        ("narrow", (np.zeros(3, dtype=np.float32), np.zeros(3, dtype=np.float32))),
        ("narrow", (np.zeros(3), np.zeros(2, dtype=np.float32))),
        ("narrow", (np.zeros(6)[::2], np.zeros(3, dtype=np.float32))),
        ("argmax", (np.zeros(3, dtype=np.float32),)),
        ("argmax", (np.zeros((3, 0), dtype=np.float32),)),
        ("within", (np.zeros((2, 3)), 1.0)),
        ("within", (np.zeros(3, dtype=np.float32), 1.0)),
        ("within", (np.zeros((2, 6), dtype=np.float32)[:, ::2], 1.0)),
        ("within", (np.zeros((2, 3), dtype=np.float32), -1.0)),
        ("within", (np.zeros((2, 3), dtype=np.float32), float("nan"))),
    ],
)
def test_arguments_that_do_not_fit_are_refused(kernels, name, arguments):
    with pytest.raises((TypeError, ValueError), match=r"doubles|out|x must|high must"):
        getattr(kernels, name)(*arguments)
