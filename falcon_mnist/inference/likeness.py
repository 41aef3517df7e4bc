"""Whether rows look like MNIST's digits. Others are computed too, but what a network says of them means little.

All bounds lie well beyond the 10,000 test digits: their pixels are 0.028 to 0.33 on average, those of the frame around
their 20 x 20 pixels at most 0.06, and their centre of mass is within half a pixel of row 14, column 14.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from falcon_mnist import kernels
from falcon_mnist.constants import PIXELS, SIDE, Array
from falcon_mnist.inference.predictors import Predictor, adhoc

_ROUNDING = 1e-3  # of pixels, below 0 and above 1
_LEAST_INK = 0.01  # on average
_BRIGHTEST_FRAME = 1 / 3  # on average
_CENTRE = 14.0
_FURTHEST = 1.5  # pixels from there, along a row or a column
MOST_WARNED = 10  # rows that a warning lists

_DOWN, _RIGHT = (axis.reshape(PIXELS) - _CENTRE for axis in np.mgrid[:SIDE, :SIDE])
_FRAME = (np.maximum(abs(_DOWN + 0.5), abs(_RIGHT + 0.5)) > 10) / (PIXELS - 20**2)


def warnings(rows: Array | npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
    """The `warnings` of an answer to `rows` (n, 784), bytes or finite floats: one of each code that fits some row."""
    within = rows.dtype == np.uint8 or kernels.within(cast("Array", rows), 1 + _ROUNDING)
    if within and kernels.within(_room()(rows).logits, math.inf):
        return []
    pixels: Array = np.divide(rows, 255 if rows.dtype == np.uint8 else 1, dtype=np.float32)
    lows, highs = pixels.min(axis=1), pixels.max(axis=1)
    outside = (lows < -_ROUNDING) | (highs > 1 + _ROUNDING)
    # With another range, the rest is judged as it would be in this one.
    scaled: Array = np.clip(pixels / np.maximum(highs, 1)[:, np.newaxis], 0, 1)
    beyond = _room()(scaled).logits < 0
    checks = (
        ("range", outside | beyond[:, 0], pixels, _range),
        ("polarity", beyond[:, 1], scaled, _polarity),
        ("centre", beyond[:, 2:].any(axis=1), scaled, _offset),
    )
    return [
        _warning(code, np.flatnonzero(which), shown, detail) for code, which, shown, detail in checks if which.any()
    ]


def _warning(code: str, at: npt.NDArray[np.int64], pixels: Array, detail: Callable[[Array], str]) -> dict[str, Any]:
    first = int(at[0])
    return {"code": code, "rows": at[:MOST_WARNED].tolist(), "detail": f"Row {first} {detail(pixels[first])}."}


@cache
def _room() -> Predictor:
    """Every rule but the range is linear in the pixels: one layer, whose outputs are below 0 where a row breaks it."""
    weights = [np.full(PIXELS, 1 / PIXELS), -_FRAME]
    weights += [_FURTHEST - offset for offset in (_DOWN, -_DOWN, _RIGHT, -_RIGHT)]
    biases = [-_LEAST_INK, _BRIGHTEST_FRAME, 0, 0, 0, 0]
    layer = {"type": "linear", "in": PIXELS, "out": len(weights)}
    pair = np.stack(weights, axis=1).astype(np.float32), np.array(biases, dtype=np.float32)
    return adhoc({"input_size": PIXELS, "layers": [layer]}, [pair])


def _range(pixels: Array) -> str:
    has = f"has pixels from {pixels.min():.3g} to {pixels.max():.3g}, {pixels.mean(dtype=np.float64):.2g} on average"
    return f"{has}, where a digit's are 0 (background) to 1 (ink), 0.03 to 0.33 on average"


def _polarity(pixels: Array) -> str:
    return (
        f"is bright at its edges ({pixels @ _FRAME:.2f} on average), where a digit is ink on a dark ground: invert it"
    )


def _offset(pixels: Array) -> str:
    ink = pixels.sum(dtype=np.float64)
    right, down = (float(pixels @ offset / ink) for offset in (_RIGHT, _DOWN))
    across = f"{abs(right):.1f} pixels {'right' if right > 0 else 'left'} of"
    along = f"{abs(down):.1f} {'below' if down > 0 else 'above'}"
    return f"has its centre of mass {across} and {along} the middle, where a digit's is"
