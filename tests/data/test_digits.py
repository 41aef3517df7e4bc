from __future__ import annotations

import hashlib

import numpy as np
import pytest

from falcon_mnist.data import digits
from falcon_mnist.data.strokes import STYLES

# The first batch and the last.
CHECKSUMS = {
    0: "4db292712e19f53b39b4e678f5c087892330963d5c425644a2d2091a826de966",
    13: "59006ec78b2df6c8834b0e99989e82f2a60897cf40042e5c704920060d8d691f",
}


@pytest.fixture(scope="module")
def batches(drawn_digits, last_drawn_digits):
    return {0: drawn_digits, 13: last_drawn_digits}


@pytest.fixture(scope="module")
def drawn(batches):
    return batches[0]


@pytest.mark.parametrize("batch", CHECKSUMS)
def test_the_first_and_the_last_batch_are_these_bytes_on_every_machine(batches, batch: int):
    images, labels = batches[batch]
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == CHECKSUMS[batch]


def test_the_synthetic_set_is_as_large_as_mnist():
    drawing = digits.DRAWING
    assert (drawing.version, drawing.training, drawing.test) == (1, 60_000, 10_000)
    assert drawing.batch == digits.BATCH
    assert drawing.draw is digits.draw


def test_batches_differ(batches):
    assert not np.array_equal(batches[0][0], batches[13][0])


def test_every_digit_is_drawn_about_as_often(drawn):
    counts = np.bincount(drawn[1], minlength=10)
    assert len(counts) == 10
    assert counts.min() > 400


def extent(inked: np.ndarray) -> np.ndarray:
    """From the first line with ink to the last, of each row of (rows, lines)."""
    return inked.shape[1] - inked.argmax(axis=1) - inked[:, ::-1].argmax(axis=1)


def test_digits_are_in_the_form_of_mnist(drawn):
    images = drawn[0].reshape(-1, 28, 28)
    ink = images > 0
    longer = np.maximum(extent(ink.any(axis=2)), extent(ink.any(axis=1)))
    assert longer.max() == 20
    # The round tips of a thin pen may leave a pixel blank.
    assert longer.min() >= 18
    assert (images.max(axis=(1, 2)) > 200).all()
    # Anti-aliased: edges are grey.
    grey = (images > 30) & (images < 225)
    assert (grey.sum(axis=(1, 2)) > 10).all()
    assert 0.16 < ink.mean() < 0.23


def test_centre_of_mass_is_the_middle_of_mnist(drawn):
    images = drawn[0].reshape(-1, 28, 28).astype(np.float64)
    total = images.sum(axis=(1, 2))
    for axis in (1, 2):
        centre = images.sum(axis=axis) @ np.arange(28) / total
        # A box of 20 cannot always be moved as far as its mass asks for.
        assert abs(centre.mean() - 14) < 0.05
        assert np.mean(abs(centre - 14) <= 0.5) > 0.95


def test_digits_of_one_label_all_differ(drawn):
    images, labels = drawn
    for digit in range(10):
        rows = images[labels == digit]
        assert len({row.tobytes() for row in rows}) == len(rows)


def test_styles_are_at_least_five_for_each_digit_and_none_is_given_twice():
    assert len(STYLES) == 10
    for styles in STYLES:
        assert len(styles) >= 5
        assert len(set(styles)) == len(styles)
        assert all(len(stroke) >= 2 for style in styles for stroke in style)


def test_distance_is_to_the_nearest_point_of_the_nearest_line():
    # One horizontal line from (5, 10) to (15, 10), and one that has no length, at (5, 10).
    x, y = np.float32([[5, 15, 5]]), np.float32([[10, 10, 10]])
    distance = digits._distance(x, y, ((0, 1), (0, 2)), reach=7)[0]
    assert distance.shape == (20, 20)
    assert distance[3, 9] == 6.5
    assert distance[12, 19] == pytest.approx(np.hypot(4.5, 2.5))
    assert distance[9, 0] == pytest.approx(np.hypot(4.5, 0.5))


def test_curve_goes_through_its_points_and_straight_lines_stay_straight():
    style = (((0.0, 0.0), (1.0, 0.0), (2.0, 0.0)), ((2.0, 0.0), (2.0, 5.0)))
    points = np.float32([[0, 1, 2, 2, 2]])
    curve = digits._curve(style, points)[0]
    lines = digits._lines(style)
    assert {curve[start] for start, _ in lines} >= {0, 1}
    assert curve[lines[-1][1]] == 2
    walked = [curve[start] for start, _ in lines[:6]] + [curve[lines[5][1]]]
    assert walked == sorted(walked)
    # Six lines for the two spans of the first stroke, three for the span of the second; they do not touch.
    assert len(lines) == 9
    assert lines[5][1] != lines[6][0]
