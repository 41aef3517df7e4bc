"""Activations, bias and the optimizer: accuracy in ulp, the same bits at any place, gradients."""

import math

import numpy as np
import pytest
from bits import same_bits, sgd
from cases import for_each

from falcon_mnist.kernels import reference

EPS = np.finfo(np.float32).eps

# What the docstrings of sigmoid and tanh promise.
ULPS = {"sigmoid": 3, "tanh": 2}
SMALLEST_NORMAL = 2.0**-126
NEARLY_SUBNORMAL = 1.3e-38  # from here on down results may be 0
KINDS = ["relu", "sigmoid", "tanh"]


def ulps(result, exact):
    """How far `result` is from `exact` (float64), in units of the last place of the exact value."""
    exponent = np.maximum(np.frexp(exact)[1] - 24, -149)
    return np.abs(result.astype(np.float64) - exact) / np.exp2(exponent.astype(np.float64))


def sweep(step):
    """Every `step`-th finite float32 of both signs, and those next to where the formulas change."""
    bits = np.arange(0, 0x7F800000, step, dtype=np.int64)
    edges = np.concatenate(
        [
            np.float32(x).view(np.int32) + np.arange(-300, 300)
            for x in (0.5, 0.625, 1, 8.66, 9.01, 16.6, 43.65, 87.3, 88.72)
        ]
    )
    positive = np.concatenate([bits, edges]).astype(np.int32).view(np.float32)
    return np.concatenate([positive, -positive, np.linspace(-20, 20, 400_001, dtype=np.float32)])


@for_each("kind", ULPS)
def test_accuracy_over_all_magnitudes(kernels, kind):
    x = sweep(4001)
    exact = getattr(reference, kind)(x)
    result = getattr(kernels, kind)(x)
    small = np.abs(exact) < NEARLY_SUBNORMAL
    assert np.all(np.abs(result[small]) <= NEARLY_SUBNORMAL)
    result, exact = result[~small], exact[~small]
    assert ulps(result, exact).max() <= ULPS[kind]


@for_each("kind", ULPS)
def test_far_out_it_reaches_its_limit(kernels, kind):
    """And never goes beyond it."""
    x = np.array([20, 88, 1e4, 3e38, np.inf], dtype=np.float32)
    assert np.all(getattr(kernels, kind)(x) == 1)
    low = getattr(kernels, kind)(-x)
    assert np.all(low == -1) if kind == "tanh" else np.all((low >= 0) & (low <= np.exp(-x.astype(float)) * 1.01))
    assert np.all(np.abs(getattr(kernels, kind)(sweep(40_009))) <= 1)


def test_values_that_need_care(kernels):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4], dtype=np.float32)
    expected = {
        "relu": [0.0, -0.0, np.inf, 0, np.nan, 1e4, 0],
        "sigmoid": [0.5, 0.5, 1, 0, np.nan, 1, 0],
        "tanh": [0.0, -0.0, 1, -1, np.nan, 1, -1],
    }
    for kind, values in expected.items():
        result = getattr(kernels, kind)(x)
        wanted = np.array(values, dtype=np.float32)
        np.testing.assert_array_equal(result, wanted, err_msg=kind)
        there = ~np.isnan(wanted)
        assert same_bits(result[there], wanted[there]), f"{kind}: a sign of 0 is lost"


@for_each("kind", KINDS)
def test_subnormal_numbers_count_as_0(kernels, kind):
    x = np.array([1e-45, -1e-45, 1e-39, -1e-39], dtype=np.float32)
    expected = np.full(4, 0.5 if kind == "sigmoid" else 0, dtype=np.float32)
    np.testing.assert_allclose(getattr(kernels, kind)(x), expected, rtol=0, atol=SMALLEST_NORMAL)


@for_each("kind", KINDS)
def test_an_element_has_the_same_bits_wherever_it_lies(kernels, random, kind):
    """In the body of a vector loop or its tail, aligned or not."""
    x = (8 * random.standard_normal(300)).astype(np.float32)
    call = getattr(kernels, kind)
    whole = call(x)
    for start in [*range(17), 100]:
        for length in range(1, 70):
            assert same_bits(call(x[start : start + length]), whole[start : start + length]), (start, length)


@for_each("kind", KINDS)
def test_a_gradient_has_the_same_bits_wherever_it_lies(kernels, random, kind):
    y = getattr(kernels, kind)(random.standard_normal(300).astype(np.float32))
    d_y = random.standard_normal(300).astype(np.float32)
    call = getattr(kernels, f"{kind}_backward")
    whole = call(y, d_y)
    for start in [*range(17), 100]:
        for length in range(1, 70):
            part = slice(start, start + length)
            assert same_bits(call(y[part], d_y[part]), whole[part]), (start, length)


