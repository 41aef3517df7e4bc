"""Photos of digits that nobody took: grey ink on paper in uneven light, turned a little, with much paper around."""

from __future__ import annotations

import numpy as np
from PIL import Image


def photo(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An image of 784 bytes as a photo: brightness (height, width) from 0 to 1."""
    height, width = random.integers(180, 320, 2)
    ink = _placed(image.reshape(28, 28), height, width, random) / np.float32(255)
    y, x = np.ogrid[:height, :width]
    paper = _light(x / width - 0.5, y / height - 0.5, random)
    darkness = random.uniform(0.3, 0.75)  # from a pencil to a pen
    picture = paper * (1 - darkness * ink) + 0.015 * random.standard_normal(ink.shape, np.float32)
    return np.clip(picture, 0, 1).astype(np.float32)


def _placed(image: np.ndarray, height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """The digit somewhere in the picture, a third to two thirds of it high, turned by up to 8 degrees."""
    size = min(height, width) * random.uniform(0.35, 0.65) / 20  # pixels of the photo for one of the digit's
    reach = 12 * size  # from the digit's middle to its corner, at most
    x, y = [random.uniform(reach, length - reach) if length > 2 * reach else length / 2 for length in (width, height)]
    angle = np.radians(random.uniform(-8, 8))
    cos, sin = np.cos(angle) / size, np.sin(angle) / size
    # From a point of the photo to the point of the image that is shown there; the middle (x, y) shows (14, 14).
    to_image = (cos, sin, 14 - cos * x - sin * y, -sin, cos, 14 + sin * x - cos * y)
    placed = Image.fromarray(image.astype(np.float32)).transform(
        (int(width), int(height)), Image.Transform.AFFINE, to_image, Image.Resampling.BILINEAR
    )
    return np.asarray(placed)


def _light(x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Paper whose brightness falls off to one side and towards the corners."""
    direction = random.uniform(0, 2 * np.pi)
    slope, corners = random.uniform(0.1, 0.5), random.uniform(0, 0.3)
    brightest = random.uniform(0.75, 1)
    return brightest * (
        1 - slope * (0.5 + np.cos(direction) * x + np.sin(direction) * y) / 1.2 - corners * (x * x + y * y)
    )
