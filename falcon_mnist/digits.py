"""Digits drawn from pen strokes, in the form of MNIST and in as many hands as it needs: no data, only ranges.

Each digit is a style of `strokes`, whose points are moved a little, bent, slanted, turned and stretched; the
curve through them is drawn with a pen of some width, scaled into 20x20 pixels, and put into 28x28 so that its
centre of mass is in the middle, as MNIST was made.

Digit i is the same bytes on every machine. So only operations that IEEE 754 defines to the last bit are
used (+ - * / sqrt, comparisons) in an order that is written down here: no sin or exp of a system's library,
no matrix product, no floating-point sum whose order is up to the CPU, and random numbers only as raw words.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from falcon_mnist.strokes import STYLES, Style

# To be raised with every change that changes a drawn byte: kept data is found by it.
VERSION = 1

TRAINING, TEST = 60_000, 10_000
BATCH = 1_000

Floats = npt.NDArray[np.float32]

_SEED = 20_240_229
_SPAN_STEPS = 3
_BOX, _SIZE = 20, 28
# So many digits are drawn at once that what is worked on stays in the CPU's second cache.
_CHUNK = 64
_MAX_POINTS = max(sum(map(len, style)) for styles in STYLES for style in styles)
# Uniform numbers for each digit: the hand's, then two for each coordinate of each point.
_HAND = 24
_UNIFORMS = _HAND + 4 * _MAX_POINTS


def draw(batch: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Digits `batch * BATCH` and following: images uint8 (BATCH, 784) and labels uint8 (BATCH,)."""
    words = np.random.PCG64(np.random.SeedSequence((_SEED, batch))).random_raw(BATCH * (1 + _UNIFORMS))
    words = words.reshape(BATCH, 1 + _UNIFORMS)
    labels = (words[:, 0] % np.uint64(10)).astype(np.uint8)
    # 24 bits fill a float32 without rounding.
    uniforms = (words[:, 1:] >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    images = np.empty((BATCH, _SIZE * _SIZE), np.uint8)
    for digit, styles in enumerate(STYLES):
        rows = np.flatnonzero(labels == digit)
        chosen = (uniforms[rows, 0] * np.float32(len(styles))).astype(np.intp)
        for index, style in enumerate(styles):
            of_style = rows[chosen == index]
            for start in range(0, len(of_style), _CHUNK):
                some = of_style[start : start + _CHUNK]
                images[some] = _images(style, uniforms[some])
    return images, labels


def _images(style: Style, u: Floats) -> npt.NDArray[np.uint8]:
    """Draw (rows, 784) uint8 of one style, from uniform numbers (rows, _UNIFORMS)."""
    x, y = _written(style, u)
    starts, ends = _segments(style)
    radius = _between(u[:, 6:7], 0.7, 1.7)
    x, y = _fitted(x, y, radius)
    distance = _distance(x, y, starts, ends)
    softness = np.float32(1.1)
    ink = (radius[:, :, None] - distance) / softness + np.float32(0.5)
    ink = np.minimum(np.maximum(ink, np.float32(0)), np.float32(1))
    return _centred((ink * np.float32(255) + np.float32(0.5)).astype(np.uint8))


def _between(u: Floats, low: float, high: float) -> Floats:
    return u * np.float32(high - low) + np.float32(low)


def _bell(u: Floats, v: Floats, spread: float) -> Floats:
    """Two uniform numbers as one around zero, at most `spread` away, far away seldom."""
    return (u + v - np.float32(1)) * np.float32(spread)


def _written(style: Style, u: Floats) -> tuple[Floats, Floats]:
    """The curve of each digit as points x and y (rows, points) through the points that the hand meant."""
    points = np.array([point for stroke in style for point in stroke], np.float32)
    count = len(points)
    a, b, c, d = (u[:, _HAND + i * _MAX_POINTS : _HAND + i * _MAX_POINTS + count] for i in range(4))
    x = points[:, 0] + _bell(a, b, 0.2)
    y = points[:, 1] + _bell(c, d, 0.2)
    x, y = _shared_corners(style, x), _shared_corners(style, y)
    # Aspect, slant, then a turn by the rational form of sine and cosine.
    x = x * _between(u[:, 1:2], 0.7, 1.3)
    x = x - y * (np.float32(0.2) + _bell(u[:, 2:3], u[:, 3:4], 0.5)) 
    t = _bell(u[:, 4:5], u[:, 5:6], 0.15)
    scale = np.float32(1) / (np.float32(1) + t * t)
    cos, sin = (np.float32(1) - t * t) * scale, (t + t) * scale
    x, y = x * cos - y * sin, x * sin + y * cos
    return _curve(style, x), _curve(style, y)


def _shared_corners(style: Style, values: Floats) -> Floats:
    """Where a stroke begins at the point where another ended, the two stay together."""
    flat = [point for stroke in style for point in stroke]
    return values[:, [flat.index(point) for point in flat]]


def _curve(style: Style, values: Floats) -> Floats:
    """One coordinate of Catmull-Rom curves through each stroke's points: (rows, points) to (rows, more)."""
    pieces, first = [], 0
    half, three_halves = np.float32(0.5), np.float32(1.5)
    for stroke in style:
        p = values[:, first : first + len(stroke)]
        first += len(stroke)
        before = np.concatenate([p[:, :1], p[:, :-2]], axis=1)
        after = np.concatenate([p[:, 2:], p[:, -1:]], axis=1)
        a, b = p[:, :-1], p[:, 1:]
        cubic = (a - b) * three_halves + (after - before) * half
        square = before - a * np.float32(2.5) + b * np.float32(2) - after * half
        linear = (b - before) * half
        for step in range(_SPAN_STEPS):
            t = np.float32(step) / np.float32(_SPAN_STEPS)
            pieces.append(((cubic * t + square) * t + linear) * t + a)
        pieces.append(p[:, -1:])
    return np.concatenate(pieces, axis=1)


@cache
def _segments(style: Style) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Which points of `_curve` are joined by a line."""
    joined, base = [], 0
    for stroke in style:
        spans = len(stroke) - 1
        order = [base + step * spans + span for span in range(spans) for step in range(_SPAN_STEPS)]
        order.append(base + spans * _SPAN_STEPS)
        joined += list(pairwise(order))
        base += spans * _SPAN_STEPS + 1
    starts, ends = np.array(joined).T
    return starts, ends


def _fitted(x: Floats, y: Floats, radius: Floats) -> tuple[Floats, Floats]:
    """Scale and move so that the ink just fits the box, its shape kept."""
    left, right = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    top, bottom = y.min(axis=1, keepdims=True), y.max(axis=1, keepdims=True)
    scale = (np.float32(_BOX) - radius - radius) / np.maximum(right - left, bottom - top)
    half = np.float32(0.5)
    middle = np.float32(_BOX / 2)
    x = (x - (left + right) * half) * scale + middle
    y = (y - (top + bottom) * half) * scale + middle
    return x, y


def _distance(x: Floats, y: Floats, starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]) -> Floats:
    """From the centre of each pixel of the box to the nearest line: (rows, 20, 20)."""
    centres = np.arange(_BOX, dtype=np.float32) + np.float32(0.5)
    nearest = np.full((len(x), _BOX, _BOX), 1e6, np.float32)
    zero, one = np.float32(0), np.float32(1)
    for start, end in zip(starts, ends, strict=True):
        to_x = (centres - x[:, start, None])[:, None, :]
        to_y = (centres - y[:, start, None])[:, :, None]
        step_x = (x[:, end] - x[:, start])[:, None, None]
        step_y = (y[:, end] - y[:, start])[:, None, None]
        per = one / np.maximum(step_x * step_x + step_y * step_y, np.float32(1e-6))
        # How far along the line the nearest point is, from 0 to 1.
        along = to_x * (step_x * per) + to_y * (step_y * per)
        np.maximum(along, zero, out=along)
        np.minimum(along, one, out=along)
        away_x = to_x - along * step_x
        along *= step_y
        away_y = to_y - along
        away_x *= away_x
        away_y *= away_y
        away_x += away_y
        np.minimum(nearest, away_x, out=nearest)
    return np.sqrt(nearest)


def _centred(boxes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Put boxes (rows, 20, 20) into images (rows, 784) with the centre of mass in the middle."""
    mass = boxes.astype(np.int64)
    total = mass.sum(axis=(1, 2))
    pixels = np.arange(_BOX)
    # The middle lies between two pixels; all in integers, so that no sum is rounded.
    left = _offset((mass.sum(axis=1) * pixels).sum(axis=1), total)
    top = _offset((mass.sum(axis=2) * pixels).sum(axis=1), total)
    images = np.zeros((len(boxes), _SIZE, _SIZE), np.uint8)
    rows = np.arange(len(boxes))[:, None, None]
    images[rows, top[:, None, None] + pixels[:, None], left[:, None, None] + pixels] = boxes
    return images.reshape(len(boxes), _SIZE * _SIZE)


def _offset(moment: npt.NDArray[np.int64], total: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Round(13.5 - moment / total), kept within the image."""
    offset: npt.NDArray[np.int64] = np.clip((14 * total - moment) // total, 0, _SIZE - _BOX)
    return offset