@for_each("shape", [(), (0,), (1,), (37,), (3, 0), (5, 7), (2, 3, 4)])
@for_each("kind", KINDS)
def test_any_shape_new_given_or_in_place(kernels, random, kind, shape):
    x = np.asarray(random.standard_normal(shape), dtype=np.float32)
    call, backward = getattr(kernels, kind), getattr(kernels, f"{kind}_backward")
    y = call(x)
    np.testing.assert_allclose(y, getattr(reference, kind)(x), rtol=4 * EPS)
    assert (y.dtype, y.shape) == (np.float32, shape)
    out = np.full(shape, np.nan, dtype=np.float32)
    assert call(x, out) is out
    assert same_bits(out, y)
    assert call(x, x) is x
    assert same_bits(x, y)

    d_y = np.asarray(random.standard_normal(shape), dtype=np.float32)
    d_x = backward(y, d_y)
    np.testing.assert_allclose(d_x, getattr(reference, f"{kind}_backward")(y, d_y), rtol=4 * EPS, atol=2 * EPS)
    assert (d_x.dtype, d_x.shape) == (np.float32, shape)
    assert backward(y, d_y, out) is out
    assert same_bits(out, d_x)
    assert backward(y, d_y, d_y) is d_y
    assert same_bits(d_y, d_x)


@for_each("kind", KINDS)
def test_nothing_around_out_changes(kernels, random, kind):
    for length in range(70):
        whole = np.full(length + 40, 12345.5, dtype=np.float32)
        x = random.standard_normal(length).astype(np.float32)
        getattr(kernels, kind)(x, whole[20 : length + 20])
        getattr(kernels, f"{kind}_backward")(x, x + 1, whole[20 : length + 20])
        whole[20 : length + 20] = 12345.5
        assert np.all(whole == 12345.5)


@for_each("kind", KINDS)
def test_backward_is_the_slope_of_forward(kernels, kind):
    """Central differences of the float64 forward form, away from the corner of relu."""
    x = np.linspace(-6, 6, 240, dtype=np.float32)
    forward, h = getattr(reference, kind), 1e-5
    slope = (forward(x.astype(float) + h) - forward(x.astype(float) - h)) / (2 * h)
    d_x = getattr(kernels, f"{kind}_backward")(getattr(kernels, kind)(x), np.full_like(x, -3))
    np.testing.assert_allclose(d_x, -3 * slope, rtol=1e-6, atol=3e-6)


def test_relu_passes_nothing_back_at_0(kernels):
    y = np.array([0.0, -0.0, 1e-45, 1e-37], dtype=np.float32)  # a subnormal number counts as 0
    d_y = np.array([5, 5, 5, 5], dtype=np.float32)
    assert kernels.relu_backward(y, d_y).tolist() == [0, 0, 0, 5]


@for_each("rows", [1, 2, 9])
@for_each("columns", [1, 3, 7, 8, 17, 33])
def test_add_bias(kernels, random, rows, columns):
    x, bias = (random.standard_normal(s).astype(np.float32) for s in ((rows, columns), columns))
    expected = reference.add_bias(x, bias).astype(np.float32)  # one addition: correctly rounded
    assert kernels.add_bias(x, bias) is x
    assert same_bits(x, expected)


@for_each("rows", [0, 1, 2, 9, 300])
@for_each("columns", [0, 1, 3, 7, 8, 17, 33])
def test_bias_backward(kernels, random, rows, columns):
    d_y = random.standard_normal((rows, columns)).astype(np.float32)
    result = kernels.bias_backward(d_y)
    bound = (rows + 1) * EPS * np.abs(d_y).sum(axis=0, dtype=float)
    assert np.all(np.abs(result - reference.bias_backward(d_y)) <= bound)
    in_order = np.zeros(columns, dtype=np.float32)
    for row in d_y:
        in_order += row
    assert same_bits(result, in_order)
    out = np.full(columns, np.nan, dtype=np.float32)
    assert kernels.bias_backward(d_y, out) is out
    assert same_bits(out, in_order)


@for_each("size", [0, 1, 5, 8, 33])
@for_each("momentum", [0.0, 0.9])
def test_sgd_over_several_steps(kernels, random, size, momentum):
    w = random.standard_normal(size).astype(np.float32)
    v = None if momentum == 0 else np.zeros(size, dtype=np.float32)
    exact, exact_v = w.astype(float), None if v is None else v.astype(float)
    for _ in range(4):
        g = random.standard_normal(size).astype(np.float32)
        assert sgd(kernels, w, g, v, 0.05, momentum) is None
        exact, exact_v = reference.sgd(exact, g, exact_v, 0.05, momentum)
    np.testing.assert_allclose(w, exact, rtol=0, atol=16 * EPS)
    if v is not None:
        np.testing.assert_allclose(v, exact_v, rtol=0, atol=32 * EPS)


