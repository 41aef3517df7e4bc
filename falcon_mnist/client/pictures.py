"""Photos of digits as images like MNIST's: white ink on black, fitted into 20 x 20 and centred by mass in 28 x 28.

Paper is not evenly lit: its brightness is a surface fitted to the picture, and ink is what differs from it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from falcon_mnist.client.answers import Bytes
from falcon_mnist.constants import SIDE

Grey = npt.NDArray[Any]  # (height, width), 0 for black to 1 for white

BOX = 20  # of the digit in the image
MIDDLE = 14  # MNIST's centres of mass are at this pixel, counted from 0
# Sizes at which pictures are worked on. Strokes stay several pixels wide, and what a camera adds is averaged.
LARGEST_SIDE = 200
# Of these, every third pixel of every third row tells the paper's brightness well enough.
SAMPLED = 3
# Ink is at least so much brighter or darker than its paper.
LEAST_CONTRAST = 0.08
# Ink in cells of so many pixels that touch is one part.
CELL = 4
# Parts with less ink than this share of the largest part's are dirt.
LEAST_PART = 0.1


class PictureError(Exception):
    """A file in which no digit can be seen; the message is one sentence."""


def read(path: Path) -> Bytes:
    """The digit in a PNG or JPEG file as 784 bytes. Raises `PictureError`, `OSError`."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise PictureError("pictures need Pillow: pip install 'falcon-mnist[images]'") from None
    data = io.BytesIO(path.read_bytes())
    try:
        with Image.open(data) as picture:
            picture.draft("L", (4 * LARGEST_SIDE, 4 * LARGEST_SIDE))  # a JPEG is decoded no larger than it has to be
            upright = ImageOps.exif_transpose(picture)
            if upright.has_transparency_data:
                paper = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(paper, upright.convert("RGBA"))
            deep = upright.mode[0] in "IF"  # more than 8 bits a pixel, which "L" would cut off instead of scale
            grey = upright.convert("F" if deep else "L")
            grey = grey.reduce(max(1, max(grey.size) // (4 * LARGEST_SIDE)))  # before a pixel takes four bytes and more
    except UnidentifiedImageError:
        raise PictureError(f"{path} is no picture") from None
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"{path} cannot be read as a picture: {error}") from None
    try:
        return prepare(_stretched(np.asarray(grey)) if deep else np.asarray(grey, np.float32) / 255)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from None


def _stretched(picture: Grey) -> Grey:
    """White is what is brightest: how bright that is, these files do not say."""
    bright = np.nan_to_num(picture, posinf=0).clip(0)
    return bright / (bright.max() or 1)


def prepare(picture: Grey) -> Bytes:
    """The digit in a picture as 784 bytes. Raises `PictureError`.

    A picture of MNIST's size with a black edge is one of its kind, and stays as it is.
    """
    if picture.shape == (SIDE, SIDE) and np.median([picture[[0, -1]], picture[:, [0, -1]].T]) < LEAST_CONTRAST:
        return _bytes(picture)
    ink = _cleaned(_ink(_shrunk(picture)))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        raise PictureError("no digit can be seen")
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    fitted = _resized(digit, *(max(1, round(length * scale)) for length in digit.shape))
    return _bytes(_centred(_full(fitted)))


def _shrunk(picture: Grey) -> Grey:
    scale = min(1, LARGEST_SIDE / max(picture.shape))
    return _resized(picture, *(max(1, round(length * scale)) for length in picture.shape))


def _resized(picture: Grey, height: int, width: int) -> Grey:
    """Each pixel is the mean of what it covers."""
    return _coverage(picture.shape[0], height) @ picture @ _coverage(picture.shape[1], width).T


def _coverage(length: int, into: int) -> Grey:
    """The share of each of `length` pixels in the mean of each of `into` pixels: (into, length)."""
    edges = np.arange(into + 1)[:, None] * (length / into)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    shares: Grey = np.maximum(covered, 0) * (into / length)
    return shares


def _ink(picture: Grey) -> Grey:
    """How much ink is where: 0 for paper to 1. Ink may be darker than its paper, or brighter than its board."""
    difference = _paper(picture) - picture
    noise = np.median(np.abs(difference))
    marked = np.abs(difference) > max(LEAST_CONTRAST, 4 * noise)
    if difference[marked].sum() < 0:
        difference = -difference
    least = max(_threshold(difference), LEAST_CONTRAST / 2)
    inked = difference[difference > least]
    if not len(inked) or inked.max() < LEAST_CONTRAST:
        raise PictureError("no digit can be seen")
    most = max(np.quantile(inked, 0.8), least + LEAST_CONTRAST / 2)
    ink: Grey = np.clip((difference - least) / (most - least), 0, 1)
    return ink


def _paper(picture: Grey) -> Grey:
    """The brightness of the paper everywhere: a surface of second order through the pixels that are not ink."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in picture.shape), indexing="ij")
    surface = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    some, pixels = surface[::SAMPLED, ::SAMPLED].reshape(-1, 6), picture[::SAMPLED, ::SAMPLED].reshape(-1)
    # Least absolute deviations, by weighted least squares: the ink, a small part of all, hardly pulls.
    fitted = np.full_like(pixels, np.median(pixels))
    for _ in range(15):
        weighted = some / np.maximum(np.abs(pixels - fitted), 0.01)[:, None]
        factors = np.linalg.lstsq(weighted.T @ some, weighted.T @ pixels, rcond=None)[0]
        fitted = some @ factors
    return np.asarray(surface @ factors)


def _threshold(values: Grey) -> float:
    """Otsu 1979: the value that parts a picture into two groups as far from each other as can be."""
    counts, edges = np.histogram(np.clip(values, 0, None), bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * middles)
    above = values.size - below
    between = (sums[:-1] * above - (sums[-1] - sums[:-1]) * below) ** 2 / np.maximum(below * above, 1)
    return float(edges[1 + between.argmax()])


def _cleaned(ink: Grey) -> Grey:
    """The ink without its small parts, which are dirt."""
    height, width = (-(-length // CELL) for length in ink.shape)
    cells = np.zeros((height * CELL, width * CELL), ink.dtype)
    cells[: ink.shape[0], : ink.shape[1]] = ink
    mass = cells.reshape(height, CELL, width, CELL).sum(axis=(1, 3))
    parts = _parts(mass > 0)
    of_part = np.bincount(parts.reshape(-1), mass.reshape(-1))
    kept = of_part[parts] >= LEAST_PART * of_part.max()
    shown: Grey = kept.repeat(CELL, axis=0).repeat(CELL, axis=1)[: ink.shape[0], : ink.shape[1]]
    return ink * shown


def _parts(marked: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Numbers that are alike within each part of what is marked, whose cells touch at an edge or a corner."""
    numbers = np.where(marked, np.arange(1, marked.size + 1).reshape(marked.shape), 0)
    edged = np.pad(numbers, 1)
    while True:
        edged[1:-1, 1:-1] = numbers
        around = edged
        for _ in range(2):  # the largest number around: of three rows, then of three columns
            around = np.maximum(np.maximum(around[:-2], around[1:-1]), around[2:]).T
        spread = np.where(marked, around, 0)
        if np.array_equal(spread, numbers):
            return numbers
        numbers = spread


def _full(digit: Grey) -> Grey:
    """Thin strokes are grey when they are made small; MNIST's are white."""
    full: Grey = np.clip(digit / np.quantile(digit[digit > 0.1 * digit.max()], 0.7), 0, 1)
    return full


def _centred(digit: Grey) -> Grey:
    placed = np.zeros((SIDE, SIDE), digit.dtype)
    rows, columns = digit.shape
    top, left = (_offset(digit.sum(axis=1 - axis)) for axis in (0, 1))
    placed[top : top + rows, left : left + columns] = digit
    return placed


def _offset(mass: Grey) -> int:
    """Where a digit begins whose mass is spread like this over rows or columns; it stays within the image."""
    centre = (mass * np.arange(len(mass))).sum() / mass.sum()
    return int(np.clip(np.floor(MIDDLE - centre + 0.5), 0, SIDE - len(mass)))


def _bytes(digit: Grey) -> Bytes:
    return np.round(digit * 255).astype(np.uint8).reshape(-1)
