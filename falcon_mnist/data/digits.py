"""Synthetic digits in the form of MNIST, drawn from pen strokes with random variations; no real digit is used.

Each digit is a style of `strokes`, whose points are moved a little, bent, slanted, turned and stretched; the
curve through them is drawn with a pen of some width, scaled into 20x20 pixels, and put into 28x28 so that its
centre of mass is in the middle, as MNIST was made.

Digit i is the same bytes on every machine. So only operations that IEEE 754 defines to the last bit are
used (+ - * / sqrt, comparisons) in an order that is written down here: no sin or exp of a system's library,
no matrix product, no floating-point sum whose order is up to the CPU, and random numbers only as raw words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from falcon_mnist.constants import PIXELS, SIDE
from falcon_mnist.data.strokes import STYLES, Style

BATCH = 5_000

Floats = npt.NDArray[np.float32]

_SEED = 20_240_229
_SPAN_STEPS = 3
_BOX = 20  # of the digit in the image
# Digits drawn at once: few enough for their arrays to stay in the second-level cache.
_CHUNK = 128

# How much hands differ, found by training on the drawn digits and testing on real ones. In units of half a
# digit's height, unless they are factors.
_JITTER = 0.7  # how far a point strays, before it is smoothed over its neighbours
_WAIST = 0.3  # how far the middle moves up or down
_FOOT = 0.3  # how much wider the foot is than the head
_BEND = 0.15  # how far the middle moves to a side
_ASPECT = (0.8, 1.6)
_SLANT = (0.12, 0.7)  # on average to the right, and how much more or less
_RISE = 0.4  # how much lines climb or fall
_TURN = 0.15  # tangent of half the angle of a turn
_RADIUS = (0.8, 2.7)  # of the pen, in pixels; broad ones are rarer
_SOFTNESS = 1.2  # pixels from no ink to full ink at the edge of a stroke

_MAX_POINTS = max(sum(map(len, style)) for styles in STYLES for style in styles)
# Each digit uses a row of uniform numbers. Its columns: one for each of the first four names; two from each _FOR_ name
# on, which `_bell` adds up; from _FOR_POINTS on, two for each coordinate of each point.
_STYLE, _PEN, _PEN_TOO, _WIDTH = 0, 1, 2, 3
_FOR_WAIST, _FOR_FOOT, _FOR_BEND, _FOR_SLANT, _FOR_RISE, _FOR_TURN = 4, 6, 8, 10, 12, 14
_FOR_POINTS = 16
_UNIFORMS = _FOR_POINTS + 4 * _MAX_POINTS

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


def draw(batch: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Digits `batch * BATCH` and following: images uint8 (BATCH, 784) and labels uint8 (BATCH,)."""
    words = np.random.PCG64(np.random.SeedSequence((_SEED, batch))).random_raw(BATCH * (1 + _UNIFORMS))
    words = words.reshape(BATCH, 1 + _UNIFORMS)
    labels = (words[:, 0] % np.uint64(10)).astype(np.uint8)
    # 24 bits fill a float32 without rounding.
    uniforms = (words[:, 1:] >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    images = np.empty((BATCH, PIXELS), np.uint8)
    for digit, styles in enumerate(STYLES):
        rows = np.flatnonzero(labels == digit)
        chosen = (uniforms[rows, _STYLE] * np.float32(len(styles))).astype(np.intp)
        for index, style in enumerate(styles):
            of_style = rows[chosen == index]
            for start in range(0, len(of_style), _CHUNK):
                some = of_style[start : start + _CHUNK]
                images[some] = _images(style, uniforms[some])
    return images, labels


@dataclass(frozen=True)
class Drawing:
    """What a data set is drawn with, and how many digits it has; `batch` are drawn at a time."""

    draw: Callable[[int], tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]] = draw
    # To be raised with every change that changes a drawn byte: kept data is found by it.
    version: int = 1
    training: int = 60_000
    test: int = 10_000
    batch: int = BATCH


DRAWING = Drawing()


