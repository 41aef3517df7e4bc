"""Photos of digits that nobody took: grey ink on paper in uneven light, turned a little, with much paper around."""

from __future__ import annotations

import numpy as np


def photo(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An image of 784 bytes as a photo: brightness (height, width) from 0 to 1."""
    height, width = random.integers(180, 320, 2)
    y, x = np.mgrid[:height, :width]
    ink = _placed(image.reshape(28, 28) / 255, x, y, random)
    paper = _light(x / width - 0.5, y / height - 0.5, random)
    darkness = random.uniform(0.3, 0.75)  # from a pencil to a pen
    picture = paper * (1 - darkness * ink) + random.normal(0, 0.015, ink.shape)
    return np.clip(picture, 0, 1).astype(np.float32)


def _placed(image: np.ndarray, x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The digit somewhere in the picture, a third to two thirds of it high, turned by up to 8 degrees."""
    height, width = x.shape
    size = min(height, width) * random.uniform(0.35, 0.65) / 20  # pixels of the photo for one of the digit's
    reach = 12 * size  # from the digit's middle to its corner, at most
    middle = [random.uniform(reach, length - reach) if length > 2 * reach else length / 2 for length in (width, height)]
    angle = np.radians(random.uniform(-8, 8))
    across, down = (x - middle[0]) / size, (y - middle[1]) / size
    columns = np.cos(angle) * across + np.sin(angle) * down + 13.5
    rows = -np.sin(angle) * across + np.cos(angle) * down + 13.5
    return _between(image, np.clip(columns, 0, 26.999), np.clip(rows, 0, 26.999))


def _between(image: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The image at points between its pixels."""
    left, top = columns.astype(int), rows.astype(int)
    right, low = columns - left, rows - top
    upper = image[top, left] * (1 - right) + image[top, left + 1] * right
    lower = image[top + 1, left] * (1 - right) + image[top + 1, left + 1] * right
    return upper * (1 - low) + lower * low


def _light(x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Paper whose brightness falls off to one side and towards the corners."""
    direction = random.uniform(0, 2 * np.pi)
    slope, corners = random.uniform(0.1, 0.5), random.uniform(0, 0.3)
    brightest = random.uniform(0.75, 1)
    return brightest * (
        1 - slope * (0.5 + np.cos(direction) * x + np.sin(direction) * y) / 1.2 - corners * (x * x + y * y)
    )
