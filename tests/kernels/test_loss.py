"""softmax and cross-entropy: by hand, against float64, and by differences."""

import math

import numpy as np
import pytest
from bits import same_bits
from cases import for_each

from falcon_mnist.kernels import reference

EPS = np.finfo(np.float32).eps
SHAPES = [(1, 1), (1, 10), (2, 2), (5, 3), (7, 10), (9, 33), (4, 256)]


def bytes_(*values):
    return np.array(values, dtype=np.uint8)


def drawn(random, rows, columns, scale=4.0):
    logits = (scale * random.standard_normal((rows, columns))).astype(np.float32)
    return logits, random.integers(0, columns, rows, dtype=np.uint8)


@for_each("shape", SHAPES)
@for_each("scale", [0.1, 4, 60, 1e4])
def test_softmax_matches_float64(kernels, random, shape, scale):
    x, _ = drawn(random, *shape, scale)
    y = kernels.softmax(x)
    # Two roundings of an exponent's argument are as large as the argument; exp and the sum add their own.
    bound = (shape[1] + 8) * EPS
    exponent = np.abs(x - x.max(axis=1, keepdims=True)) * EPS
    expected = reference.softmax(x)
    assert np.all(np.abs(y - expected) <= expected * (bound + 2 * exponent) + 1.3e-38)
    np.testing.assert_allclose(y.sum(axis=1, dtype=float), 1, rtol=bound)
    out = np.full(shape, np.nan, dtype=np.float32)
    assert kernels.softmax(x, out) is out
    assert same_bits(out, y)
    assert kernels.softmax(x, x) is x
    assert same_bits(x, y)


def test_softmax_by_hand(kernels):
    x = np.array([[0, 0, 0], [1e4, -1e4, 0], [-1e4, -1e4, -3e4], [0, math.log(3), -np.inf]], dtype=np.float32)
    third, half = np.float32(1) / np.float32(3), np.float32(0.5)
    expected = [[third] * 3, [1, 0, 0], [half, half, 0], [0.25, 0.75, 0]]
    np.testing.assert_allclose(kernels.softmax(x), expected, rtol=2 * EPS)
    assert np.all(kernels.softmax(x)[:3] == np.array(expected[:3], dtype=np.float32))


@for_each("bad", [np.nan, np.inf])
@for_each("place", [0, 1, 2])
def test_a_row_with_a_nan_is_all_nan_and_no_other_is(kernels, bad, place):
    x = np.zeros((3, 3), dtype=np.float32)
    x[1, place] = bad
    y = kernels.softmax(x)
    assert np.isnan(y).all(axis=1).tolist() == [False, True, False]
    assert np.isfinite(y[[0, 2]]).all()
    loss, _ = kernels.softmax_cross_entropy(x, bytes_(0, 1, 2))
    assert math.isnan(loss)


def test_a_row_has_the_same_bits_whatever_stands_beside_it(kernels, random):
    x, labels = drawn(random, 40, 10)
    d_x, whole = np.empty_like(x), kernels.softmax(x)
    kernels.softmax_cross_entropy(x, labels, d_x)
    backward = kernels.softmax_backward(whole, x)
    for first, count in [(0, 1), (39, 1), (3, 2), (5, 3), (7, 4), (1, 17), (0, 33)]:
        rows = slice(first, first + count)
        some = np.empty((count, 10), dtype=np.float32)
        kernels.softmax_cross_entropy(x[rows], labels[rows], some)
        assert same_bits(kernels.softmax(x[rows]), whole[rows])
        assert same_bits(some, d_x[rows])
        assert same_bits(kernels.softmax_backward(whole[rows], x[rows]), backward[rows])


@for_each("shape", SHAPES)
def test_softmax_backward_matches_float64(kernels, random, shape):
    y = reference.softmax(drawn(random, *shape)[0]).astype(np.float32)
    d_y = random.standard_normal(shape).astype(np.float32)
    result = kernels.softmax_backward(y, d_y)
    bound = (shape[1] + 3) * EPS * y * (np.abs(d_y) + (np.abs(d_y) * y).sum(axis=1, keepdims=True))
    assert np.all(np.abs(result - reference.softmax_backward(y, d_y)) <= bound)
    out = np.full(shape, np.nan, dtype=np.float32)
    assert kernels.softmax_backward(y, d_y, out) is out
    assert same_bits(out, result)
    assert kernels.softmax_backward(y, d_y, d_y) is d_y
    assert same_bits(d_y, result)


def test_softmax_backward_is_the_slope_of_softmax(kernels, random):
    x = random.standard_normal((1, 6))
    h = 1e-6 * np.eye(6)
    slopes = (reference.softmax(x + h) - reference.softmax(x - h)) / 2e-6  # (6 inputs, 6 outputs)
    y = kernels.softmax(x.astype(np.float32))
    for j in range(6):
        d_y = np.zeros((1, 6), dtype=np.float32)
        d_y[0, j] = 2
        np.testing.assert_allclose(kernels.softmax_backward(y, d_y)[0], 2 * slopes[:, j], rtol=0, atol=1e-6)