def _images(style: Style, u: Floats) -> npt.NDArray[np.uint8]:
    """Digits of one style as uint8 (rows, 784), from uniform numbers (rows, _UNIFORMS)."""
    radius = _between(u[:, _PEN, None] * u[:, _PEN_TOO, None], *_RADIUS)
    x, y = _fitted(*_written(style, u), radius)
    distance = _distance(x, y, _lines(style), reach=float(radius.max()) + _SOFTNESS)
    ink = (radius[:, :, None] - distance) / np.float32(_SOFTNESS) + _HALF
    ink = np.minimum(np.maximum(ink, _ZERO), _ONE)
    return _centred((ink * np.float32(255) + _HALF).astype(np.uint8))


def _between(u: Floats, low: float, high: float) -> Floats:
    return u * np.float32(high - low) + np.float32(low)


def _bell(u: Floats, column: int, spread: float, count: int = 1) -> Floats:
    """Triangular distribution on (-spread, spread): sums of two uniform numbers, from two groups of `count` columns."""
    first, second = u[:, column : column + count], u[:, column + count : column + 2 * count]
    return (first + second - _ONE) * np.float32(spread)


def _written(style: Style, u: Floats) -> tuple[Floats, Floats]:
    """The curve that each hand makes of a style, as points x and y (rows, points)."""
    points = np.array([point for stroke in style for point in stroke], np.float32)
    count = len(points)
    x = points[:, 0] + _strayed(style, _bell(u, _FOR_POINTS, _JITTER, count))
    y = points[:, 1] + _strayed(style, _bell(u, _FOR_POINTS + 2 * count, _JITTER, count))
    y = y + (_ONE - y * y) * _bell(u, _FOR_WAIST, _WAIST)
    x = x * (_ONE + y * _bell(u, _FOR_FOOT, _FOOT))
    x = x + (_ONE - y * y) * _bell(u, _FOR_BEND, _BEND)
    x = x * _between(u[:, _WIDTH, None], *_ASPECT)
    x = x - y * (np.float32(_SLANT[0]) + _bell(u, _FOR_SLANT, _SLANT[1]))
    y = y + x * _bell(u, _FOR_RISE, _RISE)
    # A turn, by the rational form of cosine and sine.
    t = _bell(u, _FOR_TURN, _TURN)
    scale = _ONE / (_ONE + t * t)
    cos, sin = (_ONE - t * t) * scale, (t + t) * scale
    return _curve(style, x * cos - y * sin), _curve(style, x * sin + y * cos)


def _strayed(style: Style, moves: Floats) -> Floats:
    """Moves (rows, points) averaged with those of the neighbours, as a hand errs smoothly.

    A point that two strokes share gets one move, so that they stay joined.
    """
    before = np.concatenate([moves[:, :1], moves[:, :-1]], axis=1)
    after = np.concatenate([moves[:, 1:], moves[:, -1:]], axis=1)
    smooth = (before + moves + after) * np.float32(1 / 3)
    points = [point for stroke in style for point in stroke]
    together: Floats = smooth[:, [points.index(point) for point in points]]
    return together


def _curve(style: Style, values: Floats) -> Floats:
    """One coordinate of Catmull-Rom curves through each stroke's points: (rows, points) to (rows, more)."""
    pieces, first = [], 0
    for stroke in style:
        p = values[:, first : first + len(stroke)]
        first += len(stroke)
        before = np.concatenate([p[:, :1], p[:, :-2]], axis=1)
        after = np.concatenate([p[:, 2:], p[:, -1:]], axis=1)
        a, b = p[:, :-1], p[:, 1:]
        cubic = (a - b) * np.float32(1.5) + (after - before) * _HALF
        square = before - a * np.float32(2.5) + b * np.float32(2) - after * _HALF
        linear = (b - before) * _HALF
        for step in range(_SPAN_STEPS):
            t = np.float32(step / _SPAN_STEPS)
            pieces.append(((cubic * t + square) * t + linear) * t + a)
        pieces.append(p[:, -1:])
    return np.concatenate(pieces, axis=1)