def test_sgd_has_the_same_bits_wherever_an_element_lies(kernels, random):
    w, g, v = random.standard_normal((3, 200)).astype(np.float32)
    whole, whole_v = w.copy(), v.copy()
    sgd(kernels, whole, g, whole_v, 0.1, 0.9)
    for start in range(17):
        for length in (1, 2, 3, 7, 8, 9, 15, 31, 64, 99):
            part = slice(start, start + length)
            some, some_v = w[part].copy(), v[part].copy()
            sgd(kernels, some, g[part], some_v, 0.1, 0.9)
            assert same_bits(some, whole[part])
            assert same_bits(some_v, whole_v[part])


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype=dtype)


def read_only(*shape):
    array = zeros(*shape)
    array.flags.writeable = False
    return array


SHARED = zeros(64)

# Function, arguments, error, what the message says.
REFUSED = [
    ("relu", ([1.0],), TypeError, "x must be a .*float32 array, not list"),
    ("relu", (1.0,), TypeError, "x must be a .*float32 array, not float"),
    ("sigmoid", (zeros(3, dtype=float),), TypeError, "x must be .* not a 1-D float64 array"),
    ("tanh", (zeros(3, dtype=">f4"),), TypeError, "x must be .* not a 1-D >f4 array"),
    ("tanh", (zeros(3, 4).T,), ValueError, "x must be aligned and C-contiguous"),
    ("tanh", (zeros(6)[::2],), ValueError, "x must be aligned and C-contiguous"),
    ("tanh", (np.zeros(13, np.uint8)[1:].view(np.float32),), ValueError, "x must be aligned"),
    ("relu", (zeros(3), zeros(4)), ValueError, r"out has shape \(4,\), but x needs \(3,\)"),
    ("relu", (zeros(3), zeros(3, 1)), TypeError, "out must be a 1-D .* not a 2-D"),
    ("relu", (zeros(3), read_only(3)), ValueError, "out must be writable"),
    ("relu", (SHARED[:8], SHARED[4:12]), ValueError, "out shares memory with x"),
    ("softmax", (zeros(3),), TypeError, "x must be a 2-D .* not a 1-D"),
    ("softmax", (SHARED.reshape(8, 8)[:4], SHARED.reshape(8, 8)[2:6]), ValueError, "out shares memory with x"),
    ("add_bias", (zeros(3, 4), zeros(3)), ValueError, r"bias has shape \(3,\), but x needs \(4,\)"),
    ("add_bias", (read_only(3, 4), zeros(4)), ValueError, "x must be writable"),
    ("add_bias", (SHARED.reshape(8, 8), SHARED[:8]), ValueError, "x shares memory with bias"),
    ("bias_backward", (zeros(3, 4), zeros(3)), ValueError, r"out has shape \(3,\), but d_y needs \(4,\)"),
    ("bias_backward", (SHARED.reshape(8, 8), SHARED[:8]), ValueError, "out shares memory with d_y"),
] + [
    case
    for name in ("relu_backward", "sigmoid_backward", "tanh_backward", "softmax_backward")
    for case in [
        (name, (zeros(2, 3), zeros(3, 2)), ValueError, r"d_y has shape \(3, 2\), but y needs \(2, 3\)"),
        (name, (zeros(2, 3), zeros(2, 3, dtype=float)), TypeError, "d_y must be a 2-D float32 array"),
        (name, (SHARED[:6].reshape(2, 3), zeros(2, 3), SHARED[4:10].reshape(2, 3)), ValueError, "out shares .* y:"),
        (name, (zeros(2, 3), SHARED[:6].reshape(2, 3), SHARED[4:10].reshape(2, 3)), ValueError, "out shares .* d_y"),
        (name, (zeros(2, 3), zeros(2, 3), read_only(2, 3)), ValueError, "out must be writable"),
    ]
]  # fmt: skip


@for_each("name, arguments, error, words", REFUSED)
def test_what_does_not_fit_is_refused_by_name(kernels, name, arguments, error, words):
    with pytest.raises(error, match=words):
        getattr(kernels, name)(*arguments)


def test_sigmoid_and_tanh_agree(kernels):
    """tanh(x) = 2 sigmoid(2x) - 1, to within what each of them promises."""
    x = np.linspace(-9, 9, 4001, dtype=np.float32)
    np.testing.assert_allclose(kernels.tanh(x), 2 * kernels.sigmoid(2 * x).astype(float) - 1, atol=8 * EPS)
    assert math.isclose(kernels.sigmoid(np.array([-2.0], np.float32))[0], 1 / (1 + math.exp(2)), rel_tol=3 * EPS)