@for_each("shape", SHAPES)
@for_each("scale", [0.1, 4, 60, 1e4])
def test_loss_and_gradient_match_float64(kernels, random, shape, scale):
    logits, labels = drawn(random, *shape, scale)
    d_logits = np.full(shape, np.nan, dtype=np.float32)
    loss, correct = kernels.softmax_cross_entropy(logits, labels, d_logits)
    expected, right, gradient = reference.softmax_cross_entropy(logits, labels)
    # The logarithm's argument is a float32 sum; the distance to the label's logit is taken in float64.
    assert abs(loss - expected) <= shape[0] * (shape[1] + 8) * EPS
    assert (type(correct), correct) == (int, right)
    exponent = 2 * EPS * np.abs(logits - logits.max(axis=1, keepdims=True))
    bound = reference.softmax(logits) * ((shape[1] + 8) * EPS + exponent) + EPS
    assert np.all(np.abs(d_logits - gradient) <= bound)
    assert kernels.softmax_cross_entropy(logits, labels) == (loss, correct)


def test_the_gradient_is_the_slope_of_the_loss(kernels, random):
    logits, labels = drawn(random, 5, 7)
    d_logits = np.empty_like(logits)
    kernels.softmax_cross_entropy(logits, labels, d_logits)
    h = 1e-5
    for i, j in np.ndindex(logits.shape):
        up, down = logits.astype(float), logits.astype(float)
        up[i, j] += h
        down[i, j] -= h
        slope = (loss_of(up, labels) - loss_of(down, labels)) / (2 * h)
        assert abs(d_logits[i, j] - slope) < 1e-6


def loss_of(logits, labels):
    """From the definition: the sum of -log(softmax) at the labels."""
    return float(sum(np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels, strict=True)))


def test_loss_by_hand(kernels):
    logits = np.array([[0, 0], [1e4, -1e4], [1e4, -1e4], [-1e4, 0]], dtype=np.float32)
    d = np.empty_like(logits)
    loss, correct = kernels.softmax_cross_entropy(logits, bytes_(1, 0, 1, 1), d)
    assert loss == pytest.approx(math.log(2) + 0 + 2e4 + 0, abs=1e-10)
    assert correct == 2
    assert d.tolist() == [[0.5, -0.5], [0, 0], [1, -1], [0, 0]]


def test_the_first_of_equal_logits_counts(kernels):
    logits = np.array([[1, 3, 3, 2], [3, 3, 3, 3], [-0.0, 0.0, -1, 0]], dtype=np.float32)
    for labels, correct in (((1, 0, 0), 3), ((2, 1, 1), 0), ((2, 0, 3), 1)):
        assert kernels.softmax_cross_entropy(logits, bytes_(*labels))[1] == correct


@for_each("shape", [(0, 10), (0, 0)])
def test_no_rows(kernels, shape):
    logits = np.empty(shape, dtype=np.float32)
    assert kernels.softmax_cross_entropy(logits, bytes_()) == (0, 0)
    assert kernels.softmax(logits).shape == shape
    assert kernels.softmax_backward(logits, logits).shape == shape


@for_each("label", [10, 11, 255])
def test_a_label_that_is_no_class_is_refused(kernels, label):
    logits = np.zeros((3, 10), dtype=np.float32)
    kernels.softmax_cross_entropy(logits, bytes_(0, 9, 0))
    with pytest.raises(ValueError, match=rf"labels must be below 10, the number of classes, not {label}"):
        kernels.softmax_cross_entropy(logits, bytes_(0, label, 0))


def test_arguments_that_do_not_fit_are_refused_by_name(kernels):
    logits, labels = np.zeros((3, 10), dtype=np.float32), bytes_(0, 1, 2)
    shared = np.zeros(64, dtype=np.float32)
    refused = [
        ((logits[0], labels), TypeError, "logits must be a 2-D float32 array, not a 1-D"),
        ((logits.T, labels), ValueError, "logits must be aligned and C-contiguous"),
        ((logits, labels.astype(np.int64)), TypeError, "labels must be a 1-D uint8 array, not a 1-D int64"),
        ((logits, labels[:2]), ValueError, r"labels has shape \(2,\), but .* needs \(3,\)"),
        ((logits, labels, logits[:2]), ValueError, r"d_logits has shape \(2, 10\), but logits needs \(3, 10\)"),
        ((logits, labels, logits), ValueError, "d_logits shares memory with logits"),
        (
            (logits, shared[:1].view(np.uint8)[:3], shared[:30].reshape(3, 10)),
            ValueError,
            "d_logits shares memory with labels",
        ),
    ]
    for arguments, error, words in refused:
        with pytest.raises(error, match=words):
            kernels.softmax_cross_entropy(*arguments)


@for_each("smoothing", [0.0, 0.1, 0.9])
@for_each("rows", [1, 17, 40])
def test_smoothed_labels_match_float64(kernels, random, rows, smoothing):
    logits = (3 * random.standard_normal((rows, 10))).astype(np.float32)
    labels = random.integers(0, 10, rows, dtype=np.uint8)
    d_logits = np.empty_like(logits)
    loss, correct = kernels.softmax_cross_entropy(logits, labels, d_logits, smoothing=smoothing)
    exact_loss, exact_correct, exact = reference.softmax_cross_entropy(logits, labels, smoothing)
    assert loss == pytest.approx(exact_loss, rel=1e-6)
    assert correct == exact_correct
    np.testing.assert_allclose(d_logits, exact, rtol=0, atol=1e-6)