@cache
def _lines(style: Style) -> tuple[tuple[int, int], ...]:
    """The line segments of the drawing, as pairs of indices into the points of `_curve`."""
    joined: list[tuple[int, int]] = []
    base = 0
    for stroke in style:
        spans = len(stroke) - 1
        in_order = [base + step * spans + span for span in range(spans) for step in range(_SPAN_STEPS)]
        last = base + spans * _SPAN_STEPS
        joined += pairwise([*in_order, last])
        base = last + 1
    return tuple(joined)


def _fitted(x: Floats, y: Floats, radius: Floats) -> tuple[Floats, Floats]:
    """Scale and move so that the ink just fits the box, its shape kept."""
    left, right = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    top, bottom = y.min(axis=1, keepdims=True), y.max(axis=1, keepdims=True)
    scale = (np.float32(_BOX) - radius - radius) / np.maximum(right - left, bottom - top)
    middle = np.float32(_BOX / 2)
    x = (x - (left + right) * _HALF) * scale + middle
    y = (y - (top + bottom) * _HALF) * scale + middle
    return x, y


def _distance(x: Floats, y: Floats, lines: tuple[tuple[int, int], ...], reach: float) -> Floats:
    """From the centre of each pixel of the box to the nearest line: (rows, 20, 20). What is further away than `reach`
    may be given a larger distance.
    """
    # Rows last, so that each innermost loop is over all of them: (points, rows), (20, rows), (20, 20, rows).
    x, y = np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)
    centres = np.arange(_BOX, dtype=np.float32)[:, None] + _HALF
    nearest = np.full((_BOX, _BOX, x.shape[1]), 1e6, np.float32)
    buffers = np.empty_like(nearest), np.empty_like(nearest)
    tops = np.floor(y.min(axis=1) - reach).clip(0, _BOX).astype(int).tolist()
    bottoms = np.ceil(y.max(axis=1) + reach).clip(0, _BOX).astype(int).tolist()
    for start, end in lines:
        # The lines of pixels that may be in reach, of any row.
        near = slice(min(tops[start], tops[end]), max(bottoms[start], bottoms[end]))
        along, away = buffers[0][near], buffers[1][near]
        to_x = centres - x[start]
        to_y = (centres[near] - y[start])[:, None]
        step_x, step_y = x[end] - x[start], y[end] - y[start]
        per = _ONE / np.maximum(step_x * step_x + step_y * step_y, np.float32(1e-6))
        # How far along the line its nearest point is, from 0 to 1; then squares, in place for speed.
        np.add(to_x * (step_x * per), to_y * (step_y * per), out=along)
        np.clip(along, _ZERO, _ONE, out=along)
        np.subtract(to_x, np.multiply(along, step_x, out=away), out=away)
        along *= step_y
        np.subtract(to_y, along, out=along)
        away *= away
        along *= along
        away += along
        np.minimum(nearest[near], away, out=nearest[near])
    return np.sqrt(nearest).transpose(2, 0, 1)


def _centred(boxes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Put boxes (rows, 20, 20) into images (rows, 784) with the centre of mass in the middle."""
    mass = boxes.astype(np.int64)
    total = mass.sum(axis=(1, 2))
    pixels = np.arange(_BOX)
    # MNIST's middle is the pixel (14, 14); all in integers, so that no sum is rounded.
    left = _offset((mass.sum(axis=1) * pixels).sum(axis=1), total)
    top = _offset((mass.sum(axis=2) * pixels).sum(axis=1), total)
    images = np.zeros((len(boxes), SIDE, SIDE), np.uint8)
    rows = np.arange(len(boxes))[:, None, None]
    images[rows, top[:, None, None] + pixels[:, None], left[:, None, None] + pixels] = boxes
    return images.reshape(len(boxes), PIXELS)


def _offset(moment: npt.NDArray[np.int64], total: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Round(14 - moment / total), kept within the image."""
    offset: npt.NDArray[np.int64] = np.clip((29 * total - 2 * moment) // (2 * total), 0, SIDE - _BOX)
    return offset
