"""Curves in the terminal, drawn with Braille dots: two across and four down in each character."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.text import Text

from falcon_mnist.cli import console

# The bits of a character's dots, row by row (Unicode, "Braille Patterns").
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_EMPTY = 0x2800
COLOURS = ("cyan", "magenta")

Curve = Sequence[float]


def draw(curves: Sequence[Curve], width: int, height: int) -> Text:
    """Curves over their points' numbers in `width` x `height` characters, with the least and largest value beside."""
    known = [np.asarray(curve, float) for curve in curves if len(curve)]
    low, high = min(curve.min() for curve in known), max(curve.max() for curve in known)
    labels = [console.loss(high), *[""] * (height - 2), console.loss(low)]
    margin = max(map(len, labels))
    cells = np.zeros((height, width), np.int64)
    owners = np.zeros((height, width), np.int64)  # which curve gives a character its colour: the last one there
    for number, curve in enumerate(known):
        dots = _dots(curve, 2 * width, 4 * height, low, high)
        of_curve = sum(dots[row::4, column::2] * _BITS[row][column] for row in range(4) for column in range(2))
        cells |= of_curve
        owners[of_curve > 0] = number
    text = Text()
    for label, row, colours in zip(labels, cells, owners, strict=True):
        text.append(f"{label:>{margin}} │", "dim")
        for cell, owner in zip(row, colours, strict=True):
            text.append(chr(_EMPTY + int(cell)), COLOURS[owner % len(COLOURS)])
        text.append("\n")
    return text


def _dots(curve: np.ndarray, width: int, height: int, low: float, high: float) -> np.ndarray:
    """Where the curve passes: (height, width), the largest value on top."""
    places = np.linspace(0, len(curve) - 1, width) if len(curve) > 1 else np.zeros(1)
    values = np.interp(places, np.arange(len(curve)), curve)
    share = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    rows = np.round((1 - share) * (height - 1)).astype(int)
    dots = np.zeros((height, width), np.int64)
    before = rows[0]
    for column, row in enumerate(rows):  # a steep curve stays in one piece
        dots[min(before, row) : max(before, row) + 1, column] = 1
        before = row
    return dots
